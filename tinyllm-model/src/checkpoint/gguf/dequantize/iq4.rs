//! IQ4_NL and IQ4_XS: weights of 4 bits that index one fixed table.

use super::block::{SUPER_BLOCK, field, half_at, parts};

/// The table both types index (ggml's `kvalues_iq4nl`).
const VALUES: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0,
];

/// scale f16, 16 × two nibbles: low ones first.
pub(super) fn iq4_nl(block: &[u8; 18], out: &mut [f32; 32]) {
    look_up(half_at::<0, 18>(block), field::<2, 16, 18>(block), out);
}

/// scale f16, upper bits of the scales u16, their lower nibbles, 128 × two nibbles: each 32 weights as in IQ4_NL, with a
/// scale of 6 bits, offset by 32.
pub(super) fn iq4_xs(block: &[u8; 136], out: &mut [f32; SUPER_BLOCK]) {
    let scale = half_at::<0, 136>(block);
    let upper = u16::from_le_bytes(*field::<2, 2, 136>(block));
    let lower: &[u8; 4] = field::<4, 4, 136>(block);
    let weights: &[[u8; 16]; 8] = bytemuck::must_cast_ref(field::<8, 128, 136>(block));
    for (i, out) in parts::<32, 8, SUPER_BLOCK>(out).iter_mut().enumerate() {
        let quantised = lower[i / 2] >> (i % 2 * 4) & 15 | ((upper >> (i * 2)) as u8 & 3) << 4;
        look_up(scale * (f32::from(quantised) - 32.0), &weights[i], out);
    }
}

#[inline(always)]
fn look_up(scale: f32, weights: &[u8; 16], out: &mut [f32; 32]) {
    let [low, high] = parts::<16, 2, 32>(out);
    for i in 0..16 {
        low[i] = scale * VALUES[usize::from(weights[i] & 15)];
        high[i] = scale * VALUES[usize::from(weights[i] >> 4)];
    }
}

//! Q5_0 and Q5_1: 32 weights of 5 bits. Four bits as in Q4, the fifth of weight i is bit i of a u32.

use super::block::{field, half_at, parts};

/// scale f16, fifth bits u32, 16 × two nibbles, offset by 16.
pub(super) fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let scale = half_at::<0, 22>(block);
    five_bits(field::<2, 4, 22>(block), field::<6, 16, 22>(block), out, |q| (f32::from(q) - 16.0) * scale);
}

/// scale f16, minimum f16, fifth bits u32, 16 × two nibbles.
pub(super) fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (scale, min) = (half_at::<0, 24>(block), half_at::<2, 24>(block));
    five_bits(field::<4, 4, 24>(block), field::<8, 16, 24>(block), out, |q| f32::from(q) * scale + min);
}

#[inline(always)]
fn five_bits(fifth: &[u8; 4], weights: &[u8; 16], out: &mut [f32; 32], value: impl Fn(u8) -> f32) {
    let fifth = u32::from_le_bytes(*fifth);
    let [low, high] = parts::<16, 2, 32>(out);
    for i in 0..16 {
        low[i] = value(weights[i] & 15 | ((fifth >> i) as u8 & 1) << 4);
        high[i] = value(weights[i] >> 4 | ((fifth >> (i + 16)) as u8 & 1) << 4);
    }
}

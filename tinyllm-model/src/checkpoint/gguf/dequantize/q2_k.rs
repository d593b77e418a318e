//! Q2_K: 256 weights of 2 bits; to each 16 a scale and a minimum of 4 bits, scaled by one f16 each.

use super::block::{SUPER_BLOCK, field, half_at, parts};

/// 16 × (scale low nibble, minimum high nibble), 64 × four weights, scale f16, minimum f16.
///
/// Each half of 128 weights has 32 bytes; byte l holds weights l, l + 32, l + 64 and l + 96, lowest bits first.
pub(super) fn q2_k(block: &[u8; 84], out: &mut [f32; SUPER_BLOCK]) {
    let scales: &[u8; 16] = field::<0, 16, 84>(block);
    let weights: &[[u8; 16]; 4] = bytemuck::must_cast_ref(field::<16, 64, 84>(block));
    let (scale, min) = (half_at::<80, 84>(block), half_at::<82, 84>(block));
    for (i, out) in parts::<16, 16, SUPER_BLOCK>(out).iter_mut().enumerate() {
        let (half, shift, side) = (i / 8, i % 8 / 2 * 2, i % 2);
        let (scale, min) = (scale * f32::from(scales[i] & 15), min * f32::from(scales[i] >> 4));
        for (out, &packed) in out.iter_mut().zip(&weights[half * 2 + side]) {
            *out = scale * f32::from(packed >> shift & 3) - min;
        }
    }
}

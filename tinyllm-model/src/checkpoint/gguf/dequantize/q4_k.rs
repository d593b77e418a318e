//! Q4_K: 256 weights of 4 bits; to each 32 a scale and a minimum of 6 bits, scaled by one f16 each.

use super::{
    block::{SUPER_BLOCK, field, half_at, parts},
    k_scales,
};

/// scale f16, minimum f16, 12 bytes of scales and minima, 128 × two nibbles: each 32 bytes hold 32 weights in their low
/// nibbles and the next 32 in their high ones.
pub(super) fn q4_k(block: &[u8; 144], out: &mut [f32; SUPER_BLOCK]) {
    let (scale, min) = (half_at::<0, 144>(block), half_at::<2, 144>(block));
    let scales = k_scales::unpack(field::<4, 12, 144>(block));
    let weights: &[[u8; 32]; 4] = bytemuck::must_cast_ref(field::<16, 128, 144>(block));
    for (i, out) in parts::<32, 8, SUPER_BLOCK>(out).iter_mut().enumerate() {
        let (scale, min) = (scale * scales[i].0, min * scales[i].1);
        let shift = i % 2 * 4;
        for (out, &packed) in out.iter_mut().zip(&weights[i / 2]) {
            *out = scale * f32::from(packed >> shift & 15) - min;
        }
    }
}

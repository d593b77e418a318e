//! Q5_K: 256 weights of 5 bits; to each 32 a scale and a minimum of 6 bits, scaled by one f16 each.

use super::{
    block::{SUPER_BLOCK, field, half_at, parts},
    k_scales,
};

/// scale f16, minimum f16, 12 bytes of scales and minima, 32 × eight fifth bits, 128 × two nibbles as in Q4_K. The fifth
/// bit of weight l + 32·j is bit j of byte l.
pub(super) fn q5_k(block: &[u8; 176], out: &mut [f32; SUPER_BLOCK]) {
    let (scale, min) = (half_at::<0, 176>(block), half_at::<2, 176>(block));
    let scales = k_scales::unpack(field::<4, 12, 176>(block));
    let fifth: &[u8; 32] = field::<16, 32, 176>(block);
    let weights: &[[u8; 32]; 4] = bytemuck::must_cast_ref(field::<48, 128, 176>(block));
    for (i, out) in parts::<32, 8, SUPER_BLOCK>(out).iter_mut().enumerate() {
        let (scale, min) = (scale * scales[i].0, min * scales[i].1);
        let shift = i % 2 * 4;
        for l in 0..32 {
            let quantised = weights[i / 2][l] >> shift & 15 | (fifth[l] >> i & 1) << 4;
            out[l] = scale * f32::from(quantised) - min;
        }
    }
}

//! Q3_K: 256 weights of 3 bits; to each 16 a signed scale of 6 bits, scaled by one f16.

use super::block::{SUPER_BLOCK, field, half_at, parts};

/// 32 × eight third bits, 64 × four weights' lower bits, 12 bytes of scales, scale f16.
///
/// Lower bits lie as in Q2_K. The third bit of weight l + 32·j is bit j of byte l; where it is 0, 4 is subtracted.
pub(super) fn q3_k(block: &[u8; 110], out: &mut [f32; SUPER_BLOCK]) {
    let third: &[[u8; 16]; 2] = bytemuck::must_cast_ref(field::<0, 32, 110>(block));
    let weights: &[[u8; 16]; 4] = bytemuck::must_cast_ref(field::<32, 64, 110>(block));
    let scales = unpack_scales(field::<96, 12, 110>(block));
    let scale = half_at::<108, 110>(block);
    for (i, out) in parts::<16, 16, SUPER_BLOCK>(out).iter_mut().enumerate() {
        let (half, shift, side) = (i / 8, i % 8 / 2 * 2, i % 2);
        let scale = scale * f32::from(scales[i]);
        for l in 0..16 {
            let lower = weights[half * 2 + side][l] >> shift & 3;
            let upper = third[side][l] >> (i / 2) & 1;
            out[l] = scale * (f32::from(lower | upper << 2) - 4.0);
        }
    }
}

/// Sixteen 6-bit scales, offset by 32: four low bits in the nibbles of the first 8 bytes, two high bits in the last 4.
fn unpack_scales(packed: &[u8; 12]) -> [i8; 16] {
    std::array::from_fn(|i| {
        let low = if i < 8 { packed[i] & 15 } else { packed[i - 8] >> 4 };
        let high = packed[8 + i % 4] >> (i / 4 * 2) & 3;
        (low | high << 4).cast_signed() - 32
    })
}

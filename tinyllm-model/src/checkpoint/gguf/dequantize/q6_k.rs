//! Q6_K: 256 weights of 6 bits; to each 16 a scale of 8 bits, scaled by one f16.

use super::block::{SUPER_BLOCK, field, half_at, parts};

/// 128 × two nibbles, 64 × four weights' upper two bits, 16 × i8 scales, scale f16; weights are offset by 32.
///
/// Each half of 128 weights has 64 bytes of nibbles (low: weights 0..64, high: 64..128) and 32 of upper bits (weights l,
/// l + 32, l + 64, l + 96 in byte l, lowest bits first).
pub(super) fn q6_k(block: &[u8; 210], out: &mut [f32; SUPER_BLOCK]) {
    let lower: &[[u8; 16]; 8] = bytemuck::must_cast_ref(field::<0, 128, 210>(block));
    let upper: &[[u8; 16]; 4] = bytemuck::must_cast_ref(field::<128, 64, 210>(block));
    let scales: &[u8; 16] = field::<192, 16, 210>(block);
    let scale = half_at::<208, 210>(block);
    for (i, out) in parts::<16, 16, SUPER_BLOCK>(out).iter_mut().enumerate() {
        let (half, in_half) = (i / 8, i % 8);
        let lower = &lower[half * 4 + in_half % 4];
        let upper = &upper[half * 2 + in_half % 2];
        let (lower_shift, upper_shift) = (in_half / 4 * 4, in_half / 2 * 2);
        let scale = scale * f32::from(scales[i].cast_signed());
        for l in 0..16 {
            let quantised = lower[l] >> lower_shift & 15 | (upper[l] >> upper_shift & 3) << 4;
            out[l] = scale * (f32::from(quantised) - 32.0);
        }
    }
}

//! Q4_0 and Q4_1: 32 weights of 4 bits. Low nibbles are the first 16, high nibbles the last 16.

use super::block::{field, half_at, parts};

/// scale f16, 16 × two nibbles, offset by 8.
pub(super) fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let scale = half_at::<0, 18>(block);
    nibbles(field::<2, 16, 18>(block), out, |q| (f32::from(q) - 8.0) * scale);
}

/// scale f16, minimum f16, 16 × two nibbles.
pub(super) fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (scale, min) = (half_at::<0, 20>(block), half_at::<2, 20>(block));
    nibbles(field::<4, 16, 20>(block), out, |q| f32::from(q) * scale + min);
}

#[inline(always)]
fn nibbles(weights: &[u8; 16], out: &mut [f32; 32], value: impl Fn(u8) -> f32) {
    let [low, high] = parts::<16, 2, 32>(out);
    for i in 0..16 {
        low[i] = value(weights[i] & 15);
        high[i] = value(weights[i] >> 4);
    }
}

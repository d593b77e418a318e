//! Q8_0: 32 weights of 8 bits, one scale.

use super::block::{field, half_at};

/// scale f16, 32 × i8.
pub(super) fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let scale = half_at::<0, 34>(block);
    let weights: &[u8; 32] = field::<2, 32, 34>(block);
    for (out, &weight) in out.iter_mut().zip(weights) {
        *out = f32::from(weight.cast_signed()) * scale;
    }
}

//! Results rounded to nearest by the processor, moved to the `f32` that another rounding modifier asks for.

use std::cmp::Ordering;

use super::mode::Rounding;

/// Moves the nearest `f32` to the one that `rounding` asks for; `against_exact` compares it with the exact value.
#[inline(always)]
pub(super) fn redirect_f32(nearest: f32, against_exact: Ordering, rounding: Rounding) -> f32 {
    match (rounding, against_exact) {
        (Rounding::Down, Ordering::Greater) => nearest.next_down(),
        (Rounding::Up, Ordering::Less) => nearest.next_up(),
        (Rounding::Zero, Ordering::Greater) if nearest > 0.0 => nearest.next_down(),
        (Rounding::Zero, Ordering::Less) if nearest < 0.0 => nearest.next_up(),
        _ => nearest,
    }
}

/// `value` rounded once to `f32`. A NaN stays some NaN.
#[inline]
pub(super) fn round_f64_to_f32(value: f64, rounding: Rounding) -> f32 {
    let nearest = value as f32;
    match f64::from(nearest).partial_cmp(&value) {
        Some(order) => redirect_f32(nearest, order, rounding),
        None => nearest,
    }
}

//! Sums, quotients and roots of narrow floats as `f64` rounded to odd.
//!
//! Of the two doubles around an inexact value, rounding to odd picks the one whose last bit is set. A second
//! rounding to at most 51 bits then gives what one rounding of the exact value would (Boldo and Melquiond, 2008),
//! in every direction and for subnormal results. The operands are `f32` or narrower values (or products of two),
//! so no intermediate overflows or underflows `f64`.

use super::mode::Rounding;

/// The neighbour of `nearest` with an odd last bit when the exact value is `nearest + error`, `error` not zero.
#[inline(always)]
fn to_odd(nearest: f64, error: f64) -> f64 {
    if error == 0.0 || error.is_nan() || nearest.to_bits() & 1 == 1 {
        return nearest;
    }
    if error > 0.0 { nearest.next_up() } else { nearest.next_down() }
}

/// `a + b` rounded to odd; a sum that cancels is `-0` when rounding down, as IEEE 754 has it.
#[inline(always)]
pub(super) fn sum(a: f64, b: f64, rounding: Rounding) -> f64 {
    let sum = a + b;
    if sum == 0.0 {
        // Both operands negative zero give -0 already; only a cancellation depends on the direction.
        return if rounding == Rounding::Down && (a != 0.0 || a.is_sign_negative() != b.is_sign_negative()) {
            -0.0
        } else {
            sum
        };
    }
    // Knuth's error-free transformation. With an infinite operand the error is NaN, and the sum stays.
    let b_part = sum - a;
    let a_part = sum - b_part;
    to_odd(sum, (a - a_part) + (b - b_part))
}

/// `a / b` rounded to odd, for operands that are `f32` values.
pub(super) fn quotient(a: f64, b: f64) -> f64 {
    let quotient = a / b;
    if quotient == 0.0 || quotient.is_infinite() || b.is_infinite() {
        return quotient;
    }
    let remainder = quotient.mul_add(-b, a);
    to_odd(quotient, if b < 0.0 { -remainder } else { remainder })
}

/// The square root of an `f32` value, rounded to odd.
pub(super) fn root(a: f64) -> f64 {
    let root = a.sqrt();
    if root == 0.0 || root.is_infinite() { root } else { to_odd(root, root.mul_add(-root, a)) }
}

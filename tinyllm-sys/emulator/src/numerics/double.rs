//! f64.

use rustc_apfloat::{Float, ieee::Double};

use super::{Rounding, TestProperty};

/// The NaN that results are.
const NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0000);

#[inline(always)]
pub(super) fn canonical(value: f64) -> f64 {
    if value.is_nan() { NAN } else { value }
}

fn soft(value: f64) -> Double {
    Double::from_bits(u128::from(value.to_bits()))
}

fn hard(value: Double) -> f64 {
    f64::from_bits(value.to_bits() as u64)
}

/// Functions of two numbers in every direction.
macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident, $slow:ident, |$a:ident, $b:ident| $nearest:expr, $soft:ident;)*) => {
        $(
            $(#[$doc])*
            #[inline(always)]
            pub fn $name($a: f64, $b: f64, rounding: Rounding) -> f64 {
                canonical(match rounding {
                    Rounding::Nearest => $nearest,
                    rounding => $slow($a, $b, rounding),
                })
            }

            #[cold]
            fn $slow(a: f64, b: f64, rounding: Rounding) -> f64 {
                hard(soft(a).$soft(soft(b), rounding.apfloat()).value)
            }
        )*
    };
}

binary! {
    /// `a + b`.
    f64_add, add_slow, |a, b| a + b, add_r;
    /// `a - b`.
    f64_sub, sub_slow, |a, b| a - b, sub_r;
    /// `a * b`.
    f64_mul, mul_slow, |a, b| a * b, mul_r;
    /// `a / b`.
    f64_div, div_slow, |a, b| a / b, div_r;
}

/// `a * b + c`, rounded once.
#[inline(always)]
pub fn f64_fma(a: f64, b: f64, c: f64, rounding: Rounding) -> f64 {
    canonical(match rounding {
        Rounding::Nearest => a.mul_add(b, c),
        rounding => fma_slow(a, b, c, rounding),
    })
}

#[cold]
fn fma_slow(a: f64, b: f64, c: f64, rounding: Rounding) -> f64 {
    hard(soft(a).mul_add_r(soft(b), soft(c), rounding.apfloat()).value)
}

/// The square root.
#[inline(always)]
pub fn f64_sqrt(a: f64, rounding: Rounding) -> f64 {
    canonical(match rounding {
        Rounding::Nearest => a.sqrt(),
        rounding => sqrt_slow(a, rounding),
    })
}

/// The neighbour of the nearest that lies in the direction; which side of the root the nearest is on, a product rounded once
/// tells, where nothing of it underflows.
#[cold]
fn sqrt_slow(a: f64, rounding: Rounding) -> f64 {
    let nearest = a.sqrt();
    if !nearest.is_finite() || nearest == 0.0 {
        return nearest;
    }
    // The same digits in the middle of the range, where the error of the square is a number.
    const SCALE: f64 = (1u64 << 60) as f64;
    let scale = if a < 1.0 { SCALE } else { 1.0 };
    let error = (nearest * scale).mul_add(nearest * scale, -(a * scale * scale));
    match rounding {
        Rounding::Up if error < 0.0 => nearest.next_up(),
        Rounding::Zero | Rounding::Down if error > 0.0 => nearest.next_down(),
        _ => nearest,
    }
}

/// `1 / a`.
#[inline(always)]
pub fn f64_rcp(a: f64, rounding: Rounding) -> f64 {
    f64_div(1.0, a, rounding)
}

#[inline(always)]
fn is_below(a: f64, b: f64) -> bool {
    a < b || (a == b && a.is_sign_negative() && b.is_sign_positive())
}

/// The smaller; a number rather than NaN.
#[inline(always)]
pub fn f64_min(a: f64, b: f64) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => NAN,
        (true, false) => b,
        (false, true) => a,
        _ if is_below(a, b) => a,
        _ => b,
    }
}

/// The larger; a number rather than NaN.
#[inline(always)]
pub fn f64_max(a: f64, b: f64) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => NAN,
        (true, false) => b,
        (false, true) => a,
        _ if is_below(a, b) => b,
        _ => a,
    }
}

/// Without its sign.
#[inline(always)]
pub fn f64_abs(a: f64) -> f64 {
    f64::from_bits(a.to_bits() & !(1 << 63))
}

/// With the other sign.
#[inline(always)]
pub fn f64_neg(a: f64) -> f64 {
    f64::from_bits(a.to_bits() ^ 1 << 63)
}

/// `b` with the sign of `a`.
#[inline(always)]
pub fn f64_copysign(a: f64, b: f64) -> f64 {
    f64::from_bits(a.to_bits() & 1 << 63 | b.to_bits() & !(1 << 63))
}

/// Whether a number has a property.
#[inline(always)]
pub fn testp_f64(a: f64, property: TestProperty) -> bool {
    match property {
        TestProperty::Finite => a.is_finite(),
        TestProperty::Infinite => a.is_infinite(),
        TestProperty::Number => !a.is_nan(),
        TestProperty::NotANumber => a.is_nan(),
        TestProperty::Normal => a.is_normal(),
        TestProperty::Subnormal => a.is_subnormal() || a == 0.0,
    }
}

//! Arithmetic on `.f64` with every rounding.
//!
//! NaN results are [`F64_NAN_BITS`]. Rounding to nearest uses the host; the other directions have no wider host
//! type to lean on and use a software float, except the square root, which corrects the host's.

use rustc_apfloat::ieee::Double;
use rustc_apfloat::{Float, Round};

use super::mode::Rounding;

/// The encoding of every NaN that an `.f64` operation here computes.
pub const F64_NAN_BITS: u64 = 0x7ff8_0000_0000_0000;

/// `value`, or the canonical NaN for any NaN.
#[inline(always)]
#[must_use]
pub fn f64_canonical(value: f64) -> f64 {
    // On integers, because LLVM replaces `sqrt(x).is_nan() ? NAN : sqrt(x)` by the root, whatever NAN's bits.
    let bits = value.to_bits();
    f64::from_bits(if bits & i64::MAX.cast_unsigned() > 0x7ff0_0000_0000_0000 { F64_NAN_BITS } else { bits })
}

fn software(a: f64) -> Double {
    Double::from_bits(u128::from(a.to_bits()))
}

#[cold]
#[inline(never)]
fn directed(nearest: f64, rounding: Rounding, operation: impl Fn(Round) -> Double) -> f64 {
    // Whether a result is NaN does not depend on the rounding.
    if nearest.is_nan() {
        return f64_canonical(nearest);
    }
    let round = match rounding {
        Rounding::Nearest => return nearest,
        Rounding::Zero => Round::TowardZero,
        Rounding::Down => Round::TowardNegative,
        Rounding::Up => Round::TowardPositive,
    };
    // An f64 has 64 bits, so the cast loses nothing.
    f64::from_bits(operation(round).to_bits() as u64)
}

/// `add.f64`.
#[inline(always)]
#[must_use]
pub fn f64_add(a: f64, b: f64, rounding: Rounding) -> f64 {
    let nearest = a + b;
    match rounding {
        Rounding::Nearest => f64_canonical(nearest),
        _ => directed(nearest, rounding, |round| software(a).add_r(software(b), round).value),
    }
}

/// `sub.f64`.
#[inline(always)]
#[must_use]
pub fn f64_sub(a: f64, b: f64, rounding: Rounding) -> f64 {
    f64_add(a, -b, rounding)
}

/// `mul.f64`.
#[inline(always)]
#[must_use]
pub fn f64_mul(a: f64, b: f64, rounding: Rounding) -> f64 {
    let nearest = a * b;
    match rounding {
        Rounding::Nearest => f64_canonical(nearest),
        _ => directed(nearest, rounding, |round| software(a).mul_r(software(b), round).value),
    }
}

/// `fma.f64`: `a * b + c`, rounded once.
#[inline(always)]
#[must_use]
pub fn f64_fma(a: f64, b: f64, c: f64, rounding: Rounding) -> f64 {
    let nearest = a.mul_add(b, c);
    match rounding {
        Rounding::Nearest => f64_canonical(nearest),
        _ => {
            directed(nearest, rounding, |round| software(a).mul_add_r(software(b), software(c), round).value)
        }
    }
}

/// `div.f64`.
#[inline(always)]
#[must_use]
pub fn f64_div(a: f64, b: f64, rounding: Rounding) -> f64 {
    let nearest = a / b;
    match rounding {
        Rounding::Nearest => f64_canonical(nearest),
        _ => directed(nearest, rounding, |round| software(a).div_r(software(b), round).value),
    }
}

/// `rcp.f64`: `1 / a`.
#[inline(always)]
#[must_use]
pub fn f64_rcp(a: f64, rounding: Rounding) -> f64 {
    f64_div(1.0, a, rounding)
}

/// `sqrt.f64`.
#[inline(always)]
#[must_use]
pub fn f64_sqrt(a: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest => f64_canonical(a.sqrt()),
        _ => sqrt_directed(a, rounding),
    }
}

#[cold]
#[inline(never)]
fn sqrt_directed(a: f64, rounding: Rounding) -> f64 {
    let nearest = a.sqrt();
    if nearest.is_nan() || nearest.is_infinite() || nearest == 0.0 {
        return f64_canonical(nearest);
    }
    // Powers of two that keep the remainder below clear of underflow: 2^200 and 2^-100.
    let (scale, unscale) = if a < 1e-200 {
        (f64::from_bits((1023 + 200) << 52), f64::from_bits((1023 - 100) << 52))
    } else {
        (1.0, 1.0)
    };
    let a = a * scale;
    let root = a.sqrt();
    // Exact: the remainder of a correctly rounded root has at most 53 bits.
    let remainder = root.mul_add(-root, a);
    let root = match rounding {
        Rounding::Up if remainder > 0.0 => root.next_up(),
        Rounding::Zero | Rounding::Down if remainder < 0.0 => root.next_down(),
        _ => root,
    };
    root * unscale
}

/// An integer that orders the non-NaN floats as `min` and `max` do, with `-0` below `+0`.
#[inline(always)]
fn order(a: f64) -> i64 {
    let bits = a.to_bits().cast_signed();
    bits ^ ((bits >> 63) & i64::MAX)
}

#[inline(always)]
fn select(a: f64, b: f64, take_a: impl Fn(i64, i64) -> bool) -> f64 {
    if b.is_nan() {
        f64_canonical(a)
    } else if !a.is_nan() && take_a(order(a), order(b)) {
        a
    } else {
        b
    }
}

/// `min.f64`: the smaller operand, `-0` being below `+0`. A NaN loses to a number.
#[inline(always)]
#[must_use]
pub fn f64_min(a: f64, b: f64) -> f64 {
    select(a, b, |a, b| a <= b)
}

/// `max.f64`: the larger operand, `+0` being above `-0`. A NaN loses to a number.
#[inline(always)]
#[must_use]
pub fn f64_max(a: f64, b: f64) -> f64 {
    select(a, b, |a, b| a >= b)
}

/// `abs.f64`: clears the sign, of a NaN too.
#[inline(always)]
#[must_use]
pub fn f64_abs(a: f64) -> f64 {
    a.abs()
}

/// `neg.f64`: flips the sign, of a NaN too.
#[inline(always)]
#[must_use]
pub fn f64_neg(a: f64) -> f64 {
    -a
}

/// `copysign.f64`: the magnitude of `b` with the sign of `a`.
#[inline(always)]
#[must_use]
pub fn f64_copysign(a: f64, b: f64) -> f64 {
    b.copysign(a)
}

//! f32.

use rustc_apfloat::{Float, ieee::Single};

use super::{Mode, Rounding, TestProperty};

/// The NaN that results are.
const NAN: f32 = f32::from_bits(0x7fff_ffff);

#[inline(always)]
fn canonical(value: f32) -> f32 {
    if value.is_nan() { NAN } else { value }
}

/// Subnormal numbers as 0 of their sign.
#[inline(always)]
pub fn f32_flush(value: f32) -> f32 {
    if value.to_bits() & 0x7f80_0000 == 0 { f32::from_bits(value.to_bits() & 0x8000_0000) } else { value }
}

/// The result as the mode wants it.
#[inline(always)]
pub(super) fn finished(value: f32, mode: Mode) -> f32 {
    let value = canonical(if mode.ftz { f32_flush(value) } else { value });
    if mode.saturate {
        // NaN and what is negative are 0.
        if value > 0.0 { value.min(1.0) } else { 0.0 }
    } else if mode.relu && value < 0.0 {
        0.0
    } else {
        value
    }
}

#[inline(always)]
fn input(value: f32, mode: Mode) -> f32 {
    if mode.ftz { f32_flush(value) } else { value }
}

fn soft(value: f32) -> Single {
    Single::from_bits(u128::from(value.to_bits()))
}

fn hard(value: Single) -> f32 {
    f32::from_bits(value.to_bits() as u32)
}

/// `a + b`, to nearest.
#[inline(always)]
pub fn f32_add_rn(a: f32, b: f32) -> f32 {
    canonical(a + b)
}

/// `a - b`, to nearest.
#[inline(always)]
pub fn f32_sub_rn(a: f32, b: f32) -> f32 {
    canonical(a - b)
}

/// `a * b`, to nearest.
#[inline(always)]
pub fn f32_mul_rn(a: f32, b: f32) -> f32 {
    canonical(a * b)
}

/// `a * b + c`, rounded once, to nearest.
#[inline(always)]
pub fn f32_fma_rn(a: f32, b: f32, c: f32) -> f32 {
    canonical(a.mul_add(b, c))
}

/// Functions of two numbers in every mode: the processor's own to nearest, apfloat's in other directions.
macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident, $slow:ident, |$a:ident, $b:ident| $nearest:expr, $soft:ident;)*) => {
        $(
            $(#[$doc])*
            #[inline(always)]
            pub fn $name(a: f32, b: f32, mode: Mode) -> f32 {
                let ($a, $b) = (input(a, mode), input(b, mode));
                let value = match mode.rounding {
                    Rounding::Nearest => $nearest,
                    rounding => $slow($a, $b, rounding),
                };
                finished(value, mode)
            }

            #[cold]
            fn $slow(a: f32, b: f32, rounding: Rounding) -> f32 {
                hard(soft(a).$soft(soft(b), rounding.apfloat()).value)
            }
        )*
    };
}

binary! {
    /// `a + b`.
    f32_add, add_slow, |a, b| a + b, add_r;
    /// `a - b`.
    f32_sub, sub_slow, |a, b| a - b, sub_r;
    /// `a * b`.
    f32_mul, mul_slow, |a, b| a * b, mul_r;
    /// `a / b`.
    f32_div, div_slow, |a, b| a / b, div_r;
}

/// `a * b + c`, rounded once.
#[inline(always)]
pub fn f32_fma(a: f32, b: f32, c: f32, mode: Mode) -> f32 {
    let (a, b, c) = (input(a, mode), input(b, mode), input(c, mode));
    let value = match mode.rounding {
        Rounding::Nearest => a.mul_add(b, c),
        rounding => fma_slow(a, b, c, rounding),
    };
    finished(value, mode)
}

#[cold]
fn fma_slow(a: f32, b: f32, c: f32, rounding: Rounding) -> f32 {
    hard(soft(a).mul_add_r(soft(b), soft(c), rounding.apfloat()).value)
}

/// The square root.
#[inline(always)]
pub fn f32_sqrt(a: f32, mode: Mode) -> f32 {
    let a = input(a, mode);
    let value = match mode.rounding {
        Rounding::Nearest => a.sqrt(),
        rounding => sqrt_slow(a, rounding),
    };
    finished(value, mode)
}

/// The neighbour of the nearest that lies in the direction: f64 tells on which side of the root the nearest is, exactly.
#[cold]
fn sqrt_slow(a: f32, rounding: Rounding) -> f32 {
    let nearest = a.sqrt();
    if !nearest.is_finite() || nearest == 0.0 {
        return nearest;
    }
    let square = f64::from(nearest) * f64::from(nearest);
    match rounding {
        Rounding::Up if square < f64::from(a) => nearest.next_up(),
        Rounding::Zero | Rounding::Down if square > f64::from(a) => nearest.next_down(),
        _ => nearest,
    }
}

/// `1 / a`.
#[inline(always)]
pub fn f32_rcp(a: f32, mode: Mode) -> f32 {
    f32_div(1.0, a, mode)
}

/// The order of two numbers of which neither is NaN, with -0 below +0.
#[inline(always)]
fn is_below(a: f32, b: f32) -> bool {
    a < b || (a == b && a.is_sign_negative() && b.is_sign_positive())
}

/// What minimum and maximum have in common: `first` says whether the first of two numbers is taken.
#[inline(always)]
fn extreme(a: f32, b: f32, nan: bool, xorsign_abs: bool, ftz: bool, first: impl Fn(f32, f32) -> bool) -> f32 {
    let (a, b) = if ftz { (f32_flush(a), f32_flush(b)) } else { (a, b) };
    let sign = (a.to_bits() ^ b.to_bits()) & 0x8000_0000;
    let (a, b) = if xorsign_abs { (a.abs(), b.abs()) } else { (a, b) };
    let value = match (a.is_nan(), b.is_nan()) {
        (true, true) => return NAN,
        (true, false) | (false, true) if nan => return NAN,
        (true, false) => b,
        (false, true) => a,
        _ if first(a, b) => a,
        _ => b,
    };
    if xorsign_abs { f32::from_bits(value.to_bits() | sign) } else { value }
}

/// The smaller. With `nan`, NaN where one is; else the other. With `xorsign_abs`, of magnitudes, with the product's sign.
#[inline(always)]
pub fn f32_min(a: f32, b: f32, nan: bool, xorsign_abs: bool, ftz: bool) -> f32 {
    extreme(a, b, nan, xorsign_abs, ftz, is_below)
}

/// The larger; as [`f32_min`].
#[inline(always)]
pub fn f32_max(a: f32, b: f32, nan: bool, xorsign_abs: bool, ftz: bool) -> f32 {
    extreme(a, b, nan, xorsign_abs, ftz, |a, b| !is_below(a, b))
}

/// Without its sign.
#[inline(always)]
pub fn f32_abs(a: f32, ftz: bool) -> f32 {
    let a = if ftz { f32_flush(a) } else { a };
    canonical(f32::from_bits(a.to_bits() & 0x7fff_ffff))
}

/// With the other sign.
#[inline(always)]
pub fn f32_neg(a: f32, ftz: bool) -> f32 {
    let a = if ftz { f32_flush(a) } else { a };
    canonical(f32::from_bits(a.to_bits() ^ 0x8000_0000))
}

/// `b` with the sign of `a`.
#[inline(always)]
pub fn f32_copysign(a: f32, b: f32) -> f32 {
    f32::from_bits(a.to_bits() & 0x8000_0000 | b.to_bits() & 0x7fff_ffff)
}

/// Whether a number has a property.
#[inline(always)]
pub fn testp_f32(a: f32, property: TestProperty) -> bool {
    match property {
        TestProperty::Finite => a.is_finite(),
        TestProperty::Infinite => a.is_infinite(),
        TestProperty::Number => !a.is_nan(),
        TestProperty::NotANumber => a.is_nan(),
        TestProperty::Normal => a.is_normal(),
        TestProperty::Subnormal => a.is_subnormal() || a == 0.0,
    }
}

//! Arithmetic on `.f32`: every rounding, `.ftz` and `.sat`, and fast forms of plain `.rn`.
//!
//! NaN results are the canonical NaN, [`F32_NAN_BITS`]. The `.approx` forms are in `approx`.

use super::mode::{Mode, Rounding};
use super::odd;
use super::rounding::round_f64_to_f32;

/// The encoding of every NaN that an `.f32` instruction computes.
pub const F32_NAN_BITS: u32 = 0x7fff_ffff;

const NAN: f32 = f32::from_bits(F32_NAN_BITS);

/// `value`, or the canonical NaN for any NaN.
#[inline(always)]
#[must_use]
pub fn f32_canonical(value: f32) -> f32 {
    // On integers, because LLVM replaces `sqrt(x).is_nan() ? NAN : sqrt(x)` by the root, whatever NAN's bits.
    let bits = value.to_bits();
    f32::from_bits(if bits & 0x7fff_ffff > 0x7f80_0000 { F32_NAN_BITS } else { bits })
}

/// The same with one vector comparison, for the operations that LLVM leaves as they are written.
#[inline(always)]
fn canonical_fast(value: f32) -> f32 {
    if value.is_nan() { NAN } else { value }
}

/// A subnormal `a` as the zero of its sign, anything else unchanged.
#[inline(always)]
#[must_use]
pub fn f32_flush(a: f32) -> f32 {
    let bits = a.to_bits();
    f32::from_bits(if bits & 0x7f80_0000 == 0 { bits & 0x8000_0000 } else { bits })
}

/// `a` clamped to `[0, 1]`; NaN and `-0` become `+0`.
#[inline(always)]
#[must_use]
pub fn f32_saturate(a: f32) -> f32 {
    // A NaN compares false.
    if a > 0.0 { if a < 1.0 { a } else { 1.0 } } else { 0.0 }
}

#[inline(always)]
fn input(a: f32, mode: Mode) -> f32 {
    if mode.ftz { f32_flush(a) } else { a }
}

/// Flushes what is subnormal before it is brought to the smallest normal number: with its 24 digits but without a least exponent
/// it is still less (IEEE 754's tininess after rounding). `exact` is the exact value, or it rounded to odd.
#[inline(always)]
pub(super) fn flush_result(result: f32, exact: impl FnOnce() -> f64, rounding: Rounding) -> f32 {
    if result.abs() == f32::MIN_POSITIVE {
        // Away from the least exponent, by a power of two.
        const SCALE: f32 = 16.0;
        let larger = round_f64_to_f32(exact() * f64::from(SCALE), rounding);
        return if larger.abs() < f32::MIN_POSITIVE * SCALE { 0.0f32.copysign(result) } else { result };
    }
    f32_flush(result)
}

#[inline(always)]
fn output(result: f32, exact: impl FnOnce() -> f64, mode: Mode) -> f32 {
    let result = if mode.ftz { flush_result(result, exact, mode.rounding) } else { result };
    if mode.saturate { f32_saturate(result) } else { f32_canonical(result) }
}

/// `add.rn.f32`.
#[inline(always)]
#[must_use]
pub fn f32_add_rn(a: f32, b: f32) -> f32 {
    canonical_fast(a + b)
}

/// `sub.rn.f32`.
#[inline(always)]
#[must_use]
pub fn f32_sub_rn(a: f32, b: f32) -> f32 {
    canonical_fast(a - b)
}

/// `mul.rn.f32`.
#[inline(always)]
#[must_use]
pub fn f32_mul_rn(a: f32, b: f32) -> f32 {
    canonical_fast(a * b)
}

/// `fma.rn.f32`: `a * b + c`, rounded once.
#[inline(always)]
#[must_use]
pub fn f32_fma_rn(a: f32, b: f32, c: f32) -> f32 {
    canonical_fast(a.mul_add(b, c))
}

/// `add.f32` with any modifiers.
#[inline(always)]
#[must_use]
pub fn f32_add(a: f32, b: f32, mode: Mode) -> f32 {
    if mode.is_default() { f32_add_rn(a, b) } else { add_slow(a, b, mode) }
}

/// `sub.f32` with any modifiers.
#[inline(always)]
#[must_use]
pub fn f32_sub(a: f32, b: f32, mode: Mode) -> f32 {
    // a - b and a + (-b) agree in every rounding; the sign of a NaN operand is lost either way.
    if mode.is_default() { f32_sub_rn(a, b) } else { add_slow(a, -b, mode) }
}

/// `mul.f32` with any modifiers.
#[inline(always)]
#[must_use]
pub fn f32_mul(a: f32, b: f32, mode: Mode) -> f32 {
    if mode.is_default() { f32_mul_rn(a, b) } else { mul_slow(a, b, mode) }
}

/// `fma.f32` with any modifiers.
#[inline(always)]
#[must_use]
pub fn f32_fma(a: f32, b: f32, c: f32, mode: Mode) -> f32 {
    if mode.is_default() { f32_fma_rn(a, b, c) } else { fma_slow(a, b, c, mode) }
}

/// `div.f32` with a rounding modifier, as IEEE 754 has it.
#[inline(always)]
#[must_use]
pub fn f32_div(a: f32, b: f32, mode: Mode) -> f32 {
    if mode.is_default() { f32_canonical(a / b) } else { div_slow(a, b, mode) }
}

/// `sqrt.f32` with a rounding modifier, as IEEE 754 has it.
#[inline(always)]
#[must_use]
pub fn f32_sqrt(a: f32, mode: Mode) -> f32 {
    if mode.is_default() { f32_canonical(a.sqrt()) } else { sqrt_slow(a, mode) }
}

/// `rcp.f32` with a rounding modifier: `1 / a` as IEEE 754 has it.
#[inline(always)]
#[must_use]
pub fn f32_rcp(a: f32, mode: Mode) -> f32 {
    f32_div(1.0, a, mode)
}

#[cold]
#[inline(never)]
fn add_slow(a: f32, b: f32, mode: Mode) -> f32 {
    let (a, b) = (input(a, mode), input(b, mode));
    let exact = || odd::sum(f64::from(a), f64::from(b), mode.rounding);
    let result = match mode.rounding {
        Rounding::Nearest => a + b,
        rounding => round_f64_to_f32(exact(), rounding),
    };
    output(result, exact, mode)
}

#[cold]
#[inline(never)]
fn mul_slow(a: f32, b: f32, mode: Mode) -> f32 {
    let (a, b) = (input(a, mode), input(b, mode));
    // The product of two 24-bit significands is exact in f64.
    let exact = || f64::from(a) * f64::from(b);
    let result = match mode.rounding {
        Rounding::Nearest => a * b,
        rounding => round_f64_to_f32(exact(), rounding),
    };
    output(result, exact, mode)
}

#[cold]
#[inline(never)]
fn fma_slow(a: f32, b: f32, c: f32, mode: Mode) -> f32 {
    let (a, b, c) = (input(a, mode), input(b, mode), input(c, mode));
    let exact = || odd::sum(f64::from(a) * f64::from(b), f64::from(c), mode.rounding);
    let result = match mode.rounding {
        Rounding::Nearest => a.mul_add(b, c),
        rounding => round_f64_to_f32(exact(), rounding),
    };
    output(result, exact, mode)
}

#[cold]
#[inline(never)]
fn div_slow(a: f32, b: f32, mode: Mode) -> f32 {
    let (a, b) = (input(a, mode), input(b, mode));
    let exact = || odd::quotient(f64::from(a), f64::from(b));
    let result = match mode.rounding {
        Rounding::Nearest => a / b,
        rounding => round_f64_to_f32(exact(), rounding),
    };
    output(result, exact, mode)
}

#[cold]
#[inline(never)]
fn sqrt_slow(a: f32, mode: Mode) -> f32 {
    let a = input(a, mode);
    let exact = || odd::root(f64::from(a));
    let result = match mode.rounding {
        Rounding::Nearest => a.sqrt(),
        rounding => round_f64_to_f32(exact(), rounding),
    };
    output(result, exact, mode)
}

/// An integer that orders the non-NaN floats as `min` and `max` do, with `-0` below `+0`.
#[inline(always)]
fn order(a: f32) -> i32 {
    let bits = a.to_bits().cast_signed();
    bits ^ ((bits >> 31) & 0x7fff_ffff)
}

#[inline(always)]
fn select(a: f32, b: f32, nan: bool, xorsign_abs: bool, ftz: bool, take_a: impl Fn(i32, i32) -> bool) -> f32 {
    let (a, b) = if ftz { (f32_flush(a), f32_flush(b)) } else { (a, b) };
    let sign = (a.to_bits() ^ b.to_bits()) & 0x8000_0000;
    let (a, b) = if xorsign_abs { (a.abs(), b.abs()) } else { (a, b) };
    if (a.is_nan() && b.is_nan()) || (nan && (a.is_nan() || b.is_nan())) {
        return NAN;
    }
    let result = if b.is_nan() || (!a.is_nan() && take_a(order(a), order(b))) { a } else { b };
    if xorsign_abs { f32::from_bits(result.to_bits() | sign) } else { result }
}

/// `min.f32`: the smaller operand, `-0` being below `+0`. A NaN loses to a number unless `nan` (`.NaN`).
///
/// `xorsign_abs` compares magnitudes and gives the result the exclusive or of both signs.
#[inline(always)]
#[must_use]
pub fn f32_min(a: f32, b: f32, nan: bool, xorsign_abs: bool, ftz: bool) -> f32 {
    select(a, b, nan, xorsign_abs, ftz, |a, b| a <= b)
}

/// `max.f32`: the larger operand, `+0` being above `-0`. A NaN loses to a number unless `nan` (`.NaN`).
///
/// `xorsign_abs` compares magnitudes and gives the result the exclusive or of both signs.
#[inline(always)]
#[must_use]
pub fn f32_max(a: f32, b: f32, nan: bool, xorsign_abs: bool, ftz: bool) -> f32 {
    select(a, b, nan, xorsign_abs, ftz, |a, b| a >= b)
}

/// `abs.f32`: clears the sign, of a NaN too.
#[inline(always)]
#[must_use]
pub fn f32_abs(a: f32, ftz: bool) -> f32 {
    (if ftz { f32_flush(a) } else { a }).abs()
}

/// `neg.f32`: flips the sign, of a NaN too.
#[inline(always)]
#[must_use]
pub fn f32_neg(a: f32, ftz: bool) -> f32 {
    -(if ftz { f32_flush(a) } else { a })
}

/// `copysign.f32`: the magnitude of `b` with the sign of `a`.
#[inline(always)]
#[must_use]
pub fn f32_copysign(a: f32, b: f32) -> f32 {
    b.copysign(a)
}

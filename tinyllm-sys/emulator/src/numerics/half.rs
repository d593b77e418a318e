//! f16 and bf16, as the bits that registers hold.
//!
//! Their sums and products are computed in f64 and rounded once: a sum or product of two is exact there, or far enough from
//! any tie; a product and sum of three is brought to odd first, so that the second rounding cannot err.

use super::{Mode, Rounding};

/// A 16-bit format.
pub trait HalfFloat: Copy + 'static {
    /// Bits of the fraction.
    const FRACTION: u32;
    /// Bits of the exponent.
    const EXPONENT: u32;
    /// To f32, exactly; NaN as it is.
    fn to_f32(bits: u16) -> f32;
    /// To the nearest; NaN as any NaN.
    fn from_f32(value: f32) -> u16;
}

/// IEEE binary16.
#[derive(Clone, Copy, Debug)]
pub struct F16;

/// bfloat16: the upper half of f32.
#[derive(Clone, Copy, Debug)]
pub struct Bf16;

/// The NaN that results are.
const NAN: u16 = 0x7fff;

/// 2 to a power in f32's normal range.
const fn power(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

impl HalfFloat for F16 {
    const FRACTION: u32 = 10;
    const EXPONENT: u32 = 5;

    #[inline(always)]
    fn to_f32(bits: u16) -> f32 {
        // Fraction and exponent in f32's places, with the bias put right by a product, which subnormals survive exactly.
        let magnitude = u32::from(bits & 0x7fff) << 13;
        let scaled = f32::from_bits(magnitude) * power(112);
        let special = f32::from_bits(magnitude | 0x7f80_0000);
        let value = if bits & 0x7c00 == 0x7c00 { special } else { scaled };
        f32::from_bits(value.to_bits() | u32::from(bits & 0x8000) << 16)
    }

    #[inline(always)]
    fn from_f32(value: f32) -> u16 {
        let bits = value.to_bits();
        let sign = (bits >> 16) & 0x8000;
        let magnitude = bits & 0x7fff_ffff;
        // Normal results: round the fraction to even by hand, the exponent takes the carry.
        let rebiased = magnitude.wrapping_sub(112 << 23);
        let normal = (rebiased.wrapping_add(0xfff + ((rebiased >> 13) & 1))) >> 13;
        // Subnormal results: adding 0.5 puts their last place where f32's is, and rounds.
        let shifted = f32::from_bits(magnitude) + 0.5;
        let subnormal = shifted.to_bits().wrapping_sub(0x3f00_0000);
        let finite = if magnitude < 0x3880_0000 { subnormal } else { normal };
        let result = if magnitude >= 0x477f_f000 { 0x7c00 } else { finite };
        let result = if magnitude > 0x7f80_0000 { u32::from(NAN) } else { result | sign };
        result as u16
    }
}

impl HalfFloat for Bf16 {
    const FRACTION: u32 = 7;
    const EXPONENT: u32 = 8;

    #[inline(always)]
    fn to_f32(bits: u16) -> f32 {
        f32::from_bits(u32::from(bits) << 16)
    }

    #[inline(always)]
    fn from_f32(value: f32) -> u16 {
        let bits = value.to_bits();
        let rounded = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1))) >> 16;
        if bits & 0x7fff_ffff > 0x7f80_0000 { NAN } else { rounded as u16 }
    }
}

/// To f32, exactly; NaN becomes the one that results are.
#[inline(always)]
pub fn half_to_f32<T: HalfFloat>(bits: u16) -> f32 {
    let value = T::to_f32(bits);
    if value.is_nan() { f32::from_bits(0x7fff_ffff) } else { value }
}

/// To the nearest.
#[inline(always)]
pub fn half_from_f32_rn<T: HalfFloat>(value: f32) -> u16 {
    T::from_f32(value)
}

/// Subnormal f16 as 0 of its sign.
#[inline(always)]
pub fn half_flush(bits: u16) -> u16 {
    if bits & 0x7c00 == 0 { bits & 0x8000 } else { bits }
}

fn is_nan<T: HalfFloat>(bits: u16) -> bool {
    let exponent = ((1u16 << T::EXPONENT) - 1) << T::FRACTION;
    bits & 0x7fff > exponent
}

/// Rounds an f64 in a direction.
pub(super) fn round<T: HalfFloat>(value: f64, rounding: Rounding) -> u16 {
    if value.is_nan() {
        return NAN;
    }
    let sign = if value.is_sign_negative() { 0x8000u16 } else { 0 };
    let infinity = ((1u16 << T::EXPONENT) - 1) << T::FRACTION;
    let magnitude = value.abs();
    if magnitude.is_infinite() {
        return sign | infinity;
    }
    // The last place of the result, as a power of two: an f64 that is a multiple of it, the magnitude is scaled to integers.
    let least = 2 - (1 << (T::EXPONENT - 1)) - T::FRACTION as i32;
    let exponent = if magnitude == 0.0 { least } else { exponent_of(magnitude) - T::FRACTION as i32 };
    let last = exponent.max(least);
    let scaled = libm::scalbn(magnitude, -last);
    let up = match rounding {
        Rounding::Nearest => scaled.round_ties_even(),
        Rounding::Zero => scaled.floor(),
        Rounding::Down if sign == 0 => scaled.floor(),
        Rounding::Up if sign != 0 => scaled.floor(),
        Rounding::Down | Rounding::Up => scaled.ceil(),
    };
    // Encoded, a carry out of the fraction is the next exponent.
    let units = up as u32;
    let encoded = units + (((last - least) as u32) << T::FRACTION);
    let overflows = encoded >= u32::from(infinity);
    let largest = infinity - 1;
    let stays = match rounding {
        Rounding::Nearest => false,
        Rounding::Zero => true,
        Rounding::Down => sign == 0,
        Rounding::Up => sign != 0,
    };
    sign | match (overflows, stays) {
        (false, _) => encoded as u16,
        (true, true) => largest,
        (true, false) => infinity,
    }
}

/// The exponent of the first bit of a number above 0.
fn exponent_of(value: f64) -> i32 {
    let field = (value.to_bits() >> 52) as i32;
    if field == 0 { 11 - value.to_bits().leading_zeros() as i32 - 1022 - 52 + 41 } else { field - 1023 }
}

/// What the mode makes of a result.
#[inline(always)]
pub(super) fn half_finished<T: HalfFloat>(bits: u16, mode: Mode) -> u16 {
    let bits = if is_nan::<T>(bits) { NAN } else { bits };
    let bits = if mode.ftz && T::FRACTION == 10 { half_flush(bits) } else { bits };
    if mode.saturate {
        let one = ((1u16 << (T::EXPONENT - 1)) - 1) << T::FRACTION;
        if bits & 0x8000 != 0 || is_nan::<T>(bits) { 0 } else { bits.min(one) }
    } else if mode.relu && bits & 0x8000 != 0 && !is_nan::<T>(bits) {
        0
    } else {
        bits
    }
}

#[inline(always)]
fn input<T: HalfFloat>(bits: u16, mode: Mode) -> f64 {
    let bits = if mode.ftz && T::FRACTION == 10 { half_flush(bits) } else { bits };
    f64::from(T::to_f32(bits))
}

/// An f64 that stands for a sum of `a` and `b` which may not fit it: odd where it is not exact.
fn odd_sum(a: f64, b: f64) -> f64 {
    let sum = a + b;
    if !sum.is_finite() || sum == 0.0 {
        return sum;
    }
    // What the sum lost, exactly.
    let part = sum - a;
    let error = (a - (sum - part)) + (b - part);
    if error == 0.0 || sum.to_bits() & 1 == 1 {
        return sum;
    }
    let away = (error > 0.0) == (sum > 0.0);
    f64::from_bits(if away { sum.to_bits() + 1 } else { sum.to_bits() - 1 })
}

/// The nearest to an f64.
#[inline(always)]
fn nearest<T: HalfFloat>(value: f64) -> u16 {
    round::<T>(value, Rounding::Nearest)
}

/// `a + b`.
pub fn half_add<T: HalfFloat>(a: u16, b: u16, mode: Mode) -> u16 {
    half_finished::<T>(nearest::<T>(odd_sum(input::<T>(a, mode), input::<T>(b, mode))), mode)
}

/// `a - b`.
pub fn half_sub<T: HalfFloat>(a: u16, b: u16, mode: Mode) -> u16 {
    half_finished::<T>(nearest::<T>(odd_sum(input::<T>(a, mode), -input::<T>(b, mode))), mode)
}

/// `a * b`.
pub fn half_mul<T: HalfFloat>(a: u16, b: u16, mode: Mode) -> u16 {
    half_finished::<T>(nearest::<T>(input::<T>(a, mode) * input::<T>(b, mode)), mode)
}

/// `a * b + c`, rounded once.
pub fn half_fma<T: HalfFloat>(a: u16, b: u16, c: u16, mode: Mode) -> u16 {
    // The product is exact in f64.
    let product = input::<T>(a, mode) * input::<T>(b, mode);
    half_finished::<T>(nearest::<T>(odd_sum(product, input::<T>(c, mode))), mode)
}

/// From f32 in a mode. `.ftz` flushes what f32 has as subnormal.
#[inline(always)]
pub fn half_from_f32<T: HalfFloat>(value: f32, mode: Mode) -> u16 {
    let value = if mode.ftz { super::f32_flush(value) } else { value };
    let bits = match mode.rounding {
        Rounding::Nearest => T::from_f32(value),
        rounding => round::<T>(f64::from(value), rounding),
    };
    half_finished::<T>(bits, Mode { ftz: false, ..mode })
}

#[inline(always)]
fn extreme<T: HalfFloat>(a: u16, b: u16, nan: bool, xorsign_abs: bool, ftz: bool, larger: bool) -> u16 {
    let flush = |bits: u16| if ftz && T::FRACTION == 10 { half_flush(bits) } else { bits };
    let (a, b) = (flush(a), flush(b));
    let sign = (a ^ b) & 0x8000;
    let (a, b) = if xorsign_abs { (a & 0x7fff, b & 0x7fff) } else { (a, b) };
    // Of numbers, the order of these is theirs, with -0 below +0.
    let key = |bits: u16| if bits & 0x8000 != 0 { !bits as i32 - 0x8000 } else { i32::from(bits) + 1 };
    let value = match (is_nan::<T>(a), is_nan::<T>(b)) {
        (true, true) => return NAN,
        (true, false) | (false, true) if nan => return NAN,
        (true, false) => b,
        (false, true) => a,
        _ if (key(a) < key(b)) != larger => a,
        _ => b,
    };
    if xorsign_abs { value | sign } else { value }
}

/// The smaller; as [`super::f32_min`].
pub fn half_min<T: HalfFloat>(a: u16, b: u16, nan: bool, xorsign_abs: bool, ftz: bool) -> u16 {
    extreme::<T>(a, b, nan, xorsign_abs, ftz, false)
}

/// The larger; as [`super::f32_max`].
pub fn half_max<T: HalfFloat>(a: u16, b: u16, nan: bool, xorsign_abs: bool, ftz: bool) -> u16 {
    extreme::<T>(a, b, nan, xorsign_abs, ftz, true)
}

/// Without its sign.
pub fn half_abs<T: HalfFloat>(a: u16, ftz: bool) -> u16 {
    half_finished::<T>(a & 0x7fff, Mode { ftz, ..Mode::default() })
}

/// With the other sign.
pub fn half_neg<T: HalfFloat>(a: u16, ftz: bool) -> u16 {
    half_finished::<T>(a ^ 0x8000, Mode { ftz, ..Mode::default() })
}

/// `tanh.approx`.
pub fn half_tanh<T: HalfFloat>(a: u16) -> u16 {
    nearest::<T>(f64::from(T::to_f32(a)).tanh())
}

/// `ex2.approx`.
pub fn half_ex2<T: HalfFloat>(a: u16, ftz: bool) -> u16 {
    let mode = Mode { ftz, ..Mode::default() };
    half_finished::<T>(nearest::<T>(libm::exp2(input::<T>(a, mode))), mode)
}

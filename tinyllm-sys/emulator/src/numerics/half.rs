//! `.f16` and `.bf16`: conversions and arithmetic on raw 16-bit patterns, generic over the format.
//!
//! Every result is rounded once from the exact value; NaN results are [`HALF_NAN_BITS`]. Packed pairs are the
//! caller's affair: it calls these once for each half.

use super::mode::{Mode, Rounding};
use super::odd;
use super::single::{F32_NAN_BITS, f32_canonical};

/// The encoding of every NaN that a half instruction computes, in both formats.
pub const HALF_NAN_BITS: u16 = 0x7fff;

const SIGN: u16 = 0x8000;

/// A 16-bit floating-point format.
pub trait HalfFloat: Copy {
    /// Stored significand bits.
    const MANTISSA_BITS: u32;
    /// Exponent bias, which is also the largest exponent.
    const BIAS: i32;
    /// Whether `ex2.approx` flushes subnormals: it exists as `.f16` and as `.ftz.bf16` only.
    const EX2_FLUSHES: bool;
    /// The encoding of positive infinity.
    const INFINITY: u16 = ((2 * Self::BIAS + 1) as u16) << Self::MANTISSA_BITS;
    /// The encoding of one.
    const ONE: u16 = (Self::BIAS as u16) << Self::MANTISSA_BITS;

    /// The value as `f32`, exactly; NaN is canonical.
    fn to_f32(bits: u16) -> f32;

    /// The nearest value to `value`, ties to even.
    fn from_f32_rn(value: f32) -> u16;
}

/// The `.f16` format: IEEE 754 binary16.
#[derive(Clone, Copy, Debug)]
pub struct F16;

/// The `.bf16` format: the upper half of an `f32`.
#[derive(Clone, Copy, Debug)]
pub struct Bf16;

impl HalfFloat for F16 {
    const MANTISSA_BITS: u32 = 10;
    const BIAS: i32 = 15;
    const EX2_FLUSHES: bool = false;

    #[inline(always)]
    fn to_f32(bits: u16) -> f32 {
        let magnitude = u32::from(bits & 0x7fff);
        // Moving the fields leaves the exponent 112 too small; the product is exact, for subnormals too.
        let scale = f32::from_bits((127 + 112) << 23);
        let finite = (f32::from_bits(magnitude << 13) * scale).to_bits();
        let unsigned = if magnitude < 0x7c00 { finite } else { 0x7f80_0000 };
        let signed = unsigned | (u32::from(bits & SIGN) << 16);
        f32::from_bits(if magnitude > 0x7c00 { F32_NAN_BITS } else { signed })
    }

    #[inline(always)]
    fn from_f32_rn(value: f32) -> u16 {
        let bits = value.to_bits();
        let magnitude = bits & 0x7fff_ffff;
        // Adding one below half a unit, and one more when the kept part is odd, carries exactly when rounding
        // to nearest even rounds up; a carry out of the significand is a correct step of the exponent.
        let rebiased = magnitude.wrapping_sub(112 << 23);
        let normal = rebiased.wrapping_add(0xfff + ((magnitude >> 13) & 1)) >> 13;
        // The unit of 0.5 in f32 is the f16 subnormal unit 2^-24, so the host's addition rounds.
        let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
        let finite = if magnitude < 0x3880_0000 { subnormal } else { normal };
        // 2^16 and above, infinity included.
        let unsigned = if magnitude < 0x4780_0000 { finite } else { 0x7c00 };
        let signed = unsigned | ((bits >> 16) & 0x8000);
        (if magnitude > 0x7f80_0000 { u32::from(HALF_NAN_BITS) } else { signed }) as u16
    }
}

impl HalfFloat for Bf16 {
    const MANTISSA_BITS: u32 = 7;
    const BIAS: i32 = 127;
    const EX2_FLUSHES: bool = true;

    #[inline(always)]
    fn to_f32(bits: u16) -> f32 {
        f32_canonical(f32::from_bits(u32::from(bits) << 16))
    }

    #[inline(always)]
    fn from_f32_rn(value: f32) -> u16 {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        (if value.is_nan() { u32::from(HALF_NAN_BITS) } else { rounded }) as u16
    }
}

/// `cvt.f32.f16` or `cvt.f32.bf16`: the value, exactly; NaN is canonical.
#[inline(always)]
#[must_use]
pub fn half_to_f32<T: HalfFloat>(a: u16) -> f32 {
    T::to_f32(a)
}

/// `cvt.rn` from `.f32`, without modifiers.
#[inline(always)]
#[must_use]
pub fn half_from_f32_rn<T: HalfFloat>(a: f32) -> u16 {
    T::from_f32_rn(a)
}

/// `cvt` from `.f32` with any modifiers but `.ftz`, which changes nothing, as on Hopper: a subnormal `a` shows where the smallest
/// results are rounded up or down.
#[inline(always)]
#[must_use]
pub fn half_from_f32<T: HalfFloat>(a: f32, mode: Mode) -> u16 {
    if mode.is_default() {
        return T::from_f32_rn(a);
    }
    clamp::<T>(round::<T>(f64::from(a), mode.rounding), mode)
}

/// `cvt` from `.f64` with any modifiers but `.ftz`, which concerns `.f32` only.
#[must_use]
pub fn half_from_f64<T: HalfFloat>(a: f64, mode: Mode) -> u16 {
    clamp::<T>(round::<T>(a, mode.rounding), mode)
}

/// Rounds an `f64` once.
#[inline]
fn round<T: HalfFloat>(value: f64, rounding: Rounding) -> u16 {
    let bits = value.to_bits();
    let sign = if value.is_sign_negative() { SIGN } else { 0 };
    if value.is_nan() {
        return HALF_NAN_BITS;
    }
    if value.is_infinite() || value == 0.0 {
        return if value == 0.0 { sign } else { sign | T::INFINITY };
    }
    let stored_exponent = ((bits >> 52) & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    let (exponent, significand) =
        if stored_exponent == 0 { (-1022, fraction) } else { (stored_exponent - 1023, fraction | 1 << 52) };

    let minimum = 1 - T::BIAS;
    let clamped = exponent.max(minimum);
    // Beyond 62 every bit is below half a unit anyway.
    let shift = (52 - T::MANTISSA_BITS).saturating_add((clamped - exponent).unsigned_abs()).min(62);
    let kept = significand >> shift;
    let rest = significand & ((1 << shift) - 1);
    let half = 1 << (shift - 1);
    let round_up = match rounding {
        Rounding::Nearest => rest > half || (rest == half && kept & 1 == 1),
        Rounding::Zero => false,
        Rounding::Down => sign != 0 && rest != 0,
        Rounding::Up => sign == 0 && rest != 0,
    };
    // The hidden bit of `kept` adds the one that a normal number's stored exponent has over a subnormal's.
    let magnitude =
        (u64::from((clamped - minimum).unsigned_abs()) << T::MANTISSA_BITS) + kept + u64::from(round_up);
    if magnitude < u64::from(T::INFINITY) {
        return sign | magnitude as u16;
    }
    let to_infinity = match rounding {
        Rounding::Nearest => true,
        Rounding::Zero => false,
        Rounding::Down => sign != 0,
        Rounding::Up => sign == 0,
    };
    sign | if to_infinity { T::INFINITY } else { T::INFINITY - 1 }
}

#[inline(always)]
fn is_nan<T: HalfFloat>(a: u16) -> bool {
    a & !SIGN > T::INFINITY
}

/// A subnormal as the zero of its sign.
#[inline(always)]
#[must_use]
pub fn half_flush<T: HalfFloat>(a: u16) -> u16 {
    if a & T::INFINITY == 0 { a & SIGN } else { a }
}

/// Applies `.relu` and `.sat`.
#[inline(always)]
fn clamp<T: HalfFloat>(result: u16, mode: Mode) -> u16 {
    let nan = is_nan::<T>(result);
    if mode.saturate {
        if nan || result & SIGN != 0 { 0 } else { result.min(T::ONE) }
    } else if mode.relu && !nan && result & SIGN != 0 {
        0
    } else {
        result
    }
}

#[inline(always)]
fn input<T: HalfFloat>(a: u16, mode: Mode) -> f64 {
    f64::from(T::to_f32(if mode.ftz { half_flush::<T>(a) } else { a }))
}

/// Rounds an exact or odd-rounded result and applies the modifiers.
#[inline(always)]
fn output<T: HalfFloat>(result: f64, mode: Mode) -> u16 {
    let rounded = round::<T>(result, mode.rounding);
    clamp::<T>(if mode.ftz { flush_result::<T>(rounded, result, mode.rounding) } else { rounded }, mode)
}

/// Flushes what is subnormal before it is brought to the format's smallest normal number: with its digits but without a least
/// exponent it is still less (IEEE 754's tininess after rounding).
fn flush_result<T: HalfFloat>(rounded: u16, exact: f64, rounding: Rounding) -> u16 {
    let smallest = 1 << T::MANTISSA_BITS;
    if rounded & !SIGN == smallest {
        // Away from the least exponent, by powers of two.
        let steps = 4;
        let larger = round::<T>(exact * f64::from(1 << steps), rounding);
        return if larger & !SIGN < smallest * (1 + steps) { rounded & SIGN } else { rounded };
    }
    half_flush::<T>(rounded)
}

/// `add` on halves. Rounding other than to nearest is no PTX form, and works all the same.
#[inline(always)]
#[must_use]
pub fn half_add<T: HalfFloat>(a: u16, b: u16, mode: Mode) -> u16 {
    if mode.is_default() {
        // f32 has at least 2p + 2 bits for both formats, and a sum is exact where the result is subnormal, so
        // rounding twice is rounding once.
        return T::from_f32_rn(T::to_f32(a) + T::to_f32(b));
    }
    add_with::<T>(a, b, mode)
}

/// A sum with modifiers; apart from the usual case, so that a loop of that has nothing else in it.
#[cold]
#[inline(never)]
fn add_with<T: HalfFloat>(a: u16, b: u16, mode: Mode) -> u16 {
    output::<T>(odd::sum(input::<T>(a, mode), input::<T>(b, mode), mode.rounding), mode)
}

/// `sub` on halves. Rounding other than to nearest is no PTX form, and works all the same.
#[inline(always)]
#[must_use]
pub fn half_sub<T: HalfFloat>(a: u16, b: u16, mode: Mode) -> u16 {
    half_add::<T>(a, b ^ SIGN, mode)
}

/// `mul` on halves. Rounding other than to nearest is no PTX form, and works all the same.
#[inline(always)]
#[must_use]
pub fn half_mul<T: HalfFloat>(a: u16, b: u16, mode: Mode) -> u16 {
    if mode.is_default() {
        // At most 22 bits, so exact in f32 or infinite in both; but a bf16 product below 2^-134 may lose bits. Half
        // of the smallest bf16 is 2^-134, so it still rounds to zero: at worst it becomes that tie, and zero is even.
        return T::from_f32_rn(T::to_f32(a) * T::to_f32(b));
    }
    mul_with::<T>(a, b, mode)
}

/// A product with modifiers, apart as [`add_with`] is.
#[cold]
#[inline(never)]
fn mul_with<T: HalfFloat>(a: u16, b: u16, mode: Mode) -> u16 {
    // The product of two significands of at most 11 bits is exact in f64.
    output::<T>(input::<T>(a, mode) * input::<T>(b, mode), mode)
}

/// `fma` on halves: `a * b + c`, rounded once.
#[inline(always)]
#[must_use]
pub fn half_fma<T: HalfFloat>(a: u16, b: u16, c: u16, mode: Mode) -> u16 {
    let product = input::<T>(a, mode) * input::<T>(b, mode);
    output::<T>(odd::sum(product, input::<T>(c, mode), mode.rounding), mode)
}

/// An integer that orders the non-NaN values as `min` and `max` do, with `-0` below `+0`.
#[inline(always)]
fn order(a: u16) -> i16 {
    let bits = a.cast_signed();
    bits ^ ((bits >> 15) & 0x7fff)
}

#[inline(always)]
fn select<T: HalfFloat>(
    a: u16,
    b: u16,
    nan: bool,
    xorsign_abs: bool,
    take_a: impl Fn(i16, i16) -> bool,
) -> u16 {
    let sign = (a ^ b) & SIGN;
    let (a, b) = if xorsign_abs { (a & !SIGN, b & !SIGN) } else { (a, b) };
    let (a_is_nan, b_is_nan) = (is_nan::<T>(a), is_nan::<T>(b));
    if (a_is_nan && b_is_nan) || (nan && (a_is_nan || b_is_nan)) {
        return HALF_NAN_BITS;
    }
    let result = if b_is_nan || (!a_is_nan && take_a(order(a), order(b))) { a } else { b };
    if xorsign_abs { result | sign } else { result }
}

/// `min` on halves: the smaller operand, `-0` being below `+0`. A NaN loses to a number unless `nan` (`.NaN`).
///
/// `xorsign_abs` compares magnitudes and gives the result the exclusive or of both signs.
#[inline(always)]
#[must_use]
pub fn half_min<T: HalfFloat>(a: u16, b: u16, nan: bool, xorsign_abs: bool) -> u16 {
    select::<T>(a, b, nan, xorsign_abs, |a, b| a <= b)
}

/// `max` on halves: the larger operand, `+0` being above `-0`. A NaN loses to a number unless `nan` (`.NaN`).
///
/// `xorsign_abs` compares magnitudes and gives the result the exclusive or of both signs.
#[inline(always)]
#[must_use]
pub fn half_max<T: HalfFloat>(a: u16, b: u16, nan: bool, xorsign_abs: bool) -> u16 {
    select::<T>(a, b, nan, xorsign_abs, |a, b| a >= b)
}

/// `neg` on halves: flips the sign, of a NaN too.
#[inline(always)]
#[must_use]
pub fn half_neg(a: u16) -> u16 {
    a ^ SIGN
}

/// `abs` on halves: clears the sign, of a NaN too.
#[inline(always)]
#[must_use]
pub fn half_abs(a: u16) -> u16 {
    a & !SIGN
}

/// `tanh.approx` on halves, rounded from double precision.
#[must_use]
pub fn half_tanh<T: HalfFloat>(a: u16) -> u16 {
    round::<T>(libm::tanh(f64::from(T::to_f32(a))), Rounding::Nearest)
}

/// `ex2.approx.f16` or `ex2.approx.ftz.bf16`: two to the power `a`, rounded from double precision.
#[must_use]
pub fn half_ex2<T: HalfFloat>(a: u16) -> u16 {
    let mode = Mode { ftz: T::EX2_FLUSHES, ..Mode::default() };
    output::<T>(libm::exp2(input::<T>(a, mode)), mode)
}

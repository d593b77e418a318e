//! `cvt` between `.f32`, `.f64`, `.tf32` and the integers. The half formats convert in `half`.

use std::cmp::Ordering;

use super::double::f64_canonical;
use super::mode::{Mode, Rounding};
use super::rounding::{redirect_f32, round_f64_to_f32};
use super::single::{F32_NAN_BITS, f32_canonical, f32_saturate, flush_result};

/// `cvt.f32.f64` with any modifiers.
#[inline]
#[must_use]
pub fn f64_to_f32(a: f64, mode: Mode) -> f32 {
    let result = round_f64_to_f32(a, mode.rounding);
    let result = if mode.ftz { flush_result(result, || a, mode.rounding) } else { result };
    if mode.saturate { f32_saturate(result) } else { f32_canonical(result) }
}

/// `cvt.f64.f32`: the value, exactly; NaN is canonical.
#[inline(always)]
#[must_use]
pub fn f32_to_f64(a: f32) -> f64 {
    f64_canonical(f64::from(a))
}

/// `cvt.rni.f32.f32` and its siblings: rounds to an integral value. NaN is canonical.
#[inline(always)]
#[must_use]
pub fn f32_round_integral(a: f32, rounding: Rounding) -> f32 {
    f32_canonical(match rounding {
        Rounding::Nearest => a.round_ties_even(),
        Rounding::Zero => a.trunc(),
        Rounding::Down => a.floor(),
        Rounding::Up => a.ceil(),
    })
}

/// `cvt.rni.f64.f64` and its siblings: rounds to an integral value. NaN is canonical.
#[inline(always)]
#[must_use]
pub fn f64_round_integral(a: f64, rounding: Rounding) -> f64 {
    f64_canonical(match rounding {
        Rounding::Nearest => a.round_ties_even(),
        Rounding::Zero => a.trunc(),
        Rounding::Down => a.floor(),
        Rounding::Up => a.ceil(),
    })
}

/// `cvt.r*i` of a number to an integer of `bits` (8, 16, 32 or 64), clamped to its range. NaN is [`nan_to_integer`]'s, and 0 here.
///
/// A signed result is sign-extended to 64 bits. An `.f32` or half source converts exactly to `f64` first.
#[inline]
#[must_use]
pub fn float_to_integer(value: f64, rounding: Rounding, bits: u32, signed: bool) -> u64 {
    let integral = f64_round_integral(value, rounding);
    // The casts clamp to 64 bits and turn NaN to 0; the second clamp is exact on integers.
    if signed {
        let high = i64::MAX >> (64 - bits);
        (integral as i64).clamp(!high, high).cast_unsigned()
    } else {
        (integral as u64).min(u64::MAX >> (64 - bits))
    }
}

/// What a NaN converts to: 0, unless the source is `.f64` or the destination has 64 bits: then only the top bit of the destination is set.
#[inline]
#[must_use]
pub fn nan_to_integer(source_is_f64: bool, bits: u32) -> u64 {
    if source_is_f64 || bits == 64 { 1 << (bits - 1) } else { 0 }
}

/// `cvt.r*i.s32.f32`: clamped; NaN gives 0.
#[inline(always)]
#[must_use]
pub fn f32_to_i32(a: f32, rounding: Rounding) -> i32 {
    // Truncation is what the cast does.
    (if rounding == Rounding::Zero { a } else { f32_round_integral(a, rounding) }) as i32
}

/// `cvt.r*i.u32.f32`: clamped; NaN gives 0.
#[inline(always)]
#[must_use]
pub fn f32_to_u32(a: f32, rounding: Rounding) -> u32 {
    (if rounding == Rounding::Zero { a } else { f32_round_integral(a, rounding) }) as u32
}

/// `cvt.rn.f32.s32`.
#[inline(always)]
#[must_use]
pub fn i32_to_f32_rn(a: i32) -> f32 {
    a as f32
}

/// `cvt.rn.f32.u32`.
#[inline(always)]
#[must_use]
pub fn u32_to_f32_rn(a: u32) -> f32 {
    a as f32
}

/// `cvt.f32` from any integer type, whose value fits 64 bits signed or unsigned.
#[inline]
#[must_use]
pub fn integer_to_f32(value: i128, rounding: Rounding) -> f32 {
    let nearest = value as f32;
    redirect_f32(nearest, (nearest as i128).cmp(&value), rounding)
}

/// `cvt.f64` from any integer type, whose value fits 64 bits signed or unsigned.
#[inline]
#[must_use]
pub fn integer_to_f64(value: i128, rounding: Rounding) -> f64 {
    let nearest = value as f64;
    match (rounding, (nearest as i128).cmp(&value)) {
        (Rounding::Down, Ordering::Greater) => nearest.next_down(),
        (Rounding::Up, Ordering::Less) => nearest.next_up(),
        (Rounding::Zero, Ordering::Greater) if nearest > 0.0 => nearest.next_down(),
        (Rounding::Zero, Ordering::Less) if nearest < 0.0 => nearest.next_up(),
        _ => nearest,
    }
}

/// The bits of `.tf32` that are dropped from an `f32`.
const TF32_DROPPED: u32 = 0x1fff;

/// `cvt.rna.tf32.f32`: 10 significand bits, ties away from zero, the low 13 bits zero. NaN loses those too, as on Hopper, and
/// may be left an infinity.
#[inline(always)]
#[must_use]
pub fn f32_to_tf32_rna(a: f32) -> u32 {
    // An infinity has no low bits to carry from; a large finite value carries into the infinity.
    let rounded = a.to_bits().wrapping_add(0x1000) & !TF32_DROPPED;
    if a.is_nan() { a.to_bits() & !TF32_DROPPED } else { rounded }
}

/// `cvt.rn.tf32.f32`: 10 significand bits, ties to even, the low 13 bits zero. NaN is `0x7fffffff`.
#[inline(always)]
#[must_use]
pub fn f32_to_tf32_rn(a: f32) -> u32 {
    let bits = a.to_bits();
    let rounded = bits.wrapping_add(0xfff + ((bits >> 13) & 1)) & !TF32_DROPPED;
    if a.is_nan() { F32_NAN_BITS } else { rounded }
}

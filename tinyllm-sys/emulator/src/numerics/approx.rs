//! The `.approx` and `.full` forms of `.f32`, and the gross approximations of `.f64`.
//!
//! Hardware results differ from these in the last bits; the manual bounds the error and fixes the special values,
//! and these functions keep both. Where the host divides or takes a root in hardware, the result is simply the
//! correctly rounded one.

use super::double::f64_canonical;
use super::single::{f32_canonical, f32_flush};

/// Applies `operation` between the flushes of `.ftz`, and makes NaN canonical.
#[inline(always)]
fn unary(a: f32, ftz: bool, operation: impl Fn(f32) -> f32) -> f32 {
    let result = operation(if ftz { f32_flush(a) } else { a });
    f32_canonical(if ftz { f32_flush(result) } else { result })
}

/// `rcp.approx.f32`: `1 / a`.
#[inline(always)]
#[must_use]
pub fn rcp_approx(a: f32, ftz: bool) -> f32 {
    unary(a, ftz, |a| 1.0 / a)
}

/// `sqrt.approx.f32`. Negative numbers give NaN, `-0` gives `-0`.
#[inline(always)]
#[must_use]
pub fn sqrt_approx(a: f32, ftz: bool) -> f32 {
    unary(a, ftz, f32::sqrt)
}

/// `rsqrt.approx.f32`: `1 / sqrt(a)`. A zero gives the infinity of its sign, negative numbers give NaN.
#[inline(always)]
#[must_use]
pub fn rsqrt_approx(a: f32, ftz: bool) -> f32 {
    // Two roundings in f32 would stay within 1.5 units, and the bound is 2^-22.9, below that.
    unary(a, ftz, |a| (1.0 / f64::from(a).sqrt()) as f32)
}

/// `sin.approx.f32`. Infinities give NaN.
#[inline(always)]
#[must_use]
pub fn sin_approx(a: f32, ftz: bool) -> f32 {
    unary(a, ftz, libm::sinf)
}

/// `cos.approx.f32`. Infinities give NaN.
#[inline(always)]
#[must_use]
pub fn cos_approx(a: f32, ftz: bool) -> f32 {
    unary(a, ftz, libm::cosf)
}

/// `lg2.approx.f32`: the base-2 logarithm. Zeros give negative infinity, negative numbers NaN.
#[inline(always)]
#[must_use]
pub fn lg2_approx(a: f32, ftz: bool) -> f32 {
    unary(a, ftz, libm::log2f)
}

/// `ex2.approx.f32`: two to the power `a`.
#[inline(always)]
#[must_use]
pub fn ex2_approx(a: f32, ftz: bool) -> f32 {
    unary(a, ftz, libm::exp2f)
}

/// `tanh.approx.f32`. A subnormal gives itself; PTX has no `.ftz` form of it.
#[inline(always)]
#[must_use]
pub fn tanh_approx(a: f32, ftz: bool) -> f32 {
    unary(a, ftz, libm::tanhf)
}

/// `div.full.f32`: `a / b` over the full range.
#[inline(always)]
#[must_use]
pub fn div_full(a: f32, b: f32, ftz: bool) -> f32 {
    let (a, b) = if ftz { (f32_flush(a), f32_flush(b)) } else { (a, b) };
    let result = a / b;
    f32_canonical(if ftz { f32_flush(result) } else { result })
}

/// `div.approx.f32`: `a / b`, where a divisor with `2^126 < |b| < 2^128` gives a zero, or NaN for infinite `a`.
#[inline(always)]
#[must_use]
pub fn div_approx(a: f32, b: f32, ftz: bool) -> f32 {
    // The instruction multiplies with a reciprocal, which is flushed for those divisors.
    let magnitude = b.to_bits() & 0x7fff_ffff;
    if magnitude > 0x7e80_0000 && magnitude < 0x7f80_0000 {
        let a = if ftz { f32_flush(a) } else { a };
        return f32_canonical(a * 0.0_f32.copysign(b));
    }
    div_full(a, b, ftz)
}

/// The result of the `.ftz.f64` approximations for NaN.
const GROSS_NAN: f64 = f64::from_bits(0x7fff_ffff_0000_0000);

/// Applies `operation` to the upper word of `a` and keeps the upper word of the result, flushing subnormals.
#[inline(always)]
fn gross(a: f64, operation: impl Fn(f64) -> f64) -> f64 {
    let upper = |value: f64| {
        let bits = value.to_bits() & 0xffff_ffff_0000_0000;
        f64::from_bits(if bits & 0x7ff0_0000_0000_0000 == 0 { bits & (1 << 63) } else { bits })
    };
    if a.is_nan() {
        return GROSS_NAN;
    }
    let result = operation(upper(a));
    if result.is_nan() { GROSS_NAN } else { upper(result) }
}

/// `rcp.approx.ftz.f64`: a reciprocal of the upper 32 bits of `a`, the lower 32 bits of the result being zero.
#[inline]
#[must_use]
pub fn rcp_approx_ftz_f64(a: f64) -> f64 {
    gross(a, |a| 1.0 / a)
}

/// `rsqrt.approx.ftz.f64`: from the upper 32 bits of `a`, the lower 32 bits of the result being zero.
#[inline]
#[must_use]
pub fn rsqrt_approx_ftz_f64(a: f64) -> f64 {
    gross(a, |a| 1.0 / a.sqrt())
}

/// `rsqrt.approx.f64`: `1 / sqrt(a)`. A zero gives the infinity of its sign, negative numbers give NaN.
#[inline]
#[must_use]
pub fn rsqrt_approx_f64(a: f64) -> f64 {
    f64_canonical(1.0 / a.sqrt())
}

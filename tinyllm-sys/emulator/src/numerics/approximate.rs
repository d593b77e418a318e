//! `.approx`: functions that the hardware gives within an error that the manual bounds. Here they are nearly exact; special
//! values are the manual's.

use super::f32_flush;

/// The NaN that results are.
const NAN: f32 = f32::from_bits(0x7fff_ffff);

#[inline(always)]
fn canonical(value: f32) -> f32 {
    if value.is_nan() { NAN } else { value }
}

#[inline(always)]
fn with_flush(a: f32, ftz: bool, run: impl Fn(f32) -> f32) -> f32 {
    let value = canonical(run(if ftz { f32_flush(a) } else { a }));
    if ftz { f32_flush(value) } else { value }
}

/// `1 / a`, within 1 ulp.
#[inline(always)]
pub fn rcp_approx(a: f32, ftz: bool) -> f32 {
    with_flush(a, ftz, |a| 1.0 / a)
}

/// `1 / sqrt(a)`, within 2^-22.4 relative.
#[inline(always)]
pub fn rsqrt_approx(a: f32, ftz: bool) -> f32 {
    with_flush(a, ftz, |a| {
        let root = f64::from(a).sqrt();
        // The sign of a zero stays: rsqrt(-0) is -inf.
        (1.0 / root) as f32
    })
}

/// `sqrt(a)`, within 2^-23 relative.
#[inline(always)]
pub fn sqrt_approx(a: f32, ftz: bool) -> f32 {
    with_flush(a, ftz, f32::sqrt)
}

/// `sin(a)`, within 2^-20.9 absolute in [-pi, pi].
#[inline(always)]
pub fn sin_approx(a: f32, ftz: bool) -> f32 {
    with_flush(a, ftz, libm::sinf)
}

/// `cos(a)`, within 2^-20.9 absolute in [-pi, pi].
#[inline(always)]
pub fn cos_approx(a: f32, ftz: bool) -> f32 {
    with_flush(a, ftz, libm::cosf)
}

/// `log2(a)`, within 2^-22 absolute, or relative away from 1.
#[inline(always)]
pub fn lg2_approx(a: f32, ftz: bool) -> f32 {
    with_flush(a, ftz, |a| if a == 0.0 { f32::NEG_INFINITY } else { libm::log2(f64::from(a)) as f32 })
}

/// `2^a`, within 2 ulp.
#[inline(always)]
pub fn ex2_approx(a: f32, ftz: bool) -> f32 {
    with_flush(a, ftz, libm::exp2f)
}

/// `tanh(a)`, within 2^-11 relative.
#[inline(always)]
pub fn tanh_approx(a: f32, ftz: bool) -> f32 {
    with_flush(a, ftz, libm::tanhf)
}

/// `a / b`, within 2 ulp for |b| in [2^-126, 2^126]; beyond that the hardware's reciprocal is 0, and so is the quotient of
/// finite numbers.
#[inline(always)]
pub fn div_approx(a: f32, b: f32, ftz: bool) -> f32 {
    let (a, b) = if ftz { (f32_flush(a), f32_flush(b)) } else { (a, b) };
    let large = b.abs() > f32::from_bits((126 + 127) << 23) && b.is_finite();
    let value = match large {
        true if a.is_infinite() => NAN,
        true => canonical(a * f32::from_bits(b.to_bits() & 0x8000_0000)),
        false => canonical(a / b),
    };
    if ftz { f32_flush(value) } else { value }
}

/// `a / b`, within 2 ulp over the whole range.
#[inline(always)]
pub fn div_full(a: f32, b: f32, ftz: bool) -> f32 {
    let (a, b) = if ftz { (f32_flush(a), f32_flush(b)) } else { (a, b) };
    let value = canonical(a / b);
    if ftz { f32_flush(value) } else { value }
}

/// Subnormal numbers as 0, and only the upper 32 bits of what is left.
#[inline(always)]
fn upper(a: f64) -> f64 {
    let bits = a.to_bits() & 0xffff_ffff_0000_0000;
    let subnormal = bits & 0x7ff0_0000_0000_0000 == 0;
    f64::from_bits(if subnormal { bits & 1 << 63 } else { bits })
}

/// The NaN of doubles that are approximated.
#[inline(always)]
fn canonical_double(value: f64) -> f64 {
    if value.is_nan() { f64::from_bits(0x7fff_ffff_0000_0000) } else { value }
}

/// `rcp.approx.ftz.f64`: the upper 32 bits of `1 / a`, of the upper 32 bits of `a`; the lower ones are 0.
pub fn rcp_approx_ftz_f64(a: f64) -> f64 {
    let input = upper(a);
    if a.is_nan() {
        return canonical_double(f64::NAN);
    }
    canonical_double(upper(1.0 / input))
}

/// `rsqrt.approx.f64`, within 2^-20 or so of `1 / sqrt(a)`: the upper 32 bits of it.
pub fn rsqrt_approx_f64(a: f64) -> f64 {
    let value = 1.0 / a.sqrt();
    if value.is_nan() {
        return canonical_double(value);
    }
    f64::from_bits(value.to_bits() & 0xffff_ffff_0000_0000)
}

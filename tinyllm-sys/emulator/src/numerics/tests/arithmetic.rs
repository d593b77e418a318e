//! `.f32` and `.f64` arithmetic in every mode against exact rationals.

use proptest::prelude::*;

use super::oracle::{self, F32, F64, Format, ROUNDINGS, Value};
use crate::numerics::*;

fn modes() -> impl Iterator<Item = Mode> {
    ROUNDINGS.into_iter().flat_map(|rounding| {
        (0..4).map(move |flags| Mode { rounding, ftz: flags & 1 != 0, saturate: flags & 2 != 0, relu: false })
    })
}

fn single(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn double(bits: u64) -> f64 {
    f64::from_bits(bits)
}

/// Checks one operation in all modes; the computed results are bit patterns.
fn check(
    format: Format,
    operands: &[u64],
    modes: impl Iterator<Item = Mode>,
    oracle: impl Fn(&[Value], Rounding) -> Value,
    computed: impl Fn(Mode) -> u64,
) {
    for mode in modes {
        let expected = format.expect(operands, mode, &oracle);
        let computed = computed(mode);
        assert_eq!(computed, expected, "{computed:#x} != {expected:#x} for {operands:#x?} in {mode:?}");
    }
}

fn roundings() -> impl Iterator<Item = Mode> {
    ROUNDINGS.into_iter().map(|rounding| Mode { rounding, ..Mode::default() })
}

fn bits32(value: f32) -> u64 {
    u64::from(value.to_bits())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn f32_sums((a, b) in F32.pair()) {
        let (x, y) = (single(a), single(b));
        check(F32, &[a, b], modes(), oracle::add, |mode| bits32(f32_add(x, y, mode)));
        check(F32, &[a, b], modes(), oracle::sub, |mode| bits32(f32_sub(x, y, mode)));
    }

    #[test]
    fn f32_products((a, b) in F32.pair()) {
        check(F32, &[a, b], modes(), oracle::mul, |mode| bits32(f32_mul(single(a), single(b), mode)));
    }

    #[test]
    fn f32_quotients((a, b) in F32.pair()) {
        check(F32, &[a, b], modes(), oracle::div, |mode| bits32(f32_div(single(a), single(b), mode)));
        check(F32, &[b], modes(), oracle::rcp, |mode| bits32(f32_rcp(single(b), mode)));
    }

    #[test]
    fn f32_roots(a in F32.bits()) {
        check(F32, &[a], modes(), oracle::sqrt, |mode| bits32(f32_sqrt(single(a), mode)));
    }

    #[test]
    fn f32_fused((a, b) in F32.pair(), c in F32.bits(), step in -2_i32..3, cancel: bool) {
        let (x, y) = (single(a), single(b));
        // An addend within units of the product leaves only low bits.
        let c = if cancel { (-(x * y)).to_bits().wrapping_add_signed(step) } else { c as u32 };
        let operands = [a, b, u64::from(c)];
        check(F32, &operands, modes(), oracle::fma, |mode| bits32(f32_fma(x, y, f32::from_bits(c), mode)));
    }

    #[test]
    fn f64_sums((a, b) in F64.pair()) {
        let (x, y) = (double(a), double(b));
        check(F64, &[a, b], roundings(), oracle::add, |mode| f64_add(x, y, mode.rounding).to_bits());
        check(F64, &[a, b], roundings(), oracle::sub, |mode| f64_sub(x, y, mode.rounding).to_bits());
    }

    #[test]
    fn f64_products((a, b) in F64.pair()) {
        let (x, y) = (double(a), double(b));
        check(F64, &[a, b], roundings(), oracle::mul, |mode| f64_mul(x, y, mode.rounding).to_bits());
    }

    #[test]
    fn f64_quotients((a, b) in F64.pair()) {
        let (x, y) = (double(a), double(b));
        check(F64, &[a, b], roundings(), oracle::div, |mode| f64_div(x, y, mode.rounding).to_bits());
        check(F64, &[b], roundings(), oracle::rcp, |mode| f64_rcp(y, mode.rounding).to_bits());
    }

    #[test]
    fn f64_roots(a in F64.bits()) {
        check(F64, &[a], roundings(), oracle::sqrt, |mode| f64_sqrt(double(a), mode.rounding).to_bits());
    }

    #[test]
    fn f64_fused((a, b) in F64.pair(), c in F64.bits(), step in -2_i64..3, cancel: bool) {
        let (x, y) = (double(a), double(b));
        let c = if cancel { (-(x * y)).to_bits().wrapping_add_signed(step) } else { c };
        let z = double(c);
        check(F64, &[a, b, c], roundings(), oracle::fma, |mode| f64_fma(x, y, z, mode.rounding).to_bits());
    }
}

#[test]
fn fast_forms_make_nan_canonical() {
    let signalling = f32::from_bits(0xff80_0001);
    for result in [
        f32_add_rn(signalling, 1.0),
        f32_sub_rn(f32::INFINITY, f32::INFINITY),
        f32_mul_rn(0.0, f32::NEG_INFINITY),
        f32_fma_rn(signalling, 0.0, 1.0),
    ] {
        assert_eq!(result.to_bits(), 0x7fff_ffff);
    }
}

/// The host's own NaN has its sign set, and an optimiser that knows roots may let it through.
#[test]
fn roots_of_negative_numbers_are_the_canonical_nan() {
    for rounding in ROUNDINGS {
        let mode = Mode { rounding, ..Mode::default() };
        for a in [-1.0_f32, -1e-45, f32::NEG_INFINITY] {
            assert_eq!(f32_sqrt(std::hint::black_box(a), mode).to_bits(), 0x7fff_ffff);
            assert_eq!(sqrt_approx(std::hint::black_box(a), false).to_bits(), 0x7fff_ffff);
            assert_eq!(rsqrt_approx(std::hint::black_box(a), false).to_bits(), 0x7fff_ffff);
            let root = f64_sqrt(std::hint::black_box(f64::from(a)), rounding);
            assert_eq!(root.to_bits(), 0x7ff8_0000_0000_0000);
            let root = rsqrt_approx_f64(std::hint::black_box(f64::from(a)));
            assert_eq!(root.to_bits(), 0x7ff8_0000_0000_0000);
        }
    }
}

#[test]
fn modes_survive_packing() {
    for packed in 0..32 {
        assert_eq!(Mode::unpack(packed).pack(), packed);
    }
    assert_eq!(Mode::default().pack(), 0);
    let mode = Mode { rounding: Rounding::Up, ftz: false, saturate: true, relu: false };
    assert_eq!(Mode::unpack(mode.pack()), mode);
}

//! `.f16` and `.bf16` against exact rationals and the `half` crate.

use proptest::prelude::*;

use super::oracle::{self, BF16, F16 as F16_FORMAT, F32, F64, Format, ROUNDINGS, Value};
use crate::numerics::*;

fn modes() -> impl Iterator<Item = Mode> {
    ROUNDINGS.into_iter().flat_map(|rounding| {
        (0..8).map(move |flags| Mode {
            rounding,
            ftz: flags & 1 != 0,
            saturate: flags & 2 != 0,
            relu: flags & 4 != 0,
        })
    })
}

fn check(
    format: Format,
    operands: &[u64],
    oracle: impl Fn(&[Value], Rounding) -> Value,
    computed: impl Fn(Mode) -> u16,
) {
    for mode in modes() {
        let expected = format.expect(operands, mode, &oracle);
        let computed = computed(mode);
        assert_eq!(
            u64::from(computed),
            expected,
            "{computed:#x} != {expected:#x} for {operands:#x?}, {mode:?}"
        );
    }
}

fn check_pair<T: HalfFloat>(format: Format, a: u64, b: u64) {
    let (x, y) = (a as u16, b as u16);
    check(format, &[a, b], oracle::add, |mode| half_add::<T>(x, y, mode));
    check(format, &[a, b], oracle::sub, |mode| half_sub::<T>(x, y, mode));
    check(format, &[a, b], oracle::mul, |mode| half_mul::<T>(x, y, mode));
}

fn check_fma<T: HalfFloat>(format: Format, a: u64, b: u64, c: u64) {
    let (x, y, z) = (a as u16, b as u16, c as u16);
    check(format, &[a, b, c], oracle::fma, |mode| half_fma::<T>(x, y, z, mode));
}

/// Conversions have one format in and another out, and flush nothing.
fn check_conversion<T: HalfFloat>(format: Format, bits: u64) {
    for mode in modes() {
        let unflushed = Mode { ftz: false, ..mode };
        let value = f64::from_bits(bits);
        let expected = format.expect(&[], unflushed, |_, _| F64.decode(bits));
        assert_eq!(u64::from(half_from_f64::<T>(value, unflushed)), expected, "{bits:#x} {mode:?}");

        let value = value as f32;
        let expected = format.expect(&[], unflushed, |_, _| F32.decode(u64::from(value.to_bits())));
        assert_eq!(u64::from(half_from_f32::<T>(value, mode)), expected, "{value:e} {mode:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn f16_pairs((a, b) in F16_FORMAT.pair()) {
        check_pair::<F16>(F16_FORMAT, a, b);
    }

    #[test]
    fn bf16_pairs((a, b) in BF16.pair()) {
        check_pair::<Bf16>(BF16, a, b);
    }

    #[test]
    fn f16_fused((a, b) in F16_FORMAT.pair(), c in F16_FORMAT.bits()) {
        check_fma::<F16>(F16_FORMAT, a, b, c);
    }

    #[test]
    fn bf16_fused((a, b) in BF16.pair(), c in BF16.bits()) {
        check_fma::<Bf16>(BF16, a, b, c);
    }

    /// A product on a tie of the addend's format, pushed off it by a far smaller addend, and the reverse.
    #[test]
    fn fused_ties(a in 0_u16..0x800, exponent in 0_i32..24, tiny in 1_u16..0x400, negative: bool) {
        // f16: a * 2^e is a tie for many a; the addend is a subnormal.
        let factor = ::half::f16::from_f32(f32::from(a | 1)).to_bits();
        let scale = ::half::f16::from_f32((exponent as f32 - 12.0).exp2()).to_bits();
        let addend = u64::from(tiny) | if negative { 0x8000 } else { 0 };
        check_fma::<F16>(F16_FORMAT, factor.into(), scale.into(), addend);
        let three_halves = 0x3e00_u64;
        check_fma::<F16>(F16_FORMAT, factor.into(), three_halves, addend);
        // bf16: 0x3fc0 is 1.5, so a product with an odd significand is a tie.
        let odd = u64::from(0x3f81 | (a & 0x7e));
        check_fma::<Bf16>(BF16, odd, 0x3fc0, addend);
        check_fma::<Bf16>(BF16, odd, 0x3fc0, addend << 3 & 0xffff);
    }

    #[test]
    fn conversions(bits in prop_oneof![F64.bits(), F32.bits().prop_map(|b| f64::from(f32::from_bits(b as u32)).to_bits())]) {
        check_conversion::<F16>(F16_FORMAT, bits);
        check_conversion::<Bf16>(BF16, bits);
    }

    /// Around the boundaries of f16, where f32 patterns drawn evenly hardly ever fall.
    #[test]
    fn conversions_near_halves(a: u16, below in -2_i32..3, tie: bool) {
        let value = ::half::f16::from_bits(a).to_f32();
        let value = f32::from_bits((value.to_bits() | if tie { 0x1000 } else { 0 }).wrapping_add_signed(below));
        check_conversion::<F16>(F16_FORMAT, f64::from(value).to_bits());
        let value = f32::from_bits(
            (u32::from(a) << 16 | if tie { 0x8000 } else { 0 }).wrapping_add_signed(below));
        check_conversion::<Bf16>(BF16, f64::from(value).to_bits());
    }
}

#[test]
fn every_half_widens() {
    for bits in 0..=u16::MAX {
        let expect = |value: f32| if value.is_nan() { 0x7fff_ffff } else { value.to_bits() };
        assert_eq!(
            half_to_f32::<F16>(bits).to_bits(),
            expect(::half::f16::from_bits(bits).to_f32()),
            "{bits:#x}"
        );
        assert_eq!(half_to_f32::<Bf16>(bits).to_bits(), expect(::half::bf16::from_bits(bits).to_f32()));
    }
}

#[test]
fn every_half_survives_the_round_trip() {
    for bits in 0..=u16::MAX {
        let f16 = ::half::f16::from_bits(bits);
        assert_eq!(half_from_f32_rn::<F16>(f16.to_f32()), if f16.is_nan() { 0x7fff } else { bits });
        let bf16 = ::half::bf16::from_bits(bits);
        assert_eq!(half_from_f32_rn::<Bf16>(bf16.to_f32()), if bf16.is_nan() { 0x7fff } else { bits });
    }
}

/// Every upper part of an `f32` with low parts on, beside and away from the ties of both formats.
#[test]
fn narrowing_agrees_with_the_half_crate() {
    for upper in 0..=u16::MAX {
        for lower in
            [0, 1, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x3001, 0x5000, 0x7fff, 0x8000, 0x8001, 0xffff]
        {
            let value = f32::from_bits(u32::from(upper) << 16 | lower);
            let nan = value.is_nan();
            let f16 = if nan { 0x7fff } else { ::half::f16::from_f32(value).to_bits() };
            let bf16 = if nan { 0x7fff } else { ::half::bf16::from_f32(value).to_bits() };
            assert_eq!(half_from_f32_rn::<F16>(value), f16, "{value:e}");
            assert_eq!(half_from_f32_rn::<Bf16>(value), bf16, "{value:e}");
        }
    }
}

/// The fast `.rn` forms for every left operand against operands that reach every exponent.
#[test]
fn fast_forms_agree_with_single_rounding() {
    let strides = (0..=u16::MAX).step_by(61);
    for b in strides {
        for a in 0..=u16::MAX {
            check_fast::<F16>(a, b);
            check_fast::<Bf16>(a, b);
        }
    }
}

/// Every pair of bf16 significands, scaled so that the product is around the smallest subnormals.
#[test]
fn tiny_bf16_products_are_rounded_once() {
    for scale in 1..=16_u16 {
        for a in 0..128_u16 {
            for b in 0..128_u16 {
                // Stored exponents of the factors: the product is about 2^(scale - 142).
                check_fast::<Bf16>(64 << 7 | a, (48 + scale) << 7 | b);
            }
        }
    }
}

/// f64 holds every product exactly, and every sum whose operands lie within 2^40 of each other.
fn check_fast<T: HalfFloat>(a: u16, b: u16) {
    let mode = Mode::default();
    let (x, y) = (f64::from(half_to_f32::<T>(a)), f64::from(half_to_f32::<T>(b)));
    assert_eq!(half_mul::<T>(a, b, mode), half_from_f64::<T>(x * y, mode), "{a:#x} * {b:#x}");
    let ratio = (x / y).abs();
    if !(1e-12..=1e12).contains(&ratio) {
        return;
    }
    assert_eq!(half_add::<T>(a, b, mode), half_from_f64::<T>(x + y, mode), "{a:#x} + {b:#x}");
}

/// The manual's bounds: `tanh.approx.f16` 2^-10.987 absolute, `.bf16` 2^-8; `ex2.approx.f16` 2^-9.9 relative,
/// `.ftz.bf16` 2^-7.
#[test]
fn approximations_of_every_half() {
    fn check<T: HalfFloat>(tanh_bound: f64, ex2_bound: f64, smallest_normal: f64) {
        for bits in 0..=u16::MAX {
            let value = f64::from(half_to_f32::<T>(bits));
            let tanh = f64::from(half_to_f32::<T>(half_tanh::<T>(bits)));
            let ex2 = f64::from(half_to_f32::<T>(half_ex2::<T>(bits)));
            if value.is_nan() {
                assert_eq!((half_tanh::<T>(bits), half_ex2::<T>(bits)), (0x7fff, 0x7fff));
                continue;
            }
            assert!((tanh - value.tanh()).abs() <= tanh_bound, "tanh {value}");
            assert_eq!(tanh.is_sign_negative(), value.is_sign_negative());
            let truth = value.exp2();
            if truth >= smallest_normal && ex2.is_finite() {
                assert!((ex2 - truth).abs() <= ex2_bound * truth, "ex2 {value}");
            }
        }
    }
    check::<F16>((-10.987_f64).exp2(), (-9.9_f64).exp2(), (-14.0_f64).exp2());
    check::<Bf16>((-8.0_f64).exp2(), (-7.0_f64).exp2(), (-126.0_f64).exp2());
}

#[test]
fn approximations_of_special_halves() {
    // Infinities, zeros and a subnormal, in this order: tanh -1, 1, -0, 0, itself; ex2 0, infinity, 1, 1, 1.
    let f16 = [0xfc00, 0x7c00, 0x8000, 0, 0x0001];
    assert_eq!(f16.map(half_tanh::<F16>), [0xbc00, 0x3c00, 0x8000, 0, 0x0001]);
    assert_eq!(f16.map(half_ex2::<F16>), [0, 0x7c00, 0x3c00, 0x3c00, 0x3c00]);
    let bf16 = [0xff80, 0x7f80, 0x8000, 0, 0x0001];
    assert_eq!(bf16.map(half_tanh::<Bf16>), [0xbf80, 0x3f80, 0x8000, 0, 0x0001]);
    assert_eq!(bf16.map(half_ex2::<Bf16>), [0, 0x7f80, 0x3f80, 0x3f80, 0x3f80]);
    // 2^-15 is an f16 subnormal and stays; 2^-130 is a bf16 subnormal and is flushed.
    assert_eq!(half_ex2::<F16>(0xcb80), 0x0200);
    assert_eq!(half_ex2::<Bf16>(0xc302), 0);
}

//! The approximations against double precision, within the manual's bounds, and its tables of special values.

use std::f32::consts::TAU;

use proptest::prelude::*;

use crate::numerics::*;

const INFINITY: f32 = f32::INFINITY;
const SUBNORMAL: f32 = f32::from_bits(0x0000_1234);

fn finite() -> impl Strategy<Value = f32> {
    prop_oneof![
        any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |a| a.is_finite()),
        -30.0_f32..30.0,
        0.4_f32..2.1,
    ]
}

/// The distance in units of the last place of the nearest `f32` to `truth`.
fn units(computed: f32, truth: f64) -> f64 {
    let nearest = truth as f32;
    if computed == nearest {
        return 0.0;
    }
    let unit = f64::from(nearest.abs().next_up()) - f64::from(nearest.abs());
    (f64::from(computed) - truth).abs() / unit
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn reciprocals_and_roots(a in finite()) {
        let x = f64::from(a);
        prop_assert!(units(rcp_approx(a, false), 1.0 / x) <= 1.0);
        if a > 0.0 {
            let relative = |computed: f32, truth: f64| ((f64::from(computed) - truth) / truth).abs();
            prop_assert!(relative(sqrt_approx(a, false), x.sqrt()) <= (-23.0_f64).exp2());
            prop_assert!(relative(rsqrt_approx(a, false), 1.0 / x.sqrt()) <= (-22.9_f64).exp2());
        }
    }

    #[test]
    fn quotients(a in finite(), b in finite()) {
        let truth = f64::from(a) / f64::from(b);
        if b != 0.0 {
            prop_assert!(units(div_full(a, b, false), truth) <= 2.0);
            if b.abs() <= 126_f32.exp2() {
                prop_assert!(units(div_approx(a, b, false), truth) <= 2.0);
            }
        }
    }

    #[test]
    fn sines(a in -TAU..TAU) {
        // 2^-20.5 absolute within two pi.
        let bound = (-20.5_f64).exp2();
        prop_assert!((f64::from(sin_approx(a, false)) - f64::from(a).sin()).abs() <= bound);
        prop_assert!((f64::from(cos_approx(a, false)) - f64::from(a).cos()).abs() <= bound);
    }

    #[test]
    fn wide_sines(a in -314.15_f32..314.15) {
        // 2^-14.7 absolute within a hundred pi.
        let bound = (-14.7_f64).exp2();
        prop_assert!((f64::from(sin_approx(a, false)) - f64::from(a).sin()).abs() <= bound);
        prop_assert!((f64::from(cos_approx(a, false)) - f64::from(a).cos()).abs() <= bound);
    }

    #[test]
    fn logarithms(a in finite()) {
        let a = a.abs();
        if a > 0.0 {
            let truth = f64::from(a).log2();
            let error = (f64::from(lg2_approx(a, false)) - truth).abs();
            let bound = (-22.0_f64).exp2();
            // Absolute near one, relative elsewhere.
            let bound = if a > 0.5 && a < 2.0 { bound } else { bound * truth.abs() };
            prop_assert!(error <= bound);
        }
    }

    #[test]
    fn powers(a in prop_oneof![-160_f32..130.0, finite()]) {
        prop_assert!(units(ex2_approx(a, false), f64::from(a).exp2()) <= 2.0);
    }

    #[test]
    fn hyperbolic_tangents(a in finite()) {
        let truth = f64::from(a).tanh();
        prop_assert!((f64::from(tanh_approx(a, false)) - truth).abs() <= (-11.0_f64).exp2() * truth.abs());
    }

    #[test]
    fn double_reciprocals(bits: u64) {
        let a = f64::from_bits(bits);
        if a.is_normal() && a.abs() < 1e307 {
            let computed = rcp_approx_ftz_f64(a);
            prop_assert_eq!(computed.to_bits() as u32, 0);
            prop_assert!((computed * a - 1.0).abs() <= (-18.0_f64).exp2());
            if a > 0.0 {
                let computed = rsqrt_approx_ftz_f64(a);
                prop_assert_eq!(computed.to_bits() as u32, 0);
                prop_assert!((computed * a.sqrt() - 1.0).abs() <= (-18.0_f64).exp2());
                prop_assert!((rsqrt_approx_f64(a) * a.sqrt() - 1.0).abs() <= 1e-15);
            }
        }
    }

    #[test]
    fn flushed_forms_see_and_give_no_subnormals(fraction in 1_u32..0x80_0000, negative: bool, big in 126.1_f32..127.9) {
        let a = f32::from_bits(fraction | if negative { 0x8000_0000 } else { 0 });
        let zero = 0.0_f32.copysign(a);
        for function in [rcp_approx, sqrt_approx, rsqrt_approx, sin_approx, cos_approx, lg2_approx, ex2_approx] {
            prop_assert_eq!(function(a, true).to_bits(), function(zero, false).to_bits());
        }
        // Reciprocals of the largest numbers, and small powers, are subnormal.
        prop_assert_eq!(rcp_approx(-big.exp2(), true).to_bits(), 0x8000_0000);
        prop_assert_eq!(ex2_approx(-big, true).to_bits(), 0);
        prop_assert!(ex2_approx(-big, false) > 0.0);
    }
}

/// Each row: input, then the manual's result.
fn check(function: impl Fn(f32, bool) -> f32, ftz: bool, rows: &[(f32, f32)]) {
    for &(input, expected) in rows {
        let computed = function(input, ftz).to_bits();
        let expected = if expected.is_nan() { 0x7fff_ffff } else { expected.to_bits() };
        assert_eq!(computed, expected, "{input:e} gave {computed:#x}");
    }
    assert_eq!(function(f32::from_bits(0xffc0_0001), ftz).to_bits(), 0x7fff_ffff);
}

#[test]
fn special_values() {
    const NAN: f32 = f32::NAN;
    check(
        rcp_approx,
        true,
        &[
            (-INFINITY, -0.0),
            (-SUBNORMAL, -INFINITY),
            (-0.0, -INFINITY),
            (0.0, INFINITY),
            (SUBNORMAL, INFINITY),
            (INFINITY, 0.0),
        ],
    );
    check(
        sqrt_approx,
        true,
        &[
            (-INFINITY, NAN),
            (-1.5, NAN),
            (-SUBNORMAL, -0.0),
            (-0.0, -0.0),
            (0.0, 0.0),
            (SUBNORMAL, 0.0),
            (INFINITY, INFINITY),
        ],
    );
    check(
        rsqrt_approx,
        true,
        &[
            (-INFINITY, NAN),
            (-1.5, NAN),
            (-SUBNORMAL, -INFINITY),
            (-0.0, -INFINITY),
            (0.0, INFINITY),
            (SUBNORMAL, INFINITY),
            (INFINITY, 0.0),
        ],
    );
    check(
        sin_approx,
        true,
        &[(-INFINITY, NAN), (-SUBNORMAL, -0.0), (-0.0, -0.0), (0.0, 0.0), (SUBNORMAL, 0.0), (INFINITY, NAN)],
    );
    check(
        cos_approx,
        true,
        &[(-INFINITY, NAN), (-SUBNORMAL, 1.0), (-0.0, 1.0), (0.0, 1.0), (SUBNORMAL, 1.0), (INFINITY, NAN)],
    );
    check(
        lg2_approx,
        true,
        &[
            (-INFINITY, NAN),
            (-1.5, NAN),
            (-SUBNORMAL, -INFINITY),
            (-0.0, -INFINITY),
            (0.0, -INFINITY),
            (SUBNORMAL, -INFINITY),
            (INFINITY, INFINITY),
            (1.0, 0.0),
        ],
    );
    check(
        ex2_approx,
        true,
        &[
            (-INFINITY, 0.0),
            (-SUBNORMAL, 1.0),
            (-0.0, 1.0),
            (0.0, 1.0),
            (SUBNORMAL, 1.0),
            (INFINITY, INFINITY),
        ],
    );
    check(
        tanh_approx,
        false,
        &[
            (-INFINITY, -1.0),
            (-SUBNORMAL, -SUBNORMAL),
            (-0.0, -0.0),
            (0.0, 0.0),
            (SUBNORMAL, SUBNORMAL),
            (INFINITY, 1.0),
        ],
    );
}

#[test]
fn approximate_division_by_large_numbers() {
    let large = f32::from_bits(0x7e80_0001);
    assert_eq!(div_approx(1e38, large, false).to_bits(), 0);
    assert_eq!(div_approx(1e38, -f32::MAX, false).to_bits(), 0x8000_0000);
    assert_eq!(div_approx(INFINITY, large, false).to_bits(), 0x7fff_ffff);
    assert_eq!(div_approx(126_f32.exp2(), 126_f32.exp2(), false), 1.0);
    assert_eq!(div_approx(1.0, INFINITY, false).to_bits(), 0);
    assert_eq!(div_approx(1.0, SUBNORMAL, true), INFINITY);
    assert_eq!(div_full(f32::MAX, f32::MAX, false), 1.0);
}

#[test]
fn special_doubles() {
    let nan = 0x7fff_ffff_0000_0000_u64;
    let subnormal = f64::from_bits(0x000f_ffff_0000_0000);
    assert_eq!(rcp_approx_ftz_f64(f64::NAN).to_bits(), nan);
    assert_eq!(rcp_approx_ftz_f64(f64::NEG_INFINITY).to_bits(), 1 << 63);
    assert_eq!(rcp_approx_ftz_f64(-subnormal), f64::NEG_INFINITY);
    assert_eq!(rcp_approx_ftz_f64(-0.0), f64::NEG_INFINITY);
    assert_eq!(rcp_approx_ftz_f64(subnormal), f64::INFINITY);
    assert_eq!(rsqrt_approx_ftz_f64(-1.0).to_bits(), nan);
    assert_eq!(rsqrt_approx_ftz_f64(-subnormal), f64::NEG_INFINITY);
    assert_eq!(rsqrt_approx_ftz_f64(subnormal), f64::INFINITY);
    assert_eq!(rsqrt_approx_f64(f64::INFINITY), 0.0);
    assert_eq!(rsqrt_approx_f64(-0.0), f64::NEG_INFINITY);
    assert!(rsqrt_approx_f64(-1.0).is_nan());
}

//! `min`, `max`, signs and `testp`, against the manual's definitions written out.

use proptest::prelude::*;

use super::oracle::{BF16, F16 as F16_FORMAT, F32, F64};
use crate::numerics::*;

/// `min` or `max` as the manual writes it, on values widened to f64.
fn manual(a: f64, b: f64, maximum: bool, nan: bool, xorsign_abs: bool) -> Option<f64> {
    let sign = a.is_sign_negative() != b.is_sign_negative();
    let (a, b) = if xorsign_abs { (a.abs(), b.abs()) } else { (a, b) };
    if (a.is_nan() && b.is_nan()) || (nan && (a.is_nan() || b.is_nan())) {
        return None;
    }
    let smaller = a < b || (a == b && a.is_sign_negative());
    let result = if b.is_nan() || (!a.is_nan() && smaller != maximum) { a } else { b };
    Some(if xorsign_abs { if sign { -result.abs() } else { result.abs() } } else { result })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn f32_extremes((a, b) in F32.pair(), nan: bool, xorsign_abs: bool, ftz: bool) {
        let (a, b) = (f32::from_bits(a as u32), f32::from_bits(b as u32));
        let flush = |x: f32| if ftz && x.is_subnormal() { 0.0_f32.copysign(x) } else { x };
        // Widening keeps the sign of NaN on this host; the rule only needs the sign.
        let (x, y) = (f64::from(flush(a)), f64::from(flush(b)));
        let expect = |maximum| manual(x, y, maximum, nan, xorsign_abs).map_or(0x7fff_ffff, |v| (v as f32).to_bits());
        prop_assert_eq!(f32_min(a, b, nan, xorsign_abs, ftz).to_bits(), expect(false));
        prop_assert_eq!(f32_max(a, b, nan, xorsign_abs, ftz).to_bits(), expect(true));
    }

    #[test]
    fn f64_extremes((a, b) in F64.pair()) {
        let (a, b) = (f64::from_bits(a), f64::from_bits(b));
        let expect = |maximum| manual(a, b, maximum, false, false).map_or(0x7ff8_0000_0000_0000, f64::to_bits);
        prop_assert_eq!(f64_min(a, b).to_bits(), expect(false));
        prop_assert_eq!(f64_max(a, b).to_bits(), expect(true));
    }

    #[test]
    fn half_extremes((a, b) in F16_FORMAT.pair(), (c, d) in BF16.pair(), nan: bool, xorsign_abs: bool) {
        let widen = |bits: u64| ::half::f16::from_bits(bits as u16).to_f64();
        let expect = |maximum| {
            manual(widen(a), widen(b), maximum, nan, xorsign_abs)
                .map_or(0x7fff, |v| ::half::f16::from_f64(v).to_bits())
        };
        prop_assert_eq!(half_min::<F16>(a as u16, b as u16, nan, xorsign_abs), expect(false));
        prop_assert_eq!(half_max::<F16>(a as u16, b as u16, nan, xorsign_abs), expect(true));
        let widen = |bits: u64| ::half::bf16::from_bits(bits as u16).to_f64();
        let expect = |maximum| {
            manual(widen(c), widen(d), maximum, nan, xorsign_abs)
                .map_or(0x7fff, |v| ::half::bf16::from_f64(v).to_bits())
        };
        prop_assert_eq!(half_min::<Bf16>(c as u16, d as u16, nan, xorsign_abs), expect(false));
        prop_assert_eq!(half_max::<Bf16>(c as u16, d as u16, nan, xorsign_abs), expect(true));
    }

    #[test]
    fn signs(a: u32, b: u32, c: u64, d: u64) {
        let sign = 0x8000_0000_u32;
        let (x, y) = (f32::from_bits(a), f32::from_bits(b));
        prop_assert_eq!(f32_abs(x, false).to_bits(), a & !sign);
        prop_assert_eq!(f32_neg(x, false).to_bits(), a ^ sign);
        prop_assert_eq!(f32_copysign(x, y).to_bits(), (a & sign) | (b & !sign));
        let subnormal = f32::from_bits(a & 0x807f_ffff);
        prop_assert_eq!(f32_flush(subnormal).to_bits(), a & sign);
        prop_assert_eq!(f32_neg(subnormal, true).to_bits(), (a & sign) ^ sign);
        prop_assert_eq!(f32_abs(subnormal, true).to_bits(), 0);
        let sign = 1_u64 << 63;
        let (x, y) = (f64::from_bits(c), f64::from_bits(d));
        prop_assert_eq!(f64_abs(x).to_bits(), c & !sign);
        prop_assert_eq!(f64_neg(x).to_bits(), c ^ sign);
        prop_assert_eq!(f64_copysign(x, y).to_bits(), (c & sign) | (d & !sign));
        prop_assert_eq!((half_abs(a as u16), half_neg(a as u16)), (a as u16 & 0x7fff, a as u16 ^ 0x8000));
    }
}

#[test]
fn zeros_are_ordered() {
    for (a, b) in [(0.0_f32, -0.0_f32), (-0.0, 0.0)] {
        assert_eq!(f32_min(a, b, false, false, false).to_bits(), 0x8000_0000);
        assert_eq!(f32_max(a, b, false, false, false).to_bits(), 0);
    }
}

#[test]
fn properties() {
    use TestProperty::{Finite, Infinite, Normal, NotANumber, Number, Subnormal};
    let all = [Finite, Infinite, Number, NotANumber, Normal, Subnormal];
    // One row a value: which of `all` hold.
    let rows = [
        (0x0000_0000_u32, [true, false, true, false, true, false]),
        (0x8000_0000, [true, false, true, false, true, false]),
        (0x0000_0001, [true, false, true, false, false, true]),
        (0x807f_ffff, [true, false, true, false, false, true]),
        (0x0080_0000, [true, false, true, false, true, false]),
        (0x7f7f_ffff, [true, false, true, false, true, false]),
        (0xff80_0000, [false, true, true, false, false, false]),
        (0x7fc0_0000, [false, false, false, true, false, false]),
    ];
    for (bits, expected) in rows {
        let a = f32::from_bits(bits);
        assert_eq!(all.map(|property| testp_f32(a, property)), expected, "{bits:#x}");
    }
    let rows = [
        (0x8000_0000_0000_0000_u64, [true, false, true, false, true, false]),
        (0x0000_0000_0000_0001, [true, false, true, false, false, true]),
        (0x0010_0000_0000_0000, [true, false, true, false, true, false]),
        (0x7ff0_0000_0000_0000, [false, true, true, false, false, false]),
        (0xfff0_0000_0000_0001, [false, false, false, true, false, false]),
    ];
    for (bits, expected) in rows {
        let a = f64::from_bits(bits);
        assert_eq!(all.map(|property| testp_f64(a, property)), expected, "{bits:#x}");
    }
}

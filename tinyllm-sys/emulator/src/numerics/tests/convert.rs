//! Conversions against exact rationals and integers.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};
use proptest::prelude::*;

use super::oracle::{F32, F64, Format, ROUNDINGS, Value};
use crate::numerics::*;

/// The integer that an exact value rounds to.
fn integral(exact: &BigRational, rounding: Rounding) -> BigInt {
    match rounding {
        Rounding::Zero => exact.trunc().to_integer(),
        Rounding::Down => exact.floor().to_integer(),
        Rounding::Up => exact.ceil().to_integer(),
        Rounding::Nearest => {
            let floor = exact.floor().to_integer();
            let twice = (exact - BigRational::from(floor.clone())) * BigInt::from(2);
            let odd = floor.bit(0);
            if twice > BigRational::one() || (twice.is_one() && odd) { floor + 1 } else { floor }
        }
    }
}

fn expected_integer(value: &Value, rounding: Rounding, bits: u32, signed: bool) -> u64 {
    let (low, high) = if signed {
        (-(BigInt::one() << (bits - 1)), (BigInt::one() << (bits - 1)) - 1)
    } else {
        (BigInt::zero(), (BigInt::one() << bits) - 1)
    };
    let result = match value {
        Value::Nan => BigInt::zero(),
        Value::Infinite { negative } => {
            if *negative {
                low
            } else {
                high
            }
        }
        Value::Finite { exact, .. } => integral(exact, rounding).clamp(low, high),
    };
    result.to_i128().unwrap() as u64
}

fn expected_integral(format: Format, bits: u64, rounding: Rounding) -> u64 {
    let value = match format.decode(bits) {
        Value::Finite { exact, negative } => {
            Value::Finite { exact: BigRational::from(integral(&exact, rounding)), negative }
        }
        other => other,
    };
    format.round(&value, rounding)
}

fn exact(value: i128) -> Value {
    let exact = BigRational::from(BigInt::from(value));
    Value::Finite { negative: exact.is_negative(), exact }
}

/// Integers of all sizes, and such near multiples of powers of two, where ties are.
fn integers() -> impl Strategy<Value = i128> {
    let wide = (any::<u64>(), 0_u32..64).prop_map(|(value, shift)| i128::from(value >> shift));
    let near = (any::<u64>(), 0_u32..64, -2_i128..3, 0_u32..60).prop_map(|(value, shift, step, zeros)| {
        (i128::from(value >> shift >> zeros << zeros) + step).clamp(0, i128::from(u64::MAX))
    });
    prop_oneof![
        wide.clone(),
        near,
        wide.prop_map(|value| (-value).max(i128::from(i64::MIN))),
        proptest::sample::select(vec![0, i128::from(u64::MAX), i128::from(i64::MIN), i128::from(i64::MAX)]),
    ]
}

/// Floats around the ranges and half-integers of every integer type.
fn floats() -> impl Strategy<Value = u64> {
    let edges = (0_i32..66, -3_i32..4, any::<bool>()).prop_map(|(power, halves, negative)| {
        let value = f64::from(power).exp2() + f64::from(halves) * 0.5;
        (if negative { -value } else { value }).to_bits()
    });
    prop_oneof![2 => edges, 3 => F64.bits(), 1 => (-300_i32..300).prop_map(|h| (f64::from(h) * 0.5).to_bits())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8000))]

    #[test]
    fn floats_become_integers(bits in floats()) {
        let single = f64::from_bits(bits) as f32;
        let single_value = F32.decode(single.to_bits().into());
        for rounding in ROUNDINGS {
            for width in [8, 16, 32, 64] {
                for signed in [false, true] {
                    let computed = float_to_integer(f64::from_bits(bits), rounding, width, signed);
                    prop_assert_eq!(computed, expected_integer(&F64.decode(bits), rounding, width, signed));
                }
            }
            let expected = expected_integer(&single_value, rounding, 32, true);
            prop_assert_eq!(i64::from(f32_to_i32(single, rounding)) as u64, expected);
            let expected = expected_integer(&single_value, rounding, 32, false);
            prop_assert_eq!(u64::from(f32_to_u32(single, rounding)), expected);
        }
    }

    #[test]
    fn floats_become_integral(bits in floats()) {
        let single = f64::from_bits(bits) as f32;
        for rounding in ROUNDINGS {
            let computed = f64_round_integral(f64::from_bits(bits), rounding).to_bits();
            prop_assert_eq!(computed, expected_integral(F64, bits, rounding));
            let computed = f32_round_integral(single, rounding).to_bits();
            prop_assert_eq!(u64::from(computed), expected_integral(F32, single.to_bits().into(), rounding));
        }
    }

    #[test]
    fn integers_become_floats(value in integers()) {
        for rounding in ROUNDINGS {
            let computed = u64::from(integer_to_f32(value, rounding).to_bits());
            prop_assert_eq!(computed, F32.round(&exact(value), rounding), "{} {:?}", value, rounding);
            prop_assert_eq!(integer_to_f64(value, rounding).to_bits(), F64.round(&exact(value), rounding));
        }
        let (unsigned, signed) = (value as u32, value as i32);
        let computed = u64::from(u32_to_f32_rn(unsigned).to_bits());
        prop_assert_eq!(computed, F32.round(&exact(unsigned.into()), Rounding::Nearest));
        let computed = u64::from(i32_to_f32_rn(signed).to_bits());
        prop_assert_eq!(computed, F32.round(&exact(signed.into()), Rounding::Nearest));
    }

    #[test]
    fn doubles_become_singles(
        bits in prop_oneof![F64.bits(), (F32.bits(), -2_i64..3, any::<bool>()).prop_map(|(b, step, tie)| {
            let wide = f64::from(f32::from_bits(b as u32)).to_bits();
            (wide | if tie { 1 << 28 } else { 0 }).wrapping_add_signed(step)
        })],
        ftz: bool,
        saturate: bool,
    ) {
        for rounding in ROUNDINGS {
            let mode = Mode { rounding, ftz, saturate, relu: false };
            let expected = F32.expect(&[], mode, |_, _| F64.decode(bits));
            prop_assert_eq!(u64::from(f64_to_f32(f64::from_bits(bits), mode).to_bits()), expected);
        }
    }

    #[test]
    fn singles_become_doubles(bits in F32.bits()) {
        let expected = F64.round(&F32.decode(bits), Rounding::Nearest);
        prop_assert_eq!(f32_to_f64(f32::from_bits(bits as u32)).to_bits(), expected);
    }

    #[test]
    fn singles_become_tf32(bits in prop_oneof![F32.bits(), any::<u32>().prop_map(|b| u64::from(b & !0xfff))]) {
        let tf32 = Format { width: 19, precision: 11, maximum_exponent: 127, nan: 0x3ffff };
        let a = f32::from_bits(bits as u32);
        let nearest = tf32.round(&F32.decode(bits), Rounding::Nearest) << 13;
        if a.is_nan() {
            prop_assert_eq!((f32_to_tf32_rn(a), f32_to_tf32_rna(a)), (0x7fff_ffff, a.to_bits() & 0xffff_e000));
        } else {
            prop_assert_eq!(u64::from(f32_to_tf32_rn(a)), nearest);
            // Ties away: on a tie the larger magnitude, off it the nearest.
            let tie = bits & 0x1fff == 0x1000;
            let away = if tie { (bits & !0x1fff) + 0x2000 } else { nearest };
            prop_assert_eq!(u64::from(f32_to_tf32_rna(a)), away);
        }
    }
}

/// PTX ISA, `cvt`: the table of NaN inputs.
#[test]
fn nan_becomes_an_integer() {
    assert_eq!(nan_to_integer(false, 32), 0);
    assert_eq!(nan_to_integer(false, 64), 0x8000_0000_0000_0000);
    assert_eq!(nan_to_integer(true, 32), 0x8000_0000);
    assert_eq!(nan_to_integer(true, 16), 0x8000);
}

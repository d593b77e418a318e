//! The truth: IEEE 754 operations on exact rationals, rounded once.

use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};
use proptest::prelude::*;

use crate::numerics::{Mode, Rounding};

pub(super) const ROUNDINGS: [Rounding; 4] = [Rounding::Nearest, Rounding::Zero, Rounding::Down, Rounding::Up];

/// A binary interchange format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    pub(super) width: u32,
    /// Significand bits with the hidden one.
    pub(super) precision: u32,
    pub(super) maximum_exponent: i64,
    pub(super) nan: u64,
}

pub(super) const F32: Format = Format { width: 32, precision: 24, maximum_exponent: 127, nan: 0x7fff_ffff };
pub(super) const F64: Format =
    Format { width: 64, precision: 53, maximum_exponent: 1023, nan: 0x7ff8_0000_0000_0000 };
pub(super) const F16: Format = Format { width: 16, precision: 11, maximum_exponent: 15, nan: 0x7fff };
pub(super) const BF16: Format = Format { width: 16, precision: 8, maximum_exponent: 127, nan: 0x7fff };

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Nan,
    Infinite {
        negative: bool,
    },
    /// The sign matters for zero.
    Finite {
        exact: BigRational,
        negative: bool,
    },
}
use Value::{Finite, Infinite, Nan};

fn power_of_two(exponent: i64) -> BigRational {
    let magnitude = BigInt::one() << exponent.unsigned_abs();
    if exponent < 0 { BigRational::new(BigInt::one(), magnitude) } else { BigRational::from(magnitude) }
}

impl Format {
    fn sign(self) -> u64 {
        1 << (self.width - 1)
    }

    fn fraction_mask(self) -> u64 {
        (1 << (self.precision - 1)) - 1
    }

    pub(super) fn infinity(self) -> u64 {
        (self.sign() - 1) & !self.fraction_mask()
    }

    fn minimum_exponent(self) -> i64 {
        1 - self.maximum_exponent
    }

    pub(super) fn decode(self, bits: u64) -> Value {
        let negative = bits & self.sign() != 0;
        let fraction = bits & self.fraction_mask();
        let exponent = ((bits & self.infinity()) >> (self.precision - 1)) as i64;
        if bits & self.infinity() == self.infinity() {
            return if fraction == 0 { Infinite { negative } } else { Nan };
        }
        let (significand, exponent) = if exponent == 0 {
            (fraction, self.minimum_exponent())
        } else {
            (fraction + (1 << (self.precision - 1)), exponent - self.maximum_exponent)
        };
        let magnitude = BigRational::from(BigInt::from(significand))
            * power_of_two(exponent - (i64::from(self.precision) - 1));
        Finite { exact: if negative { -magnitude } else { magnitude }, negative }
    }

    pub(super) fn round(self, value: &Value, rounding: Rounding) -> u64 {
        match value {
            Nan => self.nan,
            Infinite { negative } => self.infinity() | if *negative { self.sign() } else { 0 },
            Finite { exact, negative } => {
                (if *negative { self.sign() } else { 0 })
                    | self.round_magnitude(&exact.abs(), *negative, rounding)
            }
        }
    }

    fn round_magnitude(self, exact: &BigRational, negative: bool, rounding: Rounding) -> u64 {
        if exact.is_zero() {
            return 0;
        }
        let mut exponent = exact.numer().bits() as i64 - exact.denom().bits() as i64;
        if power_of_two(exponent) > *exact {
            exponent -= 1;
        }
        let exponent = exponent.max(self.minimum_exponent());
        let away = match rounding {
            Rounding::Nearest => None,
            Rounding::Zero => Some(false),
            Rounding::Down => Some(negative),
            Rounding::Up => Some(!negative),
        };
        let overflow = if away == Some(false) { self.infinity() - 1 } else { self.infinity() };
        if exponent > self.maximum_exponent {
            return overflow;
        }
        let units = exact / power_of_two(exponent - (i64::from(self.precision) - 1));
        let (whole, rest) = units.numer().div_mod_floor(units.denom());
        let twice = &rest * 2;
        let up = match away {
            Some(away) => away && !rest.is_zero(),
            None => twice > *units.denom() || (twice == *units.denom() && whole.is_odd()),
        };
        let count = whole.to_u64().unwrap() + u64::from(up);
        let smallest_normal = 1 << (self.precision - 1);
        let steps = (exponent - self.minimum_exponent()) as u64;
        // Counting in units from zero, each binade has `smallest_normal` encodings.
        let encoding = steps * smallest_normal + count;
        if encoding >= self.infinity() { overflow } else { encoding }
    }

    /// Applies `.ftz` to an operand.
    fn flush(self, bits: u64) -> u64 {
        if bits & self.infinity() == 0 { bits & self.sign() } else { bits }
    }

    /// What `.ftz` leaves of a result: nothing where it is subnormal, or would be with as many digits and without a least exponent.
    fn flush_result(self, bits: u64, exact: &Value, rounding: Rounding) -> u64 {
        let smallest = 1 << (self.precision - 1);
        let free = Format { width: self.precision + 14, maximum_exponent: 8191, ..self };
        let rounded = free.round(exact, rounding) & !free.sign();
        let least = (8191 + self.minimum_exponent()) as u64 * smallest;
        if bits & !self.sign() == smallest && rounded < least { bits & self.sign() } else { self.flush(bits) }
    }

    /// What an instruction computes: operands flushed, the exact operation rounded, then the other modifiers.
    pub(super) fn expect(
        self,
        operands: &[u64],
        mode: Mode,
        operation: impl Fn(&[Value], Rounding) -> Value,
    ) -> u64 {
        let flushed = |bits| if mode.ftz { self.flush(bits) } else { bits };
        let values: Vec<Value> = operands.iter().map(|&bits| self.decode(flushed(bits))).collect();
        let exact = operation(&values, mode.rounding);
        let rounded = self.round(&exact, mode.rounding);
        let bits = if mode.ftz { self.flush_result(rounded, &exact, mode.rounding) } else { rounded };
        let negative = bits & self.sign() != 0;
        let one = (self.maximum_exponent as u64) << (self.precision - 1);
        if mode.saturate {
            if bits == self.nan || negative { 0 } else { bits.min(one) }
        } else if mode.relu && negative && bits != self.nan {
            0
        } else {
            bits
        }
    }

    /// Bit patterns: specials, boundaries, small integers, values of middling exponents, and anything.
    pub(super) fn bits(self) -> impl Strategy<Value = u64> + Clone {
        let sign = self.sign();
        let all = sign | (sign - 1);
        let infinity = self.infinity();
        let smallest_normal = 1_u64 << (self.precision - 1);
        let one = (self.maximum_exponent as u64) << (self.precision - 1);
        let specials = vec![
            0,
            1,
            2,
            3,
            smallest_normal - 1,
            smallest_normal,
            smallest_normal + 1,
            one - 1,
            one,
            one + 1,
            one + smallest_normal,
            one - smallest_normal,
            infinity - 1,
            infinity - 2,
            infinity,
            infinity + 1,
            self.nan,
        ];
        let special = (proptest::sample::select(specials), any::<bool>())
            .prop_map(move |(bits, negative)| bits | if negative { sign } else { 0 });
        let middling = (any::<u64>(), any::<bool>(), 0_u64..24, 0..self.precision).prop_map(
            move |(fraction, negative, exponent, zeros)| {
                // Trailing zeros make ties likely.
                let fraction = (fraction & (smallest_normal - 1)) >> zeros << zeros;
                let base = one - 12 * smallest_normal;
                (base + exponent * smallest_normal + fraction) | if negative { sign } else { 0 }
            },
        );
        let subnormal = (any::<u64>(), any::<bool>()).prop_map(move |(bits, negative)| {
            (bits & (4 * smallest_normal - 1)) | if negative { sign } else { 0 }
        });
        prop_oneof![2 => special, 4 => middling, 1 => subnormal, 4 => any::<u64>().prop_map(move |b| b & all)]
    }

    /// Two patterns, often close to each other so that sums cancel.
    pub(super) fn pair(self) -> impl Strategy<Value = (u64, u64)> + Clone {
        let sign = self.sign();
        let near = (self.bits(), -3_i64..4, any::<bool>()).prop_map(move |(a, step, negate)| {
            let magnitude = (a & (sign - 1)).wrapping_add_signed(step) & (sign - 1);
            (a, magnitude | ((a ^ if negate { sign } else { 0 }) & sign))
        });
        prop_oneof![1 => near, 3 => (self.bits(), self.bits())]
    }
}

/// A zero sum is positive, but for rounding down and two negative zeros.
pub(super) fn add(values: &[Value], rounding: Rounding) -> Value {
    match (&values[0], &values[1]) {
        (Nan, _) | (_, Nan) => Nan,
        (Infinite { negative: a }, Infinite { negative: b }) if a != b => Nan,
        (Infinite { negative }, _) | (_, Infinite { negative }) => Infinite { negative: *negative },
        (Finite { exact: a, negative: a_negative }, Finite { exact: b, negative: b_negative }) => {
            let exact = a + b;
            let negative = if !exact.is_zero() {
                exact.is_negative()
            } else if a.is_zero() && a_negative == b_negative {
                *a_negative
            } else {
                rounding == Rounding::Down
            };
            Finite { exact, negative }
        }
    }
}

pub(super) fn negate(value: &Value) -> Value {
    match value {
        Nan => Nan,
        Infinite { negative } => Infinite { negative: !negative },
        Finite { exact, negative } => Finite { exact: -exact, negative: !negative },
    }
}

pub(super) fn sub(values: &[Value], rounding: Rounding) -> Value {
    add(&[values[0].clone(), negate(&values[1])], rounding)
}

fn negative(value: &Value) -> bool {
    matches!(value, Infinite { negative: true } | Finite { negative: true, .. })
}

pub(super) fn mul(values: &[Value], _: Rounding) -> Value {
    let sign = negative(&values[0]) != negative(&values[1]);
    match (&values[0], &values[1]) {
        (Nan, _) | (_, Nan) => Nan,
        (Infinite { .. }, Finite { exact, .. }) | (Finite { exact, .. }, Infinite { .. })
            if exact.is_zero() =>
        {
            Nan
        }
        (Infinite { .. }, _) | (_, Infinite { .. }) => Infinite { negative: sign },
        (Finite { exact: a, .. }, Finite { exact: b, .. }) => Finite { exact: a * b, negative: sign },
    }
}

pub(super) fn fma(values: &[Value], rounding: Rounding) -> Value {
    add(&[mul(&values[..2], rounding), values[2].clone()], rounding)
}

pub(super) fn div(values: &[Value], _: Rounding) -> Value {
    let sign = negative(&values[0]) != negative(&values[1]);
    match (&values[0], &values[1]) {
        (Nan, _) | (_, Nan) | (Infinite { .. }, Infinite { .. }) => Nan,
        (Infinite { .. }, _) => Infinite { negative: sign },
        (_, Infinite { .. }) => Finite { exact: BigRational::zero(), negative: sign },
        (Finite { exact: a, .. }, Finite { exact: b, .. }) => match (a.is_zero(), b.is_zero()) {
            (true, true) => Nan,
            (false, true) => Infinite { negative: sign },
            _ => Finite { exact: a / b, negative: sign },
        },
    }
}

pub(super) fn rcp(values: &[Value], rounding: Rounding) -> Value {
    div(&[Finite { exact: BigRational::one(), negative: false }, values[0].clone()], rounding)
}

/// A root good to 80 bits, with a bit set below them when it is inexact: every format rounds it as the true root.
pub(super) fn sqrt(values: &[Value], _: Rounding) -> Value {
    match &values[0] {
        Finite { exact, .. } if exact.is_zero() => values[0].clone(),
        Nan | Infinite { negative: true } | Finite { negative: true, .. } => Nan,
        Infinite { negative: false } => values[0].clone(),
        Finite { exact, .. } => {
            // The denominator of a float is a power of two.
            let denominator_bits = exact.denom().bits() - 1;
            let shift = denominator_bits % 2 + 2 * (denominator_bits + 160);
            let radicand: BigUint = exact.numer().magnitude() << shift;
            let root = radicand.sqrt();
            let inexact = &root * &root != radicand;
            let doubled = BigInt::from_biguint(Sign::Plus, root * 2_u32 + u32::from(inexact));
            let scale = ((shift + denominator_bits) / 2 + 1) as i64;
            Finite { exact: BigRational::from(doubled) * power_of_two(-scale), negative: false }
        }
    }
}

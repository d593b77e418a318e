//! Floating-point formats from outside: what bits stand for, and the number of a format beside an exact value on the side that
//! a rounding says. Nearest numbers come from the processor and the crate that everybody uses for halves.

use half::{bf16, f16};

use super::harness::Kind;

/// A format: f64 and f32 hold every number of the smaller ones.
#[derive(Clone, Copy)]
pub(super) struct Format {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) bits: u32,
    /// What bits stand for.
    pub(super) value: fn(u64) -> f64,
    /// The nearest to a value, with what that value lacks of the exact one.
    nearest: fn(f64, f64) -> u64,
    /// The one NaN that results are.
    pub(super) nan: u64,
    /// Bits of 1.
    pub(super) one: u64,
}

pub(super) const F32: Format = Format {
    name: "f32",
    kind: Kind::F32,
    bits: 32,
    value: |bits| f64::from(f32::from_bits(bits as u32)),
    nearest: |value, rest| u64::from(nearest_single(value, rest).to_bits()),
    nan: 0x7fff_ffff,
    one: 0x3f80_0000,
};
pub(super) const F64: Format = Format {
    name: "f64",
    kind: Kind::F64,
    bits: 64,
    value: f64::from_bits,
    nearest: |value, _| value.to_bits(),
    nan: 0x7ff8_0000_0000_0000,
    one: 0x3ff0_0000_0000_0000,
};
pub(super) const F16: Format = Format {
    name: "f16",
    kind: Kind::F16,
    bits: 16,
    value: |bits| f16::from_bits(bits as u16).to_f64(),
    nearest: |value, rest| u64::from(f16::from_f32(to_odd(value, rest)).to_bits()),
    nan: 0x7fff,
    one: 0x3c00,
};
pub(super) const BF16: Format = Format {
    name: "bf16",
    kind: Kind::Bf16,
    bits: 16,
    value: |bits| bf16::from_bits(bits as u16).to_f64(),
    nearest: |value, rest| u64::from(bf16::from_f32(to_odd(value, rest)).to_bits()),
    nan: 0x7fff,
    one: 0x3f80,
};

/// The format of a type's name, of pairs that of a half.
pub(super) fn format(name: &str) -> Option<Format> {
    [F32, F64, F16, BF16].into_iter().find(|format| format.name == name.trim_end_matches("x2"))
}

impl Format {
    fn sign(self) -> u64 {
        1 << (self.bits - 1)
    }

    /// The largest finite number, with a sign.
    pub(super) fn largest(self, sign: f64) -> u64 {
        let infinity = (self.nearest)(f64::INFINITY, 0.0);
        if sign < 0.0 { self.negated(infinity - 1) } else { infinity - 1 }
    }

    pub(super) fn is_negative(self, bits: u64) -> bool {
        bits & self.sign() != 0
    }

    pub(super) fn negated(self, bits: u64) -> u64 {
        bits ^ self.sign()
    }

    /// Subnormal numbers as 0.
    pub(super) fn flushed(self, bits: u64) -> u64 {
        let subnormal = match self.name {
            "f64" => f64::from_bits(bits).is_subnormal(),
            "f32" => f32::from_bits(bits as u32).is_subnormal(),
            "f16" => !f16::from_bits(bits as u16).is_normal() && (self.value)(bits).abs() < 1e-4,
            _ => bits & 0x7f80 == 0,
        };
        if subnormal { bits & self.sign() } else { bits }
    }

    /// What `.ftz` leaves of a result: nothing where it is subnormal, or would be with as many digits and without a least
    /// exponent (IEEE 754's tininess after rounding).
    pub(super) fn flushed_result(self, bits: u64, value: f64, rest: f64, rounding: &str) -> u64 {
        // Away from the least exponent, by a power of two.
        const LARGER: f64 = 16.0;
        let magnitude = bits & !self.sign();
        let is_least = magnitude != 0 && self.flushed(magnitude) != 0 && self.flushed(magnitude - 1) == 0;
        if !is_least {
            return self.flushed(bits);
        }
        let least = (self.value)(magnitude);
        let larger = (self.value)(self.rounded(value * LARGER, rest * LARGER, rounding));
        if larger.abs() < least * LARGER { bits & self.sign() } else { bits }
    }

    /// Clamped to 0 and 1, NaN to 0.
    pub(super) fn saturated(self, bits: u64) -> u64 {
        let value = (self.value)(bits);
        if value >= 1.0 {
            self.one
        } else if value > 0.0 {
            bits
        } else {
            0
        }
    }

    /// Negative numbers as 0.
    pub(super) fn rectified(self, bits: u64) -> u64 {
        if !(self.value)(bits).is_nan() && self.is_negative(bits) { 0 } else { bits }
    }

    /// The number of the format for `value + rest`: `rn`, `rz`, `rm` or `rp`.
    pub(super) fn rounded(self, value: f64, rest: f64, rounding: &str) -> u64 {
        if value.is_nan() {
            return self.nan;
        }
        let nearest = (self.nearest)(value, rest);
        if rounding == "rn" || value.is_infinite() {
            return nearest;
        }
        let near = (self.value)(nearest);
        let above = near > value || (near == value && rest < 0.0);
        let below = near < value || (near == value && rest > 0.0);
        let negative = self.is_negative(nearest);
        let down = rounding == "rm" || (rounding == "rz" && !negative);
        match (down, above, below) {
            // Away from 0 is one more, whatever the sign; from a zero of the other sign over to the first number.
            (true, true, _) if nearest == 0 => self.sign() | 1,
            (true, true, _) => {
                if negative {
                    nearest + 1
                } else {
                    nearest - 1
                }
            }
            (false, _, true) if nearest == self.sign() => 1,
            (false, _, true) => {
                if negative {
                    nearest - 1
                } else {
                    nearest + 1
                }
            }
            _ => nearest,
        }
    }
}

/// f64 to f32 rounds what f64 lost too: where the value is a tie, the rest says which way.
fn nearest_single(value: f64, rest: f64) -> f32 {
    if rest == 0.0 || !value.is_finite() {
        return value as f32;
    }
    // Cut off towards 0 with the last bit set: between the same two numbers of f32, and never a tie.
    let outwards = (rest > 0.0) == (value > 0.0);
    let cut = if outwards { value.to_bits() } else { value.to_bits() - 1 };
    f64::from_bits(cut | 1) as f32
}

/// A value as an f32 that rounds to fewer digits as the exact one does: cut off, with its last bit set where it is not exact.
fn to_odd(value: f64, rest: f64) -> f32 {
    let nearest = value as f32;
    let difference = f64::from(nearest) - value;
    if !value.is_finite() || (difference == 0.0 && rest == 0.0) {
        return nearest;
    }
    let sum_above = |near: f32| {
        let near = f64::from(near);
        near.abs() > value.abs() || (near == value && rest != 0.0 && (rest > 0.0) != (value > 0.0))
    };
    let cut =
        if nearest != 0.0 && sum_above(nearest) { f32::from_bits(nearest.to_bits() - 1) } else { nearest };
    f32::from_bits(cut.to_bits() | 1)
}

/// a + b in f64, and what that lost.
pub(super) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    let rest = (a - (sum - part)) + (b - part);
    (sum, if rest.is_finite() { rest } else { 0.0 })
}

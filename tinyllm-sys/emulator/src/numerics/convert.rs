//! Between integers and floats, and between floats.

use super::{HalfFloat, Mode, Rounding, double, half, single};

/// Rounds to an integer, and to the nearest that `bits` hold, with or without a sign. NaN is 0.
#[inline(always)]
pub fn float_to_integer(value: f64, rounding: Rounding, bits: u32, signed: bool) -> u64 {
    let value = f64_round_integral(value, rounding);
    if value.is_nan() {
        return 0;
    }
    let result = match signed {
        true => {
            let limit = 1i128 << (bits - 1);
            (value as i128).clamp(-limit, limit - 1) as u64
        }
        false => (value as i128).clamp(0, (1i128 << bits) - 1) as u64,
    };
    if bits == 64 || signed { result } else { result & ((1 << bits) - 1) }
}

/// To an integer, in a direction.
#[inline(always)]
pub fn f64_round_integral(value: f64, rounding: Rounding) -> f64 {
    double::canonical(match rounding {
        Rounding::Nearest => value.round_ties_even(),
        Rounding::Zero => value.trunc(),
        Rounding::Down => value.floor(),
        Rounding::Up => value.ceil(),
    })
}

/// To an integer, in a direction.
#[inline(always)]
pub fn f32_round_integral(value: f32, rounding: Rounding) -> f32 {
    let value = match rounding {
        Rounding::Nearest => value.round_ties_even(),
        Rounding::Zero => value.trunc(),
        Rounding::Down => value.floor(),
        Rounding::Up => value.ceil(),
    };
    single::finished(value, Mode::default())
}

/// An integer's sign and magnitude.
#[inline(always)]
fn parts(value: u64, signed: bool) -> (bool, u64) {
    let negative = signed && (value as i64) < 0;
    (negative, if negative { value.wrapping_neg() } else { value })
}

/// The integer nearest below the magnitude that has so many bits, and whether the direction asks for the next one.
fn to_digits(magnitude: u64, digits: u32, rounding: Rounding, negative: bool) -> u128 {
    let excess = (64 - magnitude.leading_zeros()).saturating_sub(digits);
    let below = u128::from(magnitude >> excess) << excess;
    let rest = u128::from(magnitude) - below;
    let step = 1u128 << excess;
    let up = match rounding {
        Rounding::Nearest => rest * 2 > step || (rest * 2 == step && (below >> excess) & 1 == 1),
        Rounding::Zero => false,
        Rounding::Down => negative && rest > 0,
        Rounding::Up => !negative && rest > 0,
    };
    below + if up && rest > 0 { step } else { 0 }
}

/// A 64-bit integer as f32.
#[inline(always)]
pub fn integer_to_f32(value: u64, signed: bool, rounding: Rounding) -> f32 {
    match rounding {
        Rounding::Nearest if signed => value as i64 as f32,
        Rounding::Nearest => value as f32,
        rounding => {
            let (negative, magnitude) = parts(value, signed);
            let result = to_digits(magnitude, 24, rounding, negative) as f32;
            if negative { -result } else { result }
        }
    }
}

/// A 64-bit integer as f64.
#[inline(always)]
pub fn integer_to_f64(value: u64, signed: bool, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest if signed => value as i64 as f64,
        Rounding::Nearest => value as f64,
        rounding => {
            let (negative, magnitude) = parts(value, signed);
            let result = to_digits(magnitude, 53, rounding, negative) as f64;
            if negative { -result } else { result }
        }
    }
}

/// A 64-bit integer as a 16-bit float.
pub fn integer_to_half_bits<T: HalfFloat>(value: u64, signed: bool, mode: Mode) -> u16 {
    let (negative, magnitude) = parts(value, signed);
    // Fifty digits with the rest as one bit behind them round as the whole would.
    let excess = (64 - magnitude.leading_zeros()).saturating_sub(50);
    let sticky = u64::from(magnitude & ((1 << excess) - 1) != 0);
    let shortened = (((magnitude >> excess) << 1) | sticky) as f64 * (1u64 << excess) as f64 / 2.0;
    let value = if negative { -shortened } else { shortened };
    half_from_f64::<T>(value, mode)
}

/// f64 to f32.
#[inline(always)]
pub fn f64_to_f32(value: f64, mode: Mode) -> f32 {
    let result = match mode.rounding {
        Rounding::Nearest => value as f32,
        rounding => narrowed(value, rounding),
    };
    single::finished(result, mode)
}

#[cold]
fn narrowed(value: f64, rounding: Rounding) -> f32 {
    let nearest = value as f32;
    if !value.is_finite() || f64::from(nearest) == value {
        return nearest;
    }
    let above = f64::from(nearest) > value;
    match rounding {
        Rounding::Nearest => nearest,
        Rounding::Zero if value > 0.0 => {
            if above {
                nearest.next_down()
            } else {
                nearest
            }
        }
        Rounding::Zero => {
            if above {
                nearest
            } else {
                nearest.next_up()
            }
        }
        Rounding::Down => {
            if above {
                nearest.next_down()
            } else {
                nearest
            }
        }
        Rounding::Up => {
            if above {
                nearest
            } else {
                nearest.next_up()
            }
        }
    }
}

/// f32 to f64, exactly.
#[inline(always)]
pub fn f32_to_f64(value: f32) -> f64 {
    double::canonical(f64::from(value))
}

/// An f32 flushed, saturated or without its negative side, as the mode says.
#[inline(always)]
pub fn f32_adjust(value: f32, mode: Mode) -> f32 {
    single::finished(value, mode)
}

/// f64 to a 16-bit float.
pub fn half_from_f64<T: HalfFloat>(value: f64, mode: Mode) -> u16 {
    let bits = half::round::<T>(value, mode.rounding);
    half::half_finished::<T>(bits, mode)
}

/// `cvt.rna.tf32.f32`: to 10 bits of fraction, ties away from 0; the lowest 13 bits are 0.
#[inline(always)]
pub fn f32_to_tf32_rna(value: f32) -> u32 {
    if value.is_nan() {
        return 0x7fff_ffff;
    }
    if value.is_infinite() {
        return value.to_bits();
    }
    value.to_bits().wrapping_add(0x1000) & !0x1fff
}

//! `cvt`: from any type to any other.

use super::{Decoded, body::Decoder, modifiers::Modifiers, operands::register_bits, unsupported};
use crate::{
    kernel::{LoadError, Op},
    lanes::{LaneFn, Operands, Slot, lanes},
    numerics::*,
    ptx::ast::{Instruction, Operand, Type},
};

fn is_signed(ty: Type) -> bool {
    matches!(ty, Type::S8 | Type::S16 | Type::S32 | Type::S64)
}

fn is_integer(ty: Type) -> bool {
    use Type::*;
    matches!(ty, U8 | U16 | U32 | U64 | S8 | S16 | S32 | S64 | B8 | B16 | B32 | B64)
}

/// Bits and sign of an integer type, as a part of an instruction's constant.
fn shape(ty: Type) -> u32 {
    (ty.bytes() * 8) | (u32::from(is_signed(ty)) << 7)
}

/// The low bits of a number, as the type of a [`shape`] has them.
#[inline(always)]
fn extend(value: u64, shape: u32) -> u64 {
    let shift = 64 - (shape & 0x7f);
    let (unsigned, signed) = (value << shift >> shift, ((value << shift) as i64 >> shift) as u64);
    if shape & 0x80 != 0 { signed } else { unsigned }
}

/// The nearest number of the type of a [`shape`].
#[inline(always)]
fn clamp(value: u64, from: u32, to: u32) -> u64 {
    let bits = to & 0x7f;
    let value = if from & 0x80 != 0 { i128::from(value as i64) } else { i128::from(value) };
    let (low, high) = match to & 0x80 != 0 {
        true => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
        false => (0, (1i128 << bits) - 1),
    };
    value.clamp(low, high) as u64
}

fn between_integers(from_wide: bool, to_wide: bool, saturate: bool) -> LaneFn {
    match (from_wide, to_wide, saturate) {
        (false, false, false) => {
            lanes!([imm] a: u32 => u32 { extend(extend(u64::from(a), imm & 0xff), imm >> 8) as u32 })
        }
        (false, true, false) => {
            lanes!([imm] a: u32 => u64 { extend(extend(u64::from(a), imm & 0xff), imm >> 8) })
        }
        (true, false, false) => {
            lanes!([imm] a: u64 => u32 { extend(extend(a, imm & 0xff), imm >> 8) as u32 })
        }
        (true, true, false) => lanes!([imm] a: u64 => u64 { extend(extend(a, imm & 0xff), imm >> 8) }),
        (false, false, true) => {
            lanes!([imm] a: u32 => u32 { clamp(extend(u64::from(a), imm & 0xff), imm & 0xff, imm >> 8) as u32 })
        }
        (false, true, true) => {
            lanes!([imm] a: u32 => u64 { clamp(extend(u64::from(a), imm & 0xff), imm & 0xff, imm >> 8) })
        }
        (true, false, true) => {
            lanes!([imm] a: u64 => u32 { clamp(extend(a, imm & 0xff), imm & 0xff, imm >> 8) as u32 })
        }
        (true, true, true) => {
            lanes!([imm] a: u64 => u64 { clamp(extend(a, imm & 0xff), imm & 0xff, imm >> 8) })
        }
    }
}

/// Rounding to an integer, from the upper bits of an instruction's constant.
#[inline(always)]
fn rounding_of(imm: u32) -> Rounding {
    Mode::unpack(imm >> 16).rounding
}

/// A number of a float type as f64, exactly, flushed where asked.
#[inline(always)]
fn flushed(value: f32, imm: u32) -> f64 {
    f64::from(if Mode::unpack(imm >> 16).ftz { f32_flush(value) } else { value })
}

#[inline(always)]
fn to_integer(value: f64, imm: u32, from_double: bool) -> u64 {
    let bits = imm & 0x7f;
    if value.is_nan() {
        return extend(nan_to_integer(from_double, bits), imm & 0xff);
    }
    float_to_integer(value, rounding_of(imm), bits, imm & 0x80 != 0)
}

fn to_integers(from: Type, to_wide: bool) -> Option<LaneFn> {
    Some(match (from, to_wide) {
        (Type::F32, false) => lanes!([imm] a: f32 => u32 { to_integer(flushed(a, imm), imm, false) as u32 }),
        (Type::F32, true) => lanes!([imm] a: f32 => u64 { to_integer(flushed(a, imm), imm, false) }),
        (Type::F64, false) => lanes!([imm] a: f64 => u32 { to_integer(a, imm, true) as u32 }),
        (Type::F64, true) => lanes!([imm] a: f64 => u64 { to_integer(a, imm, true) }),
        (Type::F16, false) => {
            lanes!([imm] a: u16 => u32 { to_integer(f64::from(half_to_f32::<F16>(a)), imm, false) as u32 })
        }
        (Type::F16, true) => {
            lanes!([imm] a: u16 => u64 { to_integer(f64::from(half_to_f32::<F16>(a)), imm, false) })
        }
        (Type::Bf16, false) => {
            lanes!([imm] a: u16 => u32 { to_integer(f64::from(half_to_f32::<Bf16>(a)), imm, false) as u32 })
        }
        (Type::Bf16, true) => {
            lanes!([imm] a: u16 => u64 { to_integer(f64::from(half_to_f32::<Bf16>(a)), imm, false) })
        }
        _ => return None,
    })
}

/// An integer of the shape in an instruction's constant.
#[inline(always)]
fn number(bits: u64, imm: u32) -> i128 {
    if imm & 0x80 != 0 { i128::from(bits as i64) } else { i128::from(bits) }
}

/// An f32 flushed and saturated, as the mode says.
#[inline(always)]
fn f32_adjust(value: f32, mode: Mode) -> f32 {
    let value = f32_canonical(if mode.ftz { f32_flush(value) } else { value });
    if mode.saturate { f32_saturate(value) } else { value }
}

/// `a` as f32 in the instruction's rounding, saturated where asked.
#[inline(always)]
fn integer_to_single(a: u64, imm: u32) -> f32 {
    let mode = Mode::unpack(imm >> 16);
    let value = integer_to_f32(number(extend(a, imm & 0xff), imm), mode.rounding);
    if mode.saturate { value.clamp(0.0, 1.0) } else { value }
}

#[inline(always)]
fn integer_to_double(a: u64, imm: u32) -> f64 {
    let mode = Mode::unpack(imm >> 16);
    let value = integer_to_f64(number(extend(a, imm & 0xff), imm), mode.rounding);
    if mode.saturate { value.clamp(0.0, 1.0) } else { value }
}

/// An integer as a 16-bit float. Fifty digits with the rest as one bit behind them round as the whole would.
#[inline(always)]
fn integer_to_half<T: HalfFloat>(a: u64, imm: u32) -> u16 {
    let value = number(extend(a, imm & 0xff), imm);
    let magnitude = value.unsigned_abs() as u64;
    let excess = (64 - magnitude.leading_zeros()).saturating_sub(50);
    let rest = u64::from(magnitude & ((1 << excess) - 1) != 0);
    let shortened = (((magnitude >> excess) << 1) | rest) as f64 * (1u64 << excess) as f64 / 2.0;
    half_from_f64::<T>(if value < 0 { -shortened } else { shortened }, Mode::unpack(imm >> 16))
}

fn from_integers(from_wide: bool, to: Type) -> Option<LaneFn> {
    Some(match (from_wide, to) {
        (false, Type::F32) => lanes!([imm] a: u32 => f32 { integer_to_single(u64::from(a), imm) }),
        (true, Type::F32) => lanes!([imm] a: u64 => f32 { integer_to_single(a, imm) }),
        (false, Type::F64) => lanes!([imm] a: u32 => f64 { integer_to_double(u64::from(a), imm) }),
        (true, Type::F64) => lanes!([imm] a: u64 => f64 { integer_to_double(a, imm) }),
        (false, Type::F16) => lanes!([imm] a: u32 => u16 { integer_to_half::<F16>(u64::from(a), imm) }),
        (true, Type::F16) => lanes!([imm] a: u64 => u16 { integer_to_half::<F16>(a, imm) }),
        (false, Type::Bf16) => lanes!([imm] a: u32 => u16 { integer_to_half::<Bf16>(u64::from(a), imm) }),
        (true, Type::Bf16) => lanes!([imm] a: u64 => u16 { integer_to_half::<Bf16>(a, imm) }),
        _ => return None,
    })
}

/// Between floats of different types.
fn between_floats(to: Type, from: Type, mode: Mode) -> Option<LaneFn> {
    let plain = mode == Mode::default();
    Some(match (to, from) {
        (Type::F32, Type::F64) => lanes!([imm] a: f64 => f32 { f64_to_f32(a, Mode::unpack(imm)) }),
        (Type::F64, Type::F32) => lanes!([imm] a: f32 => f64 {{
            let mode = Mode::unpack(imm);
            let value = f32_to_f64(if mode.ftz { f32_flush(a) } else { a });
            if mode.saturate { saturated(value) } else { value }
        }}),
        (Type::F32, Type::F16) if plain => lanes!(a: u16 => f32 { half_to_f32::<F16>(a) }),
        (Type::F32, Type::Bf16) if plain => lanes!(a: u16 => f32 { half_to_f32::<Bf16>(a) }),
        (Type::F32, Type::F16) => {
            lanes!([imm] a: u16 => f32 { f32_adjust(half_to_f32::<F16>(a), Mode::unpack(imm)) })
        }
        (Type::F32, Type::Bf16) => {
            lanes!([imm] a: u16 => f32 { f32_adjust(half_to_f32::<Bf16>(a), Mode::unpack(imm)) })
        }
        (Type::F16, Type::F32) if plain => lanes!(a: f32 => u16 { half_from_f32_rn::<F16>(a) }),
        (Type::Bf16, Type::F32) if plain => lanes!(a: f32 => u16 { half_from_f32_rn::<Bf16>(a) }),
        (Type::F16, Type::F32) => lanes!([imm] a: f32 => u16 { half_from_f32::<F16>(a, Mode::unpack(imm)) }),
        (Type::Bf16, Type::F32) => {
            lanes!([imm] a: f32 => u16 { half_from_f32::<Bf16>(a, Mode::unpack(imm)) })
        }
        (Type::F64, Type::F16) => lanes!([imm] a: u16 => f64 {{
            let value = f32_to_f64(half_to_f32::<F16>(a));
            if Mode::unpack(imm).saturate { saturated(value) } else { value }
        }}),
        (Type::F64, Type::Bf16) => lanes!(a: u16 => f64 { f32_to_f64(half_to_f32::<Bf16>(a)) }),
        (Type::F16, Type::F64) => lanes!([imm] a: f64 => u16 { half_from_f64::<F16>(a, Mode::unpack(imm)) }),
        (Type::Bf16, Type::F64) => {
            lanes!([imm] a: f64 => u16 { half_from_f64::<Bf16>(a, Mode::unpack(imm)) })
        }
        (Type::F32, Type::F32) => lanes!([imm] a: f32 => f32 { f32_adjust(a, Mode::unpack(imm)) }),
        (Type::F16, Type::F16) => {
            lanes!([imm] a: u16 => u16 { half_from_f32::<F16>(half_to_f32::<F16>(a), Mode::unpack(imm)) })
        }
        (Type::F64, Type::F64) => lanes!([imm] a: f64 => f64 {{
            if Mode::unpack(imm).saturate { saturated(a) } else { f64_canonical(a) }
        }}),
        _ => return None,
    })
}

/// Within [0, 1], NaN as 0.
#[inline(always)]
fn saturated(value: f64) -> f64 {
    if value > 0.0 { value.min(1.0) } else { 0.0 }
}

/// A 16-bit number to an integer in the same type: what is integral needs no more rounding.
#[inline(always)]
fn half_integral<T: HalfFloat>(a: u16, mode: Mode) -> u16 {
    let value = f32_round_integral(half_to_f32::<T>(a), mode.rounding);
    half_from_f32::<T>(value, Mode { rounding: Rounding::Nearest, ..mode })
}

/// To an integer in the same type.
fn integral(ty: Type) -> Option<LaneFn> {
    Some(match ty {
        Type::F32 => lanes!([imm] a: f32 => f32 {{
            let mode = Mode::unpack(imm);
            let value = f32_round_integral(if mode.ftz { f32_flush(a) } else { a }, mode.rounding);
            f32_adjust(value, Mode { rounding: Rounding::Nearest, ..mode })
        }}),
        Type::F64 => lanes!([imm] a: f64 => f64 {{
            let mode = Mode::unpack(imm);
            let value = f64_round_integral(a, mode.rounding);
            if mode.saturate { saturated(value) } else { value }
        }}),
        Type::F16 => lanes!([imm] a: u16 => u16 { half_integral::<F16>(a, Mode::unpack(imm)) }),
        Type::Bf16 => lanes!([imm] a: u16 => u16 { half_integral::<Bf16>(a, Mode::unpack(imm)) }),
        _ => return None,
    })
}

impl Decoder<'_> {
    pub(super) fn conversion(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let &[to, from] = modifiers.types() else { return Err(unsupported(instruction, "not two types")) };
        if matches!(to, Type::F16x2 | Type::Bf16x2) {
            return self.conversion_to_pair(instruction, modifiers, to, from);
        }
        let integral_rounding = modifiers.one_of(&[
            ("rni", Rounding::Nearest),
            ("rzi", Rounding::Zero),
            ("rmi", Rounding::Down),
            ("rpi", Rounding::Up),
        ]);
        if to == Type::Tf32 && from == Type::F32 {
            let run = match modifiers.one_of(&[("rna", true), ("rn", false)]) {
                Some(true) => lanes!(a: f32 => u32 { f32_to_tf32_rna(a) }),
                _ => return Err(unsupported(instruction, "tf32 is made with .rna")),
            };
            return self.compute(instruction, run, Type::B32, &[Type::F32], 0);
        }
        let mode = modifiers.mode();
        let mode = Mode { rounding: integral_rounding.unwrap_or(mode.rounding), ..mode };
        let [d, a] = self.operands(instruction)?;
        let (a, from_bits) = self.conversion_source(instruction, a, from)?;
        let (d, to_bits) = self.conversion_result(instruction, d, to)?;
        let (from_wide, to_wide) = (from_bits == 64, to_bits == 64);
        let no_form = || unsupported(instruction, "there is no such conversion");
        let (run, imm) = match (is_integer(to), is_integer(from)) {
            (true, true) => {
                (between_integers(from_wide, to_wide, mode.saturate), shape(from) | shape(to) << 8)
            }
            (true, false) => {
                integral_rounding.ok_or_else(|| unsupported(instruction, "no rounding to an integer"))?;
                (to_integers(from, to_wide).ok_or_else(no_form)?, shape(to) | mode.pack() << 16)
            }
            (false, true) => {
                (from_integers(from_wide, to).ok_or_else(no_form)?, shape(from) | mode.pack() << 16)
            }
            (false, false) if to == from && integral_rounding.is_some() => {
                (integral(to).ok_or_else(no_form)?, mode.pack())
            }
            (false, false) => (between_floats(to, from, mode).ok_or_else(no_form)?, mode.pack()),
        };
        Ok(Some(Op::lanes(run, Operands { d, a, imm, ..Operands::default() })))
    }

    /// The source may lie in a register that is wider than its type.
    fn conversion_source(
        &mut self,
        instruction: &Instruction,
        operand: &Operand,
        ty: Type,
    ) -> Result<(Slot, u32), LoadError> {
        let bits = register_bits(ty);
        if let Ok((slot, width)) = self.any_register(instruction, operand)
            && (width == bits || is_integer(ty) && width > bits)
        {
            return Ok((slot, width));
        }
        Ok((self.source(instruction, operand, ty)?, bits))
    }

    fn conversion_result(
        &mut self,
        instruction: &Instruction,
        operand: &Operand,
        ty: Type,
    ) -> Result<(Slot, u32), LoadError> {
        let bits = register_bits(ty);
        if let Ok((slot, width)) = self.any_register(instruction, operand)
            && is_integer(ty)
            && width > bits
        {
            return Ok((slot, width));
        }
        Ok((self.destination(instruction, operand, ty)?, bits))
    }

    /// `cvt.rn.f16x2.f32 d, a, b`: `a` becomes the upper half.
    fn conversion_to_pair(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
        to: Type,
        from: Type,
    ) -> Decoded {
        if from != Type::F32 {
            return Err(unsupported(instruction, "pairs are made of f32"));
        }
        let imm = modifiers.mode().pack();
        let run = match to {
            Type::F16x2 => lanes!([imm] a: f32, b: f32 => u32 {{
                let mode = Mode::unpack(imm);
                u32::from(half_from_f32::<F16>(b, mode)) | u32::from(half_from_f32::<F16>(a, mode)) << 16
            }}),
            _ => lanes!([imm] a: f32, b: f32 => u32 {{
                let mode = Mode::unpack(imm);
                u32::from(half_from_f32::<Bf16>(b, mode)) | u32::from(half_from_f32::<Bf16>(a, mode)) << 16
            }}),
        };
        self.compute(instruction, run, Type::B32, &[Type::F32, Type::F32], imm)
    }
}

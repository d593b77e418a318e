//! Instructions on bits: logic, shifts, fields, permutations.

use super::{Decoded, body::Decoder, modifiers::Modifiers, unsupported};
use crate::{
    lanes::{LaneFn, lanes},
    numerics::*,
    ptx::ast::{Instruction, Operand, Type},
};

/// The loop of one expression for each width.
macro_rules! each {
    ($ty:expr, |$($arg:ident),+| $body:expr) => {
        match $ty.bytes() {
            2 => lanes!($($arg: u16),+ => u16 { $body }),
            4 => lanes!($($arg: u32),+ => u32 { $body }),
            _ => lanes!($($arg: u64),+ => u64 { $body }),
        }
    };
}

fn shift_right(ty: Type) -> LaneFn {
    match ty {
        Type::S16 => lanes!(a: i16, b: u32 => i16 { shr_s16(a, b) }),
        Type::S32 => lanes!(a: i32, b: u32 => i32 { shr_s32(a, b) }),
        Type::S64 => lanes!(a: i64, b: u32 => i64 { shr_s64(a, b) }),
        Type::B16 | Type::U16 => lanes!(a: u16, b: u32 => u16 { shr_u16(a, b) }),
        Type::B32 | Type::U32 => lanes!(a: u32, b: u32 => u32 { shr_u32(a, b) }),
        _ => lanes!(a: u64, b: u32 => u64 { shr_u64(a, b) }),
    }
}

fn shift_left(ty: Type) -> LaneFn {
    match ty.bytes() {
        2 => lanes!(a: u16, b: u32 => u16 { shl_b16(a, b) }),
        4 => lanes!(a: u32, b: u32 => u32 { shl_b32(a, b) }),
        _ => lanes!(a: u64, b: u32 => u64 { shl_b64(a, b) }),
    }
}

/// The largest distance of `bfind` or a place from the top.
fn highest(ty: Type, shift: bool) -> Option<LaneFn> {
    Some(match (ty, shift) {
        (Type::U32, false) => lanes!(a: u32 => u32 { bfind_u32(a, false) }),
        (Type::U32, true) => lanes!(a: u32 => u32 { bfind_u32(a, true) }),
        (Type::S32, false) => lanes!(a: i32 => u32 { bfind_s32(a, false) }),
        (Type::S32, true) => lanes!(a: i32 => u32 { bfind_s32(a, true) }),
        (Type::U64, false) => lanes!(a: u64 => u32 { bfind_u64(a, false) }),
        (Type::U64, true) => lanes!(a: u64 => u32 { bfind_u64(a, true) }),
        (Type::S64, false) => lanes!(a: i64 => u32 { bfind_s64(a, false) }),
        (Type::S64, true) => lanes!(a: i64 => u32 { bfind_s64(a, true) }),
        _ => return None,
    })
}

impl Decoder<'_> {
    pub(super) fn bits(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
        ty: Type,
    ) -> Decoded {
        let word = Type::B32;
        match instruction.opcode.as_str() {
            "and" => self.compute(instruction, each!(ty, |a, b| a & b), ty, &[ty, ty], 0),
            "or" => self.compute(instruction, each!(ty, |a, b| a | b), ty, &[ty, ty], 0),
            "xor" => self.compute(instruction, each!(ty, |a, b| a ^ b), ty, &[ty, ty], 0),
            "not" => self.compute(instruction, each!(ty, |a| !a), ty, &[ty], 0),
            "cnot" => self.compute(instruction, each!(ty, |a| (a == 0).into()), ty, &[ty], 0),
            "shl" => self.compute(instruction, shift_left(ty), ty, &[ty, word], 0),
            "shr" => self.compute(instruction, shift_right(ty), ty, &[ty, word], 0),
            "shf" => self.funnel_shift(instruction, modifiers),
            "popc" => match ty.bytes() {
                4 => self.compute(instruction, lanes!(a: u32 => u32 { a.count_ones() }), word, &[ty], 0),
                _ => self.compute(instruction, lanes!(a: u64 => u32 { a.count_ones() }), word, &[ty], 0),
            },
            "clz" => match ty.bytes() {
                4 => self.compute(instruction, lanes!(a: u32 => u32 { a.leading_zeros() }), word, &[ty], 0),
                _ => self.compute(instruction, lanes!(a: u64 => u32 { a.leading_zeros() }), word, &[ty], 0),
            },
            "brev" => self.compute(instruction, each!(ty, |a| a.reverse_bits()), ty, &[ty], 0),
            "bfind" => {
                let run = highest(ty, modifiers.flag("shiftamt"));
                let run = run.ok_or_else(|| unsupported(instruction, "this type"))?;
                self.compute(instruction, run, word, &[ty], 0)
            }
            "bfe" => {
                let run = match ty {
                    Type::U32 => lanes!(a: u32, b: u32, c: u32 => u32 { bfe_u32(a, b, c) }),
                    Type::S32 => lanes!(a: i32, b: u32, c: u32 => i32 { bfe_s32(a, b, c) }),
                    Type::U64 => lanes!(a: u64, b: u32, c: u32 => u64 { bfe_u64(a, b, c) }),
                    Type::S64 => lanes!(a: i64, b: u32, c: u32 => i64 { bfe_s64(a, b, c) }),
                    _ => return Err(unsupported(instruction, "this type")),
                };
                self.compute(instruction, run, ty, &[ty, word, word], 0)
            }
            "bfi" => self.insert_field(instruction, ty),
            "prmt" => self.permute(instruction, modifiers),
            "lop3" => {
                let [_, _, _, _, Operand::Integer(table)] = self.operands(instruction)? else {
                    return Err(unsupported(instruction, "a table that is no constant"));
                };
                let table = *table as u32;
                let run = lanes!([imm] a: u32, b: u32, c: u32 => u32 { lop3(a, b, c, imm) });
                let shorter =
                    Instruction { operands: instruction.operands[..4].to_vec(), ..instruction.clone() };
                self.compute(&shorter, run, word, &[word; 3], table)
            }
            "fns" => {
                let run = lanes!(a: u32, b: u32, c: i32 => u32 { fns(a, b, c) });
                self.compute(instruction, run, word, &[word, word, Type::S32], 0)
            }
            "bmsk" => {
                let run = match modifiers.one_of(&[("clamp", false), ("wrap", true)]) {
                    Some(true) => lanes!(a: u32, b: u32 => u32 { bmsk_wrap(a, b) }),
                    Some(false) => lanes!(a: u32, b: u32 => u32 { bmsk_clamp(a, b) }),
                    None => return Err(unsupported(instruction, "neither .clamp nor .wrap")),
                };
                self.compute(instruction, run, word, &[word, word], 0)
            }
            "szext" => {
                let run = match (modifiers.one_of(&[("clamp", false), ("wrap", true)]), ty) {
                    (Some(true), Type::U32) => lanes!(a: u32, b: u32 => u32 { szext_wrap_u32(a, b) }),
                    (Some(false), Type::U32) => lanes!(a: u32, b: u32 => u32 { szext_clamp_u32(a, b) }),
                    (Some(true), Type::S32) => lanes!(a: i32, b: u32 => i32 { szext_wrap_s32(a, b) }),
                    (Some(false), Type::S32) => lanes!(a: i32, b: u32 => i32 { szext_clamp_s32(a, b) }),
                    _ => return Err(unsupported(instruction, "this form")),
                };
                self.compute(instruction, run, ty, &[ty, word], 0)
            }
            _ => Ok(None),
        }
    }

    fn funnel_shift(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let left = modifiers.one_of(&[("l", true), ("r", false)]);
        let wrap = modifiers.one_of(&[("wrap", true), ("clamp", false)]);
        let run = match (left, wrap) {
            (Some(true), Some(true)) => lanes!(a: u32, b: u32, c: u32 => u32 { shf_l_wrap(a, b, c) }),
            (Some(true), Some(false)) => lanes!(a: u32, b: u32, c: u32 => u32 { shf_l_clamp(a, b, c) }),
            (Some(false), Some(true)) => lanes!(a: u32, b: u32, c: u32 => u32 { shf_r_wrap(a, b, c) }),
            (Some(false), Some(false)) => lanes!(a: u32, b: u32, c: u32 => u32 { shf_r_clamp(a, b, c) }),
            _ => return Err(unsupported(instruction, "no direction, or neither .wrap nor .clamp")),
        };
        self.compute(instruction, run, Type::B32, &[Type::B32; 3], 0)
    }

    /// Four inputs: position and length are brought into one register first.
    fn insert_field(&mut self, instruction: &Instruction, ty: Type) -> Decoded {
        use super::body::Width;
        let [d, a, b, position, length] = self.operands(instruction)?;
        let position = self.source(instruction, position, Type::B32)?;
        let length = self.source(instruction, length, Type::B32)?;
        let both = self.slot(Width::W32);
        // Together in a word; what is larger than a byte is beyond the operand.
        let run = match ty.bytes() {
            4 => lanes!(a: u32, b: u32 => u32 { (a & 0xff) | (b & 0xff) << 8 }),
            _ => lanes!(a: u32, b: u32 => u32 { a.min(0xff) | b.min(0xff) << 8 }),
        };
        let operands = crate::lanes::Operands { d: both, a: position, b: length, ..Default::default() };
        self.step(instruction, run, operands);
        let run = match ty.bytes() {
            4 => lanes!(a: u32, b: u32, c: u32 => u32 { bfi_b32(a, b, c & 0xff, c >> 8) }),
            8 => lanes!(a: u64, b: u64, c: u32 => u64 { bfi_b64(a, b, c & 0xff, c >> 8) }),
            _ => return Err(unsupported(instruction, "this type")),
        };
        let (a, b) = (self.source(instruction, a, ty)?, self.source(instruction, b, ty)?);
        let d = self.destination(instruction, d, ty)?;
        let operands = crate::lanes::Operands { d, a, b, c: both, ..Default::default() };
        Ok(Some(crate::kernel::Op::lanes(run, operands)))
    }

    fn permute(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let mode = modifiers.one_of(&[
            ("f4e", PermuteMode::F4e),
            ("b4e", PermuteMode::B4e),
            ("rc8", PermuteMode::Rc8),
            ("ecl", PermuteMode::Ecl),
            ("ecr", PermuteMode::Ecr),
            ("rc16", PermuteMode::Rc16),
        ]);
        let run = match mode {
            None => lanes!(a: u32, b: u32, c: u32 => u32 { prmt(a, b, c, PermuteMode::Default) }),
            Some(PermuteMode::F4e) => {
                lanes!(a: u32, b: u32, c: u32 => u32 { prmt(a, b, c, PermuteMode::F4e) })
            }
            Some(PermuteMode::B4e) => {
                lanes!(a: u32, b: u32, c: u32 => u32 { prmt(a, b, c, PermuteMode::B4e) })
            }
            Some(PermuteMode::Rc8) => {
                lanes!(a: u32, b: u32, c: u32 => u32 { prmt(a, b, c, PermuteMode::Rc8) })
            }
            Some(PermuteMode::Ecl) => {
                lanes!(a: u32, b: u32, c: u32 => u32 { prmt(a, b, c, PermuteMode::Ecl) })
            }
            Some(PermuteMode::Ecr) => {
                lanes!(a: u32, b: u32, c: u32 => u32 { prmt(a, b, c, PermuteMode::Ecr) })
            }
            Some(_) => lanes!(a: u32, b: u32, c: u32 => u32 { prmt(a, b, c, PermuteMode::Rc16) }),
        };
        self.compute(instruction, run, Type::B32, &[Type::B32; 3], 0)
    }
}

//! Moves between registers: as they are, taken apart and put together, and addresses between spaces.

use super::{
    Decoded,
    body::{Decoder, Width},
    modifiers::Modifiers,
    operands::register_bits,
    unsupported,
};
use crate::{
    kernel::{LoadError, Op},
    lanes::{Operands, Slot, lanes},
    memory::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW},
    ptx::ast::{Instruction, Operand, Type},
};

impl Decoder<'_> {
    pub(super) fn moves(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        match instruction.opcode.as_str() {
            "mov" => {
                let ty = modifiers.ty()?;
                match self.operands(instruction)? {
                    [d, Operand::Vector(parts)] => self.pack(instruction, ty, d, parts),
                    [Operand::Vector(parts), a] => self.unpack(instruction, ty, parts, a),
                    [_, _] if ty == Type::Pred => {
                        self.compute(instruction, lanes!(a: bool => bool { a }), ty, &[ty], 0)
                    }
                    [_, _] => self.copy(instruction, ty),
                }
            }
            "cvt" => self.conversion(instruction, modifiers),
            "cvta" => self.generic_address(instruction, modifiers),
            "isspacep" => self.space_of_address(instruction, modifiers),
            _ => Ok(None),
        }
    }

    fn copy(&mut self, instruction: &Instruction, ty: Type) -> Decoded {
        let run = match register_bits(ty) {
            64 => lanes!(a: u64 => u64 { a }),
            _ => lanes!(a: u32 => u32 { a }),
        };
        self.compute(instruction, run, ty, &[ty], 0)
    }

    /// `mov.b32 d, {a, b}`: the first is the lowest part.
    fn pack(&mut self, instruction: &Instruction, ty: Type, d: &Operand, parts: &[Operand]) -> Decoded {
        let (bits, part) = self.parts(instruction, ty, parts)?;
        let d = self.destination(instruction, d, ty)?;
        let slots = parts.iter().map(|operand| self.source(instruction, operand, part));
        let slots = slots.collect::<Result<Vec<_>, _>>()?;
        let (first, second) = match (bits, slots.as_slice()) {
            (_, [a, b]) => (*a, *b),
            // Four parts: two by two first.
            (64, [a, b, c, e]) => {
                let run = lanes!(a: u16, b: u16 => u32 { u32::from(a) | u32::from(b) << 16 });
                let (low, high) = (self.slot(Width::W32), self.slot(Width::W32));
                self.step(instruction, run, Operands { d: low, a: *a, b: *b, ..Operands::default() });
                self.step(instruction, run, Operands { d: high, a: *c, b: *e, ..Operands::default() });
                (low, high)
            }
            _ => return Err(unsupported(instruction, "parts of this size")),
        };
        let run = match bits {
            32 => lanes!(a: u16, b: u16 => u32 { u32::from(a) | u32::from(b) << 16 }),
            _ => lanes!(a: u32, b: u32 => u64 { u64::from(a) | u64::from(b) << 32 }),
        };
        Ok(Some(Op::lanes(run, Operands { d, a: first, b: second, ..Operands::default() })))
    }

    /// `mov.b32 {a, b}, d`.
    fn unpack(&mut self, instruction: &Instruction, ty: Type, parts: &[Operand], a: &Operand) -> Decoded {
        let (bits, part) = self.parts(instruction, ty, parts)?;
        let a = self.source(instruction, a, ty)?;
        let slots = parts.iter().map(|operand| self.destination(instruction, operand, part));
        let slots = slots.collect::<Result<Vec<_>, _>>()?;
        let halves = lanes!(a: u32 => (u16, u16) { (a as u16, (a >> 16) as u16) });
        let words = lanes!(a: u64 => (u32, u32) { (a as u32, (a >> 32) as u32) });
        let two = |d: Slot, e: Slot, a: Slot| Operands { d, e, a, ..Operands::default() };
        let (run, operands) = match (bits, slots.as_slice()) {
            (32, [d, e]) => (halves, two(*d, *e, a)),
            (_, [d, e]) => (words, two(*d, *e, a)),
            (64, [d, e, f, g]) => {
                let (low, high) = (self.slot(Width::W32), self.slot(Width::W32));
                self.step(instruction, words, two(low, high, a));
                self.step(instruction, halves, two(*d, *e, low));
                (halves, two(*f, *g, high))
            }
            _ => return Err(unsupported(instruction, "parts of this size")),
        };
        Ok(Some(Op::lanes(run, operands)))
    }

    /// Bits of the whole and the type of each part.
    fn parts(
        &self,
        instruction: &Instruction,
        ty: Type,
        parts: &[Operand],
    ) -> Result<(u32, Type), LoadError> {
        match (register_bits(ty), parts.len()) {
            (32, 2) => Ok((32, Type::B16)),
            (64, 2) => Ok((64, Type::B32)),
            (64, 4) => Ok((64, Type::B16)),
            (bits, count) => Err(unsupported(instruction, format!("{bits} bits in {count} parts"))),
        }
    }

    /// `cvta`: global and constant addresses are generic ones already; the others have windows.
    fn generic_address(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let ty = modifiers.ty()?;
        if ty.bytes() != 8 {
            return Err(unsupported(instruction, "addresses of 32 bits"));
        }
        let to = modifiers.flag("to");
        let window = modifiers.one_of(&[
            ("shared", SHARED_WINDOW),
            ("shared::cta", SHARED_WINDOW),
            ("local", LOCAL_WINDOW),
            ("param", PARAM_WINDOW),
            ("global", 0),
            ("const", 0),
        ]);
        let window = window.ok_or_else(|| unsupported(instruction, "no state space"))?;
        let imm = (window >> 32) as u32;
        let run = match to {
            true => lanes!([imm] a: u64 => u64 { a.wrapping_sub(u64::from(imm) << 32) }),
            false => lanes!([imm] a: u64 => u64 { a.wrapping_add(u64::from(imm) << 32) }),
        };
        self.compute(instruction, run, ty, &[ty], imm)
    }

    fn space_of_address(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let window = modifiers.one_of(&[
            ("shared", SHARED_WINDOW),
            ("shared::cta", SHARED_WINDOW),
            ("local", LOCAL_WINDOW),
            ("param", PARAM_WINDOW),
        ]);
        let Some(window) = window else {
            let constant = modifiers.one_of(&[("const", true), ("global", false)]);
            let constant = constant.ok_or_else(|| unsupported(instruction, "this state space"))?;
            let [d, a] = self.operands(instruction)?;
            let a = self.source(instruction, a, Type::B64)?;
            return Ok(Some(Op::IsSpace { d: self.destination(instruction, d, Type::Pred)?, a, constant }));
        };
        let run = lanes!([imm] a: u64 => bool { a >> 56 == u64::from(imm) });
        self.compute(instruction, run, Type::Pred, &[Type::B64], (window >> 56) as u32)
    }
}

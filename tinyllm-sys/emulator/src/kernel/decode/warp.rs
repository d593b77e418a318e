//! Exchanges between the lanes of a warp.

use super::{Decoded, body::Decoder, modifiers::Modifiers, unsupported};
use crate::{
    kernel::{Op, ReduceMode, ShuffleMode, VoteMode},
    ptx::ast::{Instruction, Operand, Type},
};

impl Decoder<'_> {
    pub(super) fn warp(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let opcode = instruction.opcode.as_str();
        if opcode == "activemask" {
            let [d] = self.operands(instruction)?;
            return Ok(Some(Op::ActiveMask { d: self.destination(instruction, d, Type::B32)? }));
        }
        if !matches!(opcode, "shfl" | "vote" | "match" | "redux") {
            return Ok(None);
        }
        if !modifiers.flag("sync") {
            return Err(unsupported(instruction, "without .sync, which sm_70 and later do not have"));
        }
        match opcode {
            "shfl" => self.shuffle(instruction, modifiers),
            "vote" => self.vote(instruction, modifiers),
            "match" => self.match_values(instruction, modifiers),
            _ => self.reduce(instruction, modifiers),
        }
    }

    fn shuffle(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let mode = modifiers.one_of(&[
            ("up", ShuffleMode::Up),
            ("down", ShuffleMode::Down),
            ("bfly", ShuffleMode::Butterfly),
            ("idx", ShuffleMode::Index),
        ]);
        let mode = mode.ok_or_else(|| unsupported(instruction, "no mode"))?;
        let [d, a, b, c, members] = self.operands(instruction)?;
        let (d, valid) = match d {
            Operand::Pair(d, p) => (&**d, Some(self.destination(instruction, p, Type::Pred)?)),
            d => (d, None),
        };
        let d = self.destination(instruction, d, Type::B32)?;
        let [a, b, c, members] =
            [a, b, c, members].map(|operand| self.source(instruction, operand, Type::B32));
        Ok(Some(Op::Shuffle { mode, d, valid, a: a?, b: b?, c: c?, members: members? }))
    }

    fn vote(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let mode = modifiers.one_of(&[
            ("all", VoteMode::All),
            ("any", VoteMode::Any),
            ("uni", VoteMode::Uniform),
            ("ballot", VoteMode::Ballot),
        ]);
        let mode = mode.ok_or_else(|| unsupported(instruction, "no mode"))?;
        let [d, a, members] = self.operands(instruction)?;
        let ty = if mode == VoteMode::Ballot { Type::B32 } else { Type::Pred };
        let d = self.destination(instruction, d, ty)?;
        let a = self.predicate(instruction, a)?;
        let members = self.source(instruction, members, Type::B32)?;
        Ok(Some(Op::Vote { mode, d, a, members }))
    }

    fn match_values(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let all = modifiers.one_of(&[("all", true), ("any", false)]);
        let all = all.ok_or_else(|| unsupported(instruction, "no mode"))?;
        let ty = modifiers.ty()?;
        let [d, a, members] = self.operands(instruction)?;
        let (d, valid) = match d {
            Operand::Pair(d, p) if all => (&**d, Some(self.destination(instruction, p, Type::Pred)?)),
            d => (d, None),
        };
        let d = self.destination(instruction, d, Type::B32)?;
        let wide = ty.bytes() == 8;
        let a = self.source(instruction, a, ty)?;
        let members = self.source(instruction, members, Type::B32)?;
        Ok(Some(Op::Match { all, d, valid, a, wide, members }))
    }

    fn reduce(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let signed = match modifiers.ty()? {
            Type::S32 => true,
            Type::U32 | Type::B32 => false,
            _ => return Err(unsupported(instruction, "this type")),
        };
        let mode = match (
            modifiers.one_of(&[("add", 0), ("min", 1), ("max", 2), ("and", 3), ("or", 4), ("xor", 5)]),
            signed,
        ) {
            (Some(0), _) => ReduceMode::Add,
            (Some(1), true) => ReduceMode::MinSigned,
            (Some(1), false) => ReduceMode::MinUnsigned,
            (Some(2), true) => ReduceMode::MaxSigned,
            (Some(2), false) => ReduceMode::MaxUnsigned,
            (Some(3), _) => ReduceMode::And,
            (Some(4), _) => ReduceMode::Or,
            (Some(5), _) => ReduceMode::Xor,
            _ => return Err(unsupported(instruction, "no operation")),
        };
        let [d, a, members] = self.operands(instruction)?;
        let d = self.destination(instruction, d, Type::B32)?;
        let a = self.source(instruction, a, Type::B32)?;
        let members = self.source(instruction, members, Type::B32)?;
        Ok(Some(Op::Reduce { mode, d, a, members }))
    }
}

//! `createpolicy`: how caches treat what accesses with `.L2::cache_hint` move.

use super::{Decoded, body::Decoder, modifiers::Modifiers, unsupported};
use crate::{
    kernel::{Constant, Op, Portion},
    lanes::lanes,
    ptx::ast::{Instruction, Type},
};

/// Priorities of the second level cache. A policy is opaque; these are the numbers that compilers' constants have.
const PRIORITIES: [(&str, u64); 4] = [
    ("L2::evict_normal", 0x1000_0000_0000_0000),
    ("L2::evict_first", 0x12f0_0000_0000_0000),
    ("L2::evict_last", 0x14f0_0000_0000_0000),
    ("L2::evict_unchanged", 0x16f0_0000_0000_0000),
];

/// `createpolicy.fractional` without a fraction is for all accesses.
const ALL: u32 = 0x3f80_0000;

impl Decoder<'_> {
    pub(super) fn cache_policy(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
    ) -> Decoded {
        modifiers.cache_hints();
        modifiers.flag("global");
        let named = |word: &String| PRIORITIES.iter().find(|(name, _)| name == word);
        let priority = instruction.modifiers.iter().find_map(named);
        match modifiers.one_of(&[("cvt", "cvt"), ("range", "range"), ("fractional", "fractional")]) {
            // The driver's property of an access is a policy already.
            Some("cvt") => {
                modifiers.flag("L2");
                self.compute(instruction, lanes!(a: u64 => u64 { a }), Type::B64, &[Type::B64], 0)
            }
            Some(form) => {
                let (_, priority) = *priority.ok_or_else(|| unsupported(instruction, "no priority"))?;
                let (d, portion) = match (form, instruction.operands.as_slice()) {
                    ("range", [d, address, primary, total]) => {
                        let (address, _) = self.address(instruction, address)?;
                        let primary = self.source(instruction, primary, Type::B32)?;
                        let total = self.source(instruction, total, Type::B32)?;
                        (d, Portion::Range { address, primary, total })
                    }
                    ("fractional", [d]) => (d, Portion::Fraction(self.constant(Constant::Narrow(ALL)))),
                    ("fractional", [d, fraction]) => {
                        (d, Portion::Fraction(self.source(instruction, fraction, Type::F32)?))
                    }
                    _ => return Err(unsupported(instruction, "operands of another form")),
                };
                let d = self.destination(instruction, d, Type::B64)?;
                Ok(Some(Op::CachePolicy { d, priority, portion }))
            }
            None => Err(unsupported(instruction, "no form of createpolicy")),
        }
    }
}

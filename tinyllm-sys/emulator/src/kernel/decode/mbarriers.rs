//! `mbarrier`, and `cp.async.mbarrier.arrive`.

use super::{Decoded, body::Decoder, modifiers::Modifiers, unsupported};
use crate::{
    kernel::{LoadError, MBARRIER_FIELD_BITS, Mbarrier, MbarrierAction, Op},
    lanes::{Slot, lanes},
    ptx::ast::{Instruction, Operand, Type},
};

/// The first target whose arrivals may count for more than one and complete a phase.
const COUNTED_ARRIVALS: u32 = 90;

impl Decoder<'_> {
    pub(super) fn mbarrier(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        if instruction.opcode != "mbarrier" {
            return Ok(None);
        }
        if modifiers.flag("pending_count") {
            let run = lanes!(a: u64 => u32 { a as u32 & ((1 << MBARRIER_FIELD_BITS) - 1) });
            return self.compute(instruction, run, Type::B32, &[Type::B64], 0);
        }
        // Arrivals release and waits acquire, for the block, unless they say otherwise; here they cannot.
        for word in ["release", "acquire", "cta"] {
            modifiers.flag(word);
        }
        let operands = instruction.operands.as_slice();
        let wrong = || unsupported(instruction, "operands of another form");
        let (address, action) = if modifiers.flag("init") {
            let [address, count] = operands else { return Err(wrong()) };
            (address, MbarrierAction::Init { count: self.source(instruction, count, Type::B32)? })
        } else if modifiers.flag("inval") {
            let [address] = operands else { return Err(wrong()) };
            (address, MbarrierAction::Invalidate)
        } else if modifiers.flag("test_wait") | modifiers.flag("try_wait") {
            let (d, address, state) = match operands {
                [d, address, state] => (d, address, state),
                // How long it may be suspended.
                [d, address, state, time] if instruction.modifiers.iter().any(|word| word == "try_wait") => {
                    self.source(instruction, time, Type::B32)?;
                    (d, address, state)
                }
                _ => return Err(wrong()),
            };
            let parity = modifiers.flag("parity");
            let state = self.source(instruction, state, if parity { Type::B32 } else { Type::B64 })?;
            let d = self.destination(instruction, d, Type::Pred)?;
            (address, MbarrierAction::Test { d, state, parity })
        } else {
            let drop = modifiers.flag("arrive_drop");
            modifiers.flag("arrive");
            let completes = !modifiers.flag("noComplete");
            let (d, address, count) = match operands {
                [d, address] if completes => (d, address, None),
                [d, address, count] => (d, address, Some(count)),
                _ => return Err(wrong()),
            };
            if completes && count.is_some() && self.module_target() < COUNTED_ARRIVALS {
                return Err(unsupported(instruction, format!("a count needs .target sm_{COUNTED_ARRIVALS}")));
            }
            let count = count.map(|count| self.source(instruction, count, Type::B32)).transpose()?;
            let d = self.state(instruction, d)?;
            (address, MbarrierAction::Arrive { d, count, drop, completes })
        };
        self.at_object(instruction, modifiers, address, action)
    }

    /// `cp.async.mbarrier.arrive`.
    pub(super) fn copies_arrive(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
    ) -> Decoded {
        modifiers.flag("arrive");
        let increments = !modifiers.flag("noinc");
        let [address] = self.operands(instruction)?;
        self.at_object(instruction, modifiers, address, MbarrierAction::ArriveAfterCopies { increments })
    }

    fn at_object(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
        address: &Operand,
        action: MbarrierAction,
    ) -> Decoded {
        let generic = !(modifiers.flag("shared") | modifiers.flag("shared::cta"));
        let (address, _) = self.address(instruction, address)?;
        Ok(Some(Op::Mbarrier(Box::new(Mbarrier { address, generic, action }))))
    }

    /// Where an arrival's state goes, if anywhere.
    fn state(&mut self, instruction: &Instruction, operand: &Operand) -> Result<Option<Slot>, LoadError> {
        match operand {
            Operand::Discard => Ok(None),
            operand => self.destination(instruction, operand, Type::B64).map(Some),
        }
    }
}

//! `malloc` and `free`, which every toolkit declares and the driver provides.

use super::{
    Decoded,
    body::{Binding, Decoder, Width},
    unsupported,
};
use crate::{
    kernel::{Address, Constant, Element, LoadError, MemoryOrder, Op, Target, Transfer},
    lanes::Slot,
    ptx::ast::{Instruction, Operand},
};

/// A parameter of 8 bytes.
const PARAMETER: Element = Element { bytes: 8, signed: false, register_bits: 64 };

impl Decoder<'_> {
    /// A call of one of them: its parameter is read, and what it returns is written.
    pub(super) fn memory_call(
        &mut self,
        instruction: &Instruction,
        name: &str,
        operands: [&[Operand]; 2],
    ) -> Decoded {
        let [results, arguments] = operands;
        let [argument] = arguments else { return Err(unsupported(instruction, "one argument is taken")) };
        let slot = self.slot(Width::W64);
        let given = self.parameter(instruction, argument, slot)?;
        self.emit(instruction, Op::Load(given))?;
        match (name, results) {
            ("free", []) => Ok(Some(Op::Free { address: slot })),
            ("malloc", [result]) => {
                let d = self.slot(Width::W64);
                let returned = self.parameter(instruction, result, d)?;
                self.emit(instruction, Op::Allocate { d, bytes: slot })?;
                Ok(Some(Op::Store(returned)))
            }
            _ => Err(unsupported(instruction, "results of another form")),
        }
    }

    /// The move between a parameter and a register.
    fn parameter(
        &mut self,
        instruction: &Instruction,
        operand: &Operand,
        slot: Slot,
    ) -> Result<Box<Transfer>, LoadError> {
        let Binding::Local(at) = self.argument(instruction, operand)? else {
            return Err(unsupported(instruction, "an argument that is no parameter"));
        };
        let base = self.constant(Constant::Wide(u64::from(at)));
        Ok(Box::new(Transfer {
            target: Target::Local,
            address: Address { base, wide: true, offset: 0 },
            element: PARAMETER,
            registers: vec![Some(slot)],
            order: MemoryOrder::default(),
        }))
    }
}

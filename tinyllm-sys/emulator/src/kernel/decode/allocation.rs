//! Memory that a thread asks for: on its stack, and with `malloc` and `free`, which every toolkit declares and the driver provides.

use super::{
    Decoded,
    body::{Decoder, Width},
    modifiers::Modifiers,
    unsupported,
};
use crate::{
    kernel::{Address, Constant, Element, LoadError, MemoryOrder, Op, Target, Transfer},
    lanes::Slot,
    ptx::ast::{Instruction, Operand, Statement},
};

/// A parameter of 8 bytes.
const PARAMETER: Element = Element { bytes: 8, signed: false, register_bits: 64 };

/// The largest alignment that is given: that of any access.
const MAX_ALIGN_BYTES: u64 = 128;

/// What `alloca` aligns to where nothing is said.
const ALIGN_BYTES: u64 = 8;

/// Whether a function allocates on its stack, which ends when it returns.
pub(super) fn uses_stack(statements: &[Statement]) -> bool {
    statements.iter().any(|statement| match statement {
        Statement::Block(inner) => uses_stack(inner),
        Statement::Instruction(instruction) => instruction.opcode == "alloca",
        _ => false,
    })
}

impl Decoder<'_> {
    /// `alloca`, `stacksave`, `stackrestore`.
    pub(super) fn stack(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        if !matches!(instruction.opcode.as_str(), "alloca" | "stacksave" | "stackrestore") {
            return Ok(None);
        }
        let ty = modifiers.ty()?;
        let wide = ty.bytes() == 8;
        match (instruction.opcode.as_str(), instruction.operands.as_slice()) {
            ("stacksave", [d]) => {
                let d = self.destination(instruction, d, ty)?;
                Ok(Some(Op::StackSave { d, wide }))
            }
            ("stackrestore", [a]) => {
                let a = self.source(instruction, a, ty)?;
                Ok(Some(Op::StackRestore { a, wide }))
            }
            ("alloca", [d, bytes, align @ ..]) => {
                let align = match align {
                    [] => ALIGN_BYTES,
                    [Operand::Integer(align)] if align.is_power_of_two() && *align <= MAX_ALIGN_BYTES => {
                        *align
                    }
                    _ => return Err(unsupported(instruction, "an alignment of another form")),
                };
                let bytes = self.source(instruction, bytes, ty)?;
                let d = self.destination(instruction, d, ty)?;
                Ok(Some(Op::StackAllocate { d, bytes, wide, align: align as u32 }))
            }
            _ => Err(unsupported(instruction, "operands of another form")),
        }
    }

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
        let given = self.passed(instruction, argument, slot)?;
        self.emit(instruction, Op::Load(given))?;
        match (name, results) {
            ("free", []) => Ok(Some(Op::Free { address: slot })),
            ("malloc", [result]) => {
                let d = self.slot(Width::W64);
                let returned = self.passed(instruction, result, d)?;
                self.emit(instruction, Op::Allocate { d, bytes: slot })?;
                Ok(Some(Op::Store(returned)))
            }
            _ => Err(unsupported(instruction, "results of another form")),
        }
    }

    /// The move between a parameter and a register.
    fn passed(
        &mut self,
        instruction: &Instruction,
        operand: &Operand,
        slot: Slot,
    ) -> Result<Box<Transfer>, LoadError> {
        let at = self.parameter(instruction, operand)?;
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

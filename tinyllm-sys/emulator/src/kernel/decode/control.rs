//! Branches, calls, ends and barriers of the block.

use super::{
    Decoded,
    body::{Binding, Decoder, Width},
    modifiers::Modifiers,
    operands::register_bits,
    unsupported,
};
use crate::{
    kernel::{AssertFail, Barrier, BarrierMode, Guard, LoadError, Op},
    lanes::{Operands, lanes},
    ptx::ast::{Instruction, Operand, Space, Type},
};

/// A device function that ends a kernel, without a body to look into.
const ABORT: &str = "abort";

/// The same with a message, which every toolkit declares and the driver provides.
const ASSERT_FAIL: &str = "__assertfail";

impl Decoder<'_> {
    pub(super) fn control(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        match instruction.opcode.as_str() {
            "bra" => {
                modifiers.flag("uni");
                let [Operand::Name(name)] = self.operands(instruction)? else {
                    return Err(unsupported(instruction, "no label"));
                };
                match self.lookup(name) {
                    Some(Binding::Label(target)) => Ok(Some(Op::Branch { target: *target })),
                    _ => Err(unsupported(instruction, format!("{name} is no label here"))),
                }
            }
            "brx" => {
                modifiers.flag("idx");
                modifiers.flag("uni");
                let [index, Operand::Name(table)] = self.operands(instruction)? else {
                    return Err(unsupported(instruction, "no table of labels"));
                };
                let Some(Binding::Table(labels)) = self.lookup(table).cloned() else {
                    return Err(unsupported(instruction, format!("{table} is no table of labels")));
                };
                let targets = labels.iter().map(|label| match self.lookup(label) {
                    Some(Binding::Label(target)) => Ok(*target),
                    _ => Err(unsupported(instruction, format!("{label} is no label here"))),
                });
                let targets = targets.collect::<Result<Vec<_>, _>>()?;
                let index = self.source(instruction, index, Type::B32)?;
                Ok(Some(Op::BranchIndexed { index, targets }))
            }
            "call" => {
                modifiers.flag("uni");
                self.call_of(instruction)
            }
            "ret" => {
                modifiers.flag("uni");
                Ok(Some(match self.return_label() {
                    Some(target) => Op::Branch { target },
                    None => Op::Exit,
                }))
            }
            "exit" => Ok(Some(Op::Exit)),
            // No debugger waits for a breakpoint.
            "trap" | "brkpt" => Ok(Some(Op::Trap)),
            "nanosleep" | "pmevent" => {
                modifiers.flag("mask");
                Ok(Some(Op::Nop))
            }
            "bar" | "barrier" => self.barrier(instruction, modifiers),
            _ => Ok(None),
        }
    }

    fn call_of(&mut self, instruction: &Instruction) -> Decoded {
        let empty = Vec::new();
        let (results, name, arguments) = match instruction.operands.as_slice() {
            [Operand::List(results), Operand::Name(name), Operand::List(arguments), ..] => {
                (results, name, arguments)
            }
            [Operand::List(results), Operand::Name(name)] => (results, name, &empty),
            [Operand::Name(name), Operand::List(arguments), ..] => (&empty, name, arguments),
            [Operand::Name(name)] | [Operand::Name(name), Operand::Name(_)] => (&empty, name, &empty),
            _ => return Err(unsupported(instruction, "operands of another form")),
        };
        if matches!(self.lookup(name), Some(Binding::Register { .. })) {
            self.call_through(instruction, name, [results, arguments])?;
            return Ok(Some(Op::Nop));
        }
        if name == ABORT {
            return Ok(Some(Op::Trap));
        }
        if matches!(name.as_str(), "malloc" | "free") && self.function(name).is_none() {
            return self.memory_call(instruction, name, [results, arguments]);
        }
        if name == ASSERT_FAIL {
            return self.assert_fail(instruction, arguments);
        }
        if name == "vprintf" {
            return self.print(instruction, results, arguments);
        }
        let actual = self.actual_parameters(instruction, name, results, arguments)?;
        self.call(instruction, name, actual)?;
        Ok(Some(Op::Nop))
    }

    /// What a call gives to a function's parameters, those that it returns first.
    pub(super) fn actual_parameters(
        &mut self,
        instruction: &Instruction,
        name: &str,
        results: &[Operand],
        arguments: &[Operand],
    ) -> Result<Vec<Binding>, LoadError> {
        let formal = self.formal_parameters(name);
        let mut actual = Vec::new();
        for operand in results {
            actual.push(self.argument(instruction, operand)?);
        }
        for (index, operand) in arguments.iter().enumerate() {
            let formal = formal.get(results.len() + index).copied();
            actual.push(match formal {
                // A register is the function's own: it starts with the caller's value.
                Some((Space::Register, ty)) => self.copied(instruction, operand, ty)?,
                _ => self.argument(instruction, operand)?,
            });
        }
        Ok(actual)
    }

    /// `vprintf`, which every toolkit declares and the driver provides: a format and the values behind it.
    fn print(&mut self, instruction: &Instruction, results: &[Operand], arguments: &[Operand]) -> Decoded {
        let mut place = |operand: &Operand| self.parameter(instruction, operand);
        let (result, format, arguments) = match (results, arguments) {
            ([], [format, arguments]) => (None, place(format)?, place(arguments)?),
            ([result], [format, arguments]) => (Some(place(result)?), place(format)?, place(arguments)?),
            _ => return Err(unsupported(instruction, "operands of another form")),
        };
        Ok(Some(Op::Print { format, arguments, result }))
    }

    /// `__assertfail`: message, file, line, function, and the size of a character, which is 1.
    fn assert_fail(&mut self, instruction: &Instruction, arguments: &[Operand]) -> Decoded {
        let [message, file, line, function, _] = arguments else {
            return Err(unsupported(instruction, "operands of another form"));
        };
        let mut place = |operand: &Operand| self.parameter(instruction, operand);
        let (message, file, line, function) = (place(message)?, place(file)?, place(line)?, place(function)?);
        Ok(Some(Op::AssertFail(Box::new(AssertFail { message, file, line, function }))))
    }

    /// Where in local memory an argument is.
    pub(super) fn parameter(
        &mut self,
        instruction: &Instruction,
        operand: &Operand,
    ) -> Result<u32, LoadError> {
        match self.argument(instruction, operand)? {
            Binding::Local(at) => Ok(at),
            _ => Err(unsupported(instruction, "an argument that is no parameter")),
        }
    }

    pub(super) fn argument(
        &mut self,
        instruction: &Instruction,
        operand: &Operand,
    ) -> Result<Binding, LoadError> {
        match operand {
            Operand::Name(name) => self.lookup(name).cloned(),
            _ => None,
        }
        .ok_or_else(|| unsupported(instruction, format!("{operand:?} as an argument")))
    }

    fn copied(
        &mut self,
        instruction: &Instruction,
        operand: &Operand,
        ty: Type,
    ) -> Result<Binding, LoadError> {
        if ty == Type::Pred {
            return Err(unsupported(instruction, "a predicate as an argument"));
        }
        let a = self.source(instruction, operand, ty)?;
        let (width, run) = match register_bits(ty) {
            64 => (Width::W64, lanes!(a: u64 => u64 { a })),
            16 => (Width::W16, lanes!(a: u32 => u32 { a })),
            _ => (Width::W32, lanes!(a: u32 => u32 { a })),
        };
        let slot = self.slot(width);
        self.step(instruction, run, Operands { d: slot, a, ..Operands::default() });
        Ok(Binding::Register { slot, width })
    }

    /// `bar.sync`, `bar.arrive`, `bar.red`, and the same of `barrier`, which need not be aligned.
    fn barrier(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        modifiers.flag("cta");
        if modifiers.flag("warp") {
            modifiers.flag("sync");
            let [members] = self.operands(instruction)?;
            let members = self.source(instruction, members, Type::B32)?;
            return Ok(Some(Op::WarpBarrier { members }));
        }
        let aligned = modifiers.flag("aligned") | (instruction.opcode == "bar");
        let reduce = modifiers.flag("red");
        let mode = match (reduce, modifiers.flag("sync"), modifiers.flag("arrive")) {
            (false, true, false) => BarrierMode::Sync,
            (false, false, true) => BarrierMode::Arrive,
            (true, false, false) => {
                let mode = modifiers.one_of(&[
                    ("popc", BarrierMode::Popc),
                    ("and", BarrierMode::And),
                    ("or", BarrierMode::Or),
                ]);
                mode.ok_or_else(|| unsupported(instruction, "no operation"))?
            }
            _ => return Err(unsupported(instruction, "this form")),
        };
        let mut operands = instruction.operands.as_slice();
        let mut d = crate::lanes::Slot::default();
        let mut predicate = None;
        if let (true, [result, middle @ .., last]) = (reduce, operands) {
            let ty = if mode == BarrierMode::Popc { Type::B32 } else { Type::Pred };
            d = self.destination(instruction, result, ty)?;
            predicate = Some(self.predicate(instruction, last)?);
            operands = middle;
        }
        let (id, threads) = match operands {
            [id] => (id, None),
            [id, threads] => (id, Some(self.source(instruction, threads, Type::B32)?)),
            _ => return Err(unsupported(instruction, "operands of another form")),
        };
        if mode == BarrierMode::Arrive && threads.is_none() {
            return Err(unsupported(instruction, "an arrival needs a count of threads"));
        }
        let id = self.source(instruction, id, Type::B32)?;
        let predicate = match predicate {
            Some(predicate) => predicate,
            None => Guard { predicate: self.slot(Width::Predicate), negated: false },
        };
        Ok(Some(Op::Barrier(Box::new(Barrier { mode, id, threads, aligned, d, predicate }))))
    }
}

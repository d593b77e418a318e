//! Operands: registers by width, constants, addresses, predicates.

use super::{
    body::{Binding, Decoder, Width},
    unsupported,
};
use crate::{
    kernel::{Address, Constant, Guard, LoadError, Op, Special},
    lanes::{LaneFn, Operands, Slot, lanes},
    ptx::ast::{Instruction, Operand, Type},
};

/// Bits of a register that holds a type.
pub(super) fn register_bits(ty: Type) -> u32 {
    match ty {
        Type::Pred => 1,
        Type::B8 | Type::U8 | Type::S8 | Type::B16 | Type::U16 | Type::S16 | Type::F16 | Type::Bf16 => 16,
        Type::B64 | Type::U64 | Type::S64 | Type::F64 | Type::B128 => 64,
        _ => 32,
    }
}

/// The special register of a name, without its `%`; those that change are read by `mov` alone.
fn special(name: &str) -> Option<Special> {
    let axis = |axis: &str| ["x", "y", "z"].iter().position(|name| *name == axis);
    if let Some((base, component)) = name.split_once('.') {
        let axis = axis(component);
        return match base {
            "%tid" => {
                axis.map_or((component == "w").then_some(Special::Zero), |axis| Some(Special::Thread(axis)))
            }
            "%ntid" => Some(Special::ThreadCount(axis?)),
            "%ctaid" => {
                axis.map_or((component == "w").then_some(Special::Zero), |axis| Some(Special::Block(axis)))
            }
            "%nctaid" => Some(Special::BlockCount(axis?)),
            _ => None,
        };
    }
    Some(match name {
        "%laneid" => Special::Lane,
        "%warpid" => Special::Warp,
        "%nwarpid" => Special::WarpCount,
        "%smid" => Special::Multiprocessor,
        "%nsmid" => Special::MultiprocessorCount,
        "%gridid" => Special::GridId,
        "%lanemask_eq" => Special::LaneMaskEqual,
        "%lanemask_lt" => Special::LaneMaskLess,
        "%lanemask_le" => Special::LaneMaskLessEqual,
        "%lanemask_gt" => Special::LaneMaskGreater,
        "%lanemask_ge" => Special::LaneMaskGreaterEqual,
        "%dynamic_smem_size" => Special::DynamicSharedBytes,
        "%total_smem_size" => Special::TotalSharedBytes,
        _ => return numbered(name),
    })
}

/// `%envreg0` to `%envreg31`, and the counters `%pm0` to `%pm7`, which count nothing here.
fn numbered(name: &str) -> Option<Special> {
    if let Some(number) = name.strip_prefix("%envreg") {
        let number: u32 = number.parse().ok()?;
        return (number < 32).then_some(Special::Environment(number));
    }
    let number: u32 = name.strip_prefix("%pm")?.trim_end_matches("_64").parse().ok()?;
    (number < 8).then_some(Special::Zero)
}

impl Decoder<'_> {
    /// As many operands as the form has.
    pub(super) fn operands<'i, const N: usize>(
        &self,
        instruction: &'i Instruction,
    ) -> Result<&'i [Operand; N], LoadError> {
        instruction.operands.as_slice().try_into().map_err(|_| {
            unsupported(instruction, format!("{} operands, this form has {N}", instruction.operands.len()))
        })
    }

    pub(super) fn guard_of(&mut self, instruction: &Instruction) -> Result<Option<Guard>, LoadError> {
        let Some(guard) = &instruction.guard else { return Ok(None) };
        let predicate = self.predicate(instruction, &Operand::Name(guard.register.clone()))?;
        Ok(Some(Guard { negated: guard.negated != predicate.negated, ..predicate }))
    }

    /// A predicate as an input, `!p` included.
    pub(super) fn predicate(
        &mut self,
        instruction: &Instruction,
        operand: &Operand,
    ) -> Result<Guard, LoadError> {
        match operand {
            Operand::Name(name) => match self.lookup(name) {
                Some(Binding::Register { slot, width: Width::Predicate }) => {
                    Ok(Guard { predicate: *slot, negated: false })
                }
                _ => Err(unsupported(instruction, format!("{name} is no predicate"))),
            },
            Operand::Not(inner) => {
                let guard = self.predicate(instruction, inner)?;
                Ok(Guard { negated: !guard.negated, ..guard })
            }
            // A constant is a predicate that is never set, or its opposite.
            Operand::Integer(value) => {
                let predicate = self.slot(Width::Predicate);
                Ok(Guard { predicate, negated: *value != 0 })
            }
            other => Err(unsupported(instruction, format!("{other:?} is no predicate"))),
        }
    }

    /// A predicate as a lane function reads it: `!p` is put into one of its own first.
    pub(super) fn predicate_slot(
        &mut self,
        instruction: &Instruction,
        operand: &Operand,
    ) -> Result<Slot, LoadError> {
        let guard = self.predicate(instruction, operand)?;
        if !guard.negated {
            return Ok(guard.predicate);
        }
        let d = self.slot(Width::Predicate);
        let run = lanes!(a: bool => bool { !a });
        let operands = Operands { d, a: guard.predicate, ..Operands::default() };
        self.emit_guarded(instruction, Op::lanes(run, operands), None);
        Ok(d)
    }

    /// A register, special register, constant or address, of a type.
    pub(super) fn source(
        &mut self,
        instruction: &Instruction,
        operand: &Operand,
        ty: Type,
    ) -> Result<Slot, LoadError> {
        let bits = register_bits(ty);
        match operand {
            Operand::Name(name) => match self.lookup(name) {
                Some(Binding::Register { slot, width }) if width.bits() == bits => Ok(*slot),
                Some(Binding::Register { width, .. }) => {
                    let problem = format!("{name} has {} bits where {bits} are needed", width.bits());
                    Err(unsupported(instruction, problem))
                }
                _ => self.named_value(instruction, name, 0, bits),
            },
            Operand::Offset(name, offset) => self.named_value(instruction, name, *offset, bits),
            Operand::Element(name, index) => {
                let offset = self.element_offset(instruction, name, *index)?;
                self.named_value(instruction, name, offset, bits)
            }
            Operand::Integer(value) => Ok(self.constant(match bits {
                64 => Constant::Wide(*value),
                16 => Constant::Narrow(*value as u32 & 0xffff),
                _ => Constant::Narrow(*value as u32),
            })),
            Operand::F32(value) if ty == Type::F64 => {
                Ok(self.constant(Constant::Wide(f64::from(f32::from_bits(*value)).to_bits())))
            }
            Operand::F32(value) if bits == 32 => Ok(self.constant(Constant::Narrow(*value))),
            Operand::F64(value) if bits == 64 => Ok(self.constant(Constant::Wide(*value))),
            Operand::F64(value) if ty == Type::F32 => {
                Ok(self.constant(Constant::Narrow((f64::from_bits(*value) as f32).to_bits())))
            }
            other => Err(unsupported(instruction, format!("{other:?} as a value of {bits} bits"))),
        }
    }

    /// A name that is not a register, as a value.
    fn named_value(
        &mut self,
        instruction: &Instruction,
        name: &str,
        offset: i64,
        bits: u32,
    ) -> Result<Slot, LoadError> {
        let narrow = |value: i64| {
            if bits == 64 { Constant::Wide(value as u64) } else { Constant::Narrow(value as u32) }
        };
        let at = match self.lookup(name) {
            Some(Binding::Shared(at) | Binding::Local(at) | Binding::Param(at)) => Some(i64::from(*at)),
            Some(Binding::DynamicShared) => {
                let slot = self.dynamic_shared(instruction, offset, bits)?;
                return Ok(slot);
            }
            _ => None,
        };
        if let Some(at) = at {
            return Ok(self.constant(narrow(at + offset)));
        }
        if self.is_global(name) {
            if bits != 64 {
                return Err(unsupported(instruction, format!("the address of {name} in {bits} bits")));
            }
            return Ok(self.constant(Constant::Symbol(name.to_owned(), offset)));
        }
        if self.function(name).is_some_and(|function| !function.kernel) {
            if bits != 64 {
                return Err(unsupported(instruction, format!("the address of {name} in {bits} bits")));
            }
            return Ok(self.constant(Constant::Symbol(name.to_owned(), offset)));
        }
        if name == "WARP_SZ" {
            return Ok(self.constant(narrow(32)));
        }
        if matches!(
            name,
            "%clock" | "%clock_hi" | "%clock64" | "%globaltimer" | "%globaltimer_lo" | "%globaltimer_hi"
        ) {
            return self.clock(instruction, name, bits);
        }
        match special(name) {
            Some(special) if bits == 64 => {
                // Only the grid's number is ever read so: it is 0 in its upper half.
                let low = self.special(special);
                let d = self.slot(Width::W64);
                let run = lanes!(a: u32 => u64 { u64::from(a) });
                let operands = Operands { d, a: low, ..Operands::default() };
                self.emit_guarded(instruction, Op::lanes(run, operands), None);
                Ok(d)
            }
            Some(special) => Ok(self.special(special)),
            None => Err(unsupported(instruction, format!("{name} is not declared"))),
        }
    }

    /// How far from an array's start an element is. ptxas counts what the array's type names: `.v4 .f32 a[8]` has 32 of them.
    fn element_offset(&self, instruction: &Instruction, name: &str, index: i64) -> Result<i64, LoadError> {
        let Some(bytes) = self.element_bytes(name) else {
            return Err(unsupported(instruction, format!("{name} is no array")));
        };
        let offset = index.checked_mul(i64::from(bytes));
        offset.ok_or_else(|| unsupported(instruction, format!("the element {index} of {name}")))
    }

    fn clock(&mut self, instruction: &Instruction, name: &str, bits: u32) -> Result<Slot, LoadError> {
        if name.ends_with("_hi") {
            return Ok(self.special(Special::Zero));
        }
        let wide = bits == 64;
        let d = self.slot(if wide { Width::W64 } else { Width::W32 });
        self.emit_guarded(instruction, Op::Clock { d, wide }, None);
        Ok(d)
    }

    /// An address in the shared memory asked for at launch: it begins where the kernel's own ends, which only the whole
    /// kernel tells.
    fn dynamic_shared(
        &mut self,
        instruction: &Instruction,
        offset: i64,
        bits: u32,
    ) -> Result<Slot, LoadError> {
        let base = self.special(Special::DynamicSharedStart);
        let add = self.constant(Constant::Narrow(offset as u32));
        let d = self.slot(if bits == 64 { Width::W64 } else { Width::W32 });
        let run = match bits {
            64 => lanes!(a: u32, b: u32 => u64 { u64::from(a.wrapping_add(b)) }),
            _ => lanes!(a: u32, b: u32 => u32 { a.wrapping_add(b) }),
        };
        let operands = Operands { d, a: base, b: add, ..Operands::default() };
        self.emit_guarded(instruction, Op::lanes(run, operands), None);
        Ok(d)
    }

    /// Where a result goes; `_` is a register that is never read.
    pub(super) fn destination(
        &mut self,
        instruction: &Instruction,
        operand: &Operand,
        ty: Type,
    ) -> Result<Slot, LoadError> {
        let bits = register_bits(ty);
        match operand {
            Operand::Name(name) => match self.lookup(name) {
                Some(Binding::Register { slot, width }) if width.bits() == bits => Ok(*slot),
                Some(Binding::Register { width, .. }) => {
                    let problem = format!("{name} has {} bits, the result {bits}", width.bits());
                    Err(unsupported(instruction, problem))
                }
                _ => Err(unsupported(instruction, format!("{name} is no register"))),
            },
            Operand::Discard => Ok(self.slot(match bits {
                1 => Width::Predicate,
                64 => Width::W64,
                _ => Width::W32,
            })),
            other => Err(unsupported(instruction, format!("{other:?} as a result"))),
        }
    }

    /// A function of a result and inputs, each of a type; as many operands as that.
    pub(super) fn compute(
        &mut self,
        instruction: &Instruction,
        run: LaneFn,
        d: Type,
        inputs: &[Type],
        imm: u32,
    ) -> Result<Option<Op>, LoadError> {
        if instruction.operands.len() != inputs.len() + 1 {
            let problem =
                format!("{} operands, this form has {}", instruction.operands.len(), inputs.len() + 1);
            return Err(unsupported(instruction, problem));
        }
        let mut slots = [Slot::default(); 3];
        for ((slot, operand), ty) in slots.iter_mut().zip(&instruction.operands[1..]).zip(inputs) {
            *slot = match ty {
                Type::Pred => self.predicate_slot(instruction, operand)?,
                ty => self.source(instruction, operand, *ty)?,
            };
        }
        let d = self.destination(instruction, &instruction.operands[0], d)?;
        let [a, b, c] = slots;
        Ok(Some(Op::lanes(run, Operands { d, a, b, c, imm, ..Operands::default() })))
    }

    /// Adds a step of an instruction that takes several.
    pub(super) fn step(&mut self, instruction: &Instruction, run: LaneFn, operands: Operands) {
        self.emit_guarded(instruction, Op::lanes(run, operands), self.guard);
    }

    /// A register of whatever width, with its bits.
    pub(super) fn any_register(
        &self,
        instruction: &Instruction,
        operand: &Operand,
    ) -> Result<(Slot, u32), LoadError> {
        if let Operand::Name(name) = operand
            && let Some(Binding::Register { slot, width }) = self.lookup(name)
        {
            return Ok((*slot, width.bits()));
        }
        Err(unsupported(instruction, format!("{operand:?} is no register")))
    }

    /// An address, and the space its name says it is in.
    pub(super) fn address(
        &mut self,
        instruction: &Instruction,
        operand: &Operand,
    ) -> Result<(Address, Option<Binding>), LoadError> {
        let (base, offset) = match operand {
            Operand::Address { base, offset } => (base.as_deref(), *offset),
            Operand::Element(name, index) => {
                (Some(name.as_str()), self.element_offset(instruction, name, *index)?)
            }
            // Old code leaves the brackets out of texture-like forms only; nothing here has them.
            other => return Err(unsupported(instruction, format!("{other:?} is no address"))),
        };
        let Some(name) = base else {
            let base = self.constant(Constant::Wide(offset as u64));
            return Ok((Address { base, wide: true, offset: 0 }, None));
        };
        match self.lookup(name).cloned() {
            Some(Binding::Register { slot, width: Width::W64 }) => {
                Ok((Address { base: slot, wide: true, offset }, None))
            }
            Some(Binding::Register { slot, width: Width::W32 }) => {
                Ok((Address { base: slot, wide: false, offset }, None))
            }
            Some(Binding::Register { .. }) => {
                Err(unsupported(instruction, format!("{name} holds no address")))
            }
            binding => {
                let base = self.named_value(instruction, name, offset, 64)?;
                Ok((Address { base, wide: true, offset: 0 }, binding))
            }
        }
    }
}

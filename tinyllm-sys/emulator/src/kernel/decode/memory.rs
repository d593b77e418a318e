//! Loads, stores, atomics and asynchronous copies.

use super::{
    Decoded,
    body::{Binding, Decoder},
    modifiers::Modifiers,
    operands::register_bits,
    unsupported,
};
use crate::{
    kernel::{
        Address, Atomic, AtomicKind, Element, LoadError, MemoryOrder, Op, Scope, Target, Transfer,
        op::AtomicType,
    },
    lanes::Slot,
    ptx::ast::{Instruction, Operand, Type},
};

/// State spaces as modifiers name them. Constant memory is memory of the device that is not written.
const SPACES: [(&str, Target); 6] = [
    ("global", Target::Global),
    ("const", Target::Global),
    ("shared", Target::Shared),
    ("shared::cta", Target::Shared),
    ("local", Target::Local),
    ("param", Target::Param),
];

fn take_scope(modifiers: &mut Modifiers<'_>) -> Option<Scope> {
    modifiers.one_of(&[("cta", Scope::Block), ("gpu", Scope::Device), ("sys", Scope::Device)])
}

fn is_signed(ty: Type) -> bool {
    matches!(ty, Type::S8 | Type::S16 | Type::S32 | Type::S64)
}

impl Decoder<'_> {
    pub(super) fn memory(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        match instruction.opcode.as_str() {
            "ld" | "ldu" => self.load(instruction, modifiers),
            "st" => self.store(instruction, modifiers),
            "atom" | "red" => self.atomic(instruction, modifiers),
            "cp" => self.copy_async(instruction, modifiers),
            "createpolicy" => self.cache_policy(instruction, modifiers),
            "prefetch" | "prefetchu" | "discard" | "applypriority" => {
                modifiers.cache_hints();
                for hint in ["global", "local", "L1", "L2"] {
                    modifiers.flag(hint);
                }
                Ok(Some(Op::Nop))
            }
            "membar" | "fence" => {
                // `membar.cta`, `.gl` and `.sys` are `fence.sc` of the scopes `.cta`, `.gpu` and `.sys`. Every fence acquires and releases.
                let scope = take_scope(modifiers).unwrap_or(Scope::Device);
                for word in ["gl", "sc", "acq_rel"] {
                    modifiers.flag(word);
                }
                Ok(Some(Op::Fence { scope }))
            }
            _ => Ok(None),
        }
    }

    /// Weak unless it says otherwise. "A volatile operation has the same memory synchronization semantics as relaxed.sys."
    fn order(&self, modifiers: &mut Modifiers<'_>) -> MemoryOrder {
        let scope = take_scope(modifiers).unwrap_or(Scope::Device);
        for word in ["weak", "mmio"] {
            modifiers.flag(word);
        }
        let (acquires, releases) = (modifiers.flag("acquire"), modifiers.flag("release"));
        let strong = modifiers.flag("volatile") | modifiers.flag("relaxed") | acquires | releases;
        MemoryOrder { scope: strong.then_some(scope), acquires, releases }
    }

    /// The space of an access, by its modifier or by the name in its address.
    pub(super) fn target(&self, modifiers: &mut Modifiers<'_>, named: Option<&Binding>) -> Target {
        match (modifiers.one_of(&SPACES), named) {
            // Parameters of device functions are local memory.
            (Some(Target::Param) | None, Some(Binding::Local(_))) => Target::Local,
            (None, Some(Binding::Shared(_) | Binding::DynamicShared)) => Target::Shared,
            (None, Some(Binding::Param(_))) => Target::Param,
            (Some(target), _) => target,
            (None, _) => Target::Generic,
        }
    }

    /// The type of an element in memory, how many, and the registers of a load or a store.
    fn element(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
        operand: &Operand,
        load: bool,
    ) -> Result<(Element, Vec<Option<Slot>>), LoadError> {
        let ty = modifiers.ty()?;
        let count = modifiers.one_of(&[("v2", 2), ("v4", 4)]).unwrap_or(1);
        let single = std::slice::from_ref(operand);
        let list = match operand {
            Operand::Vector(list) => list.as_slice(),
            _ => single,
        };
        if list.len() != count as usize {
            return Err(unsupported(instruction, format!("{} registers for {count} elements", list.len())));
        }
        let mut widths = Vec::new();
        let mut registers = Vec::new();
        for operand in list {
            registers.push(match operand {
                Operand::Discard if load => None,
                operand => match self.any_register(instruction, operand) {
                    Ok((slot, width)) if width >= register_bits(ty) => {
                        widths.push(width);
                        Some(slot)
                    }
                    Ok((_, width)) => {
                        return Err(unsupported(
                            instruction,
                            format!("a register of {width} bits for this type"),
                        ));
                    }
                    Err(error) if load => return Err(error),
                    Err(_) => {
                        widths.push(register_bits(ty));
                        Some(self.source(instruction, operand, ty)?)
                    }
                },
            });
        }
        let register_width = widths.iter().copied().max().unwrap_or(register_bits(ty));
        if register_width == 64 && widths.iter().any(|width| *width != 64) {
            return Err(unsupported(instruction, "registers of 64 bits beside smaller ones"));
        }
        Ok((Element { bytes: ty.bytes(), signed: is_signed(ty), register_bits: register_width }, registers))
    }

    fn load(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let (d, address) = match instruction.operands.as_slice() {
            [d, address] => (d, address),
            [d, address, policy] if modifiers.flag("L2::cache_hint") => {
                self.source(instruction, policy, Type::B64)?;
                (d, address)
            }
            _ => return Err(unsupported(instruction, "operands of another form")),
        };
        let order = self.order(modifiers);
        modifiers.cache_hints();
        let (element, registers) = self.element(instruction, modifiers, d, true)?;
        if let Operand::Address { base: Some(name), offset } = address
            && let Some(Binding::Param(at)) = self.lookup(name)
        {
            let offset = i64::from(*at) + offset;
            let end = offset + i64::from(element.bytes) * registers.len() as i64;
            modifiers.one_of(&SPACES);
            if offset < 0 || end > i64::from(self.param_bytes()) {
                return Err(unsupported(instruction, "outside of the kernel's parameters"));
            }
            // The address is the same for every lane; the one in the transfer is not looked at.
            let address = Address { base: Slot::default(), wide: false, offset };
            let transfer = Transfer { target: Target::Param, address, element, registers, order };
            return Ok(Some(Op::LoadParam { offset: offset as u32, transfer: Box::new(transfer) }));
        }
        let (address, named) = self.address(instruction, address)?;
        let target = self.target(modifiers, named.as_ref());
        Ok(Some(Op::Load(Box::new(Transfer { target, address, element, registers, order }))))
    }

    fn store(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let (address, value) = match instruction.operands.as_slice() {
            [address, value] => (address, value),
            [address, value, policy] if modifiers.flag("L2::cache_hint") => {
                self.source(instruction, policy, Type::B64)?;
                (address, value)
            }
            _ => return Err(unsupported(instruction, "operands of another form")),
        };
        let order = self.order(modifiers);
        modifiers.cache_hints();
        let (element, registers) = self.element(instruction, modifiers, value, false)?;
        let (address, named) = self.address(instruction, address)?;
        let target = self.target(modifiers, named.as_ref());
        if target == Target::Param {
            return Err(unsupported(instruction, "a kernel's parameters are not written"));
        }
        Ok(Some(Op::Store(Box::new(Transfer { target, address, element, registers, order }))))
    }

    fn atomic(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let returns = instruction.opcode == "atom";
        // Relaxed, and of the device's scope, unless it says otherwise.
        let scope = Some(take_scope(modifiers).unwrap_or(Scope::Device));
        for word in ["relaxed", "noftz"] {
            modifiers.flag(word);
        }
        let both = modifiers.flag("acq_rel");
        let (acquires, releases) = (modifiers.flag("acquire") | both, modifiers.flag("release") | both);
        let order = MemoryOrder { scope, acquires, releases };
        modifiers.cache_hints();
        let kind = modifiers.one_of(&[
            ("add", AtomicKind::Add),
            ("and", AtomicKind::And),
            ("or", AtomicKind::Or),
            ("xor", AtomicKind::Xor),
            ("min", AtomicKind::Min),
            ("max", AtomicKind::Max),
            ("inc", AtomicKind::Inc),
            ("dec", AtomicKind::Dec),
            ("exch", AtomicKind::Exchange),
            ("cas", AtomicKind::CompareExchange),
        ]);
        let kind = kind.ok_or_else(|| unsupported(instruction, "no operation"))?;
        let ty = modifiers.ty()?;
        let seen = match ty {
            Type::B16 | Type::B32 | Type::B64 => AtomicType::Bits,
            Type::U32 | Type::U64 => AtomicType::Unsigned,
            Type::S32 | Type::S64 => AtomicType::Signed,
            Type::F16 => AtomicType::F16,
            Type::F16x2 => AtomicType::F16x2,
            Type::Bf16 => AtomicType::Bf16,
            Type::Bf16x2 => AtomicType::Bf16x2,
            Type::F32 => AtomicType::F32,
            Type::F64 => AtomicType::F64,
            _ => return Err(unsupported(instruction, "this type")),
        };
        let (d, rest) = match (returns, instruction.operands.as_slice()) {
            (true, [d, rest @ ..]) => (Some(d), rest),
            (_, rest) => (None, rest),
        };
        let (address, b, c) = match (kind, rest) {
            (AtomicKind::CompareExchange, [address, b, c]) => (address, b, Some(c)),
            (AtomicKind::CompareExchange, _) => {
                return Err(unsupported(instruction, "operands of another form"));
            }
            (_, [address, b]) => (address, b, None),
            _ => return Err(unsupported(instruction, "operands of another form")),
        };
        let (address, named) = self.address(instruction, address)?;
        let target = self.target(modifiers, named.as_ref());
        if !matches!(target, Target::Global | Target::Shared | Target::Generic) {
            return Err(unsupported(instruction, "an atomic in this space"));
        }
        let b = self.source(instruction, b, ty)?;
        let c = c.map_or(Ok(b), |c| self.source(instruction, c, ty))?;
        let d = match d {
            Some(Operand::Discard) | None => None,
            Some(d) => Some(self.destination(instruction, d, ty)?),
        };
        Ok(Some(Op::Atomic(Box::new(Atomic {
            target,
            address,
            kind,
            ty: seen,
            bytes: ty.bytes(),
            d,
            b,
            c,
            register_bits: register_bits(ty),
            order,
        }))))
    }

    fn copy_async(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        if !modifiers.flag("async") {
            return Err(unsupported(instruction, "only cp.async"));
        }
        if modifiers.flag("mbarrier") {
            return self.copies_arrive(instruction, modifiers);
        }
        if modifiers.flag("commit_group") {
            return Ok(Some(Op::CommitCopies));
        }
        if modifiers.flag("wait_all") {
            return Ok(Some(Op::WaitAllCopies));
        }
        if modifiers.flag("wait_group") {
            let [Operand::Integer(groups)] = self.operands(instruction)? else {
                return Err(unsupported(instruction, "a count that is no constant"));
            };
            return Ok(Some(Op::WaitCopies { groups: u32::try_from(*groups).unwrap_or(u32::MAX) }));
        }
        let whole_line = modifiers.one_of(&[("ca", false), ("cg", true)]);
        let whole_line = whole_line.ok_or_else(|| unsupported(instruction, "neither .ca nor .cg"))?;
        let spaces = modifiers.flag("shared") | modifiers.flag("shared::cta");
        if !(spaces & modifiers.flag("global")) {
            return Err(unsupported(instruction, "only from global to shared memory"));
        }
        let policy = modifiers.flag("L2::cache_hint");
        modifiers.cache_hints();
        let mut operands = instruction.operands.as_slice();
        if let (true, [before @ .., policy]) = (policy && operands.len() > 3, operands) {
            self.source(instruction, policy, Type::B64)?;
            operands = before;
        }
        let (to, from, bytes, rest) = match operands {
            [to, from, Operand::Integer(bytes), rest @ ..] => (to, from, *bytes, rest),
            _ => return Err(unsupported(instruction, "operands of another form")),
        };
        let fits = if whole_line { bytes == 16 } else { matches!(bytes, 4 | 8 | 16) };
        if !fits {
            return Err(unsupported(instruction, format!("copies of {bytes} bytes")));
        }
        let (mut source_bytes, mut ignore) = (None, None);
        match rest {
            [] => {}
            [size] => match self.any_register(instruction, size) {
                Ok((_, 1)) => ignore = Some(self.predicate(instruction, size)?),
                _ if matches!(size, Operand::Not(_)) => ignore = Some(self.predicate(instruction, size)?),
                _ => source_bytes = Some(self.source(instruction, size, Type::B32)?),
            },
            _ => return Err(unsupported(instruction, "operands of another form")),
        }
        let (to, _) = self.address(instruction, to)?;
        let (from, _) = self.address(instruction, from)?;
        Ok(Some(Op::CopyAsync { to, from, bytes: bytes as u32, source_bytes, ignore }))
    }
}

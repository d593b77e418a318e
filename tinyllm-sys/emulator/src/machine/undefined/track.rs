//! An instruction of a warp that has undefined values, before it runs: what of it shows is reported, what it sets is noted.

use super::{Origin, Undefined, atomic::atomic_operands, register_class, report::Use};
use crate::{
    kernel::{
        Address, BarrierMode, Element, Instr, Mbarrier, MbarrierAction, Op, ReduceMode, Target, Transfer,
        VoteMode,
    },
    lanes::{Class, LANES, Slot},
    machine::{
        addresses::addresses,
        context::Context,
        exchange::{self, Shuffle, holds},
        memory::parts,
        shared::Shared,
        transfer::lanes_of,
        warp::Warp,
    },
};

impl Context<'_> {
    /// Before an instruction of the lanes of `mask` runs in those of `active`. Gives whether it stores something undefined, which
    /// [`Context::track_store`] then has to be told of.
    #[inline(never)]
    pub(in crate::machine) fn track(&mut self, warp: &mut Warp, pc: u32, mask: u32, active: u32) -> bool {
        let Some(mut undefined) = warp.undefined.take() else { return false };
        let kernel = self.launch.kernel;
        let uses = &kernel.slot_uses()[pc as usize];
        let reads_undefined =
            uses.reads.iter().any(|(slot, class)| undefined.lanes(*slot, *class) & mask != 0);
        let mut stores = false;
        if reads_undefined {
            stores = self.track_reads(&mut undefined, warp, pc, mask, active, &kernel.code[pc as usize]);
        } else {
            uses.writes.iter().for_each(|(slot, class)| undefined.clear(*slot, *class, active));
        }
        warp.undefined = Some(undefined);
        stores
    }

    fn track_reads(
        &mut self,
        undefined: &mut Undefined,
        warp: &Warp,
        pc: u32,
        mask: u32,
        active: u32,
        instruction: &Instr,
    ) -> bool {
        let registers = &warp.registers;
        let used = |how: &'static str| Use { pc, warp: warp.index, how };
        let guard = instruction.guard.map(|guard| guard.predicate);
        let unsure: Vec<(usize, Origin)> = guard.map_or_else(Vec::new, |slot| {
            let lanes = lanes_of(undefined.lanes(slot, Class::Predicate) & mask);
            lanes.map(|lane| (lane, undefined.origin_of(slot, Class::Predicate, lane))).collect()
        });
        if let (Some(guard), Some(how)) = (guard, guard_shows(&instruction.op)) {
            self.find_use(undefined, (guard, Class::Predicate), mask, used(how));
        }
        // What is used whatever comes of it.
        let operands = |slots: &[Slot]| slots.iter().map(|slot| (*slot, Class::Row)).collect::<Vec<_>>();
        let (shows, how) = match &instruction.op {
            Op::Load(transfer) | Op::Store(transfer) => (vec![base(transfer.address)], "used as an address"),
            Op::LoadMatrix { address, .. } => (vec![base(*address)], "used as an address"),
            Op::StackAllocate { bytes, wide, .. } => {
                (vec![(*bytes, if *wide { Class::Pair } else { Class::Row })], "given to alloca")
            }
            Op::StackRestore { a, wide } => {
                (vec![(*a, if *wide { Class::Pair } else { Class::Row })], "given to stackrestore")
            }
            Op::Allocate { bytes, .. } => (vec![(*bytes, Class::Pair)], "given to malloc"),
            Op::Free { address } => (vec![(*address, Class::Pair)], "freed"),
            Op::Mbarrier(mbarrier) => (mbarrier_operands(mbarrier), "given to an mbarrier"),
            Op::Atomic(atomic) => (vec![base(atomic.address)], "used as an address"),
            Op::CopyAsync { to, from, .. } => (vec![base(*to), base(*from)], "used as an address"),
            Op::Shuffle { b, c, members, .. } => (operands(&[*b, *c, *members]), "chooses lanes"),
            Op::Vote { members, .. } | Op::Match { members, .. } | Op::Reduce { members, .. } => {
                (operands(&[*members]), "chooses lanes")
            }
            Op::WarpBarrier { members } => (operands(&[*members]), "chooses lanes"),
            Op::BranchIndexed { index, .. } => (operands(&[*index]), "decides a branch"),
            _ => (Vec::new(), ""),
        };
        for shown in shows {
            self.find_use(undefined, shown, active, used(how));
        }
        let mut stores = false;
        match &instruction.op {
            Op::Lanes { run, signature, operands } => {
                undefined.spread(registers, *run, signature, operands, active, &unsure);
                return false;
            }
            Op::Store(transfer) => {
                let values = values(transfer);
                let is_stored = |value: &(Slot, Class)| undefined.lanes(value.0, value.1) & active != 0;
                if values.iter().any(is_stored) {
                    let global =
                        global_lanes(transfer.target, &addresses(registers, transfer.address), active);
                    for value in &values {
                        undefined.keep_bits(*value, transfer.element, active);
                        self.find_use(undefined, *value, global, used("stored to global memory"));
                    }
                    stores = values.iter().any(|(slot, class)| undefined.lanes(*slot, *class) & active != 0);
                }
            }
            Op::Atomic(atomic) => {
                let class = register_class(atomic.register_bits);
                let global = global_lanes(atomic.target, &addresses(registers, atomic.address), active);
                for slot in atomic_operands(atomic) {
                    self.find_use(undefined, (slot, class), global, used("given to an atomic"));
                }
                // What shared memory and the result hold then depends on the lanes before.
                return false;
            }
            Op::CopyAsync { source_bytes, ignore, .. } => {
                if let Some(slot) = source_bytes {
                    self.find_use(undefined, (*slot, Class::Row), active, used("decides what is copied"));
                }
                if let Some(guard) = ignore {
                    let predicate = (guard.predicate, Class::Predicate);
                    self.find_use(undefined, predicate, active, used("decides what is copied"));
                }
            }
            Op::Barrier(barrier) => {
                let numbers = [Some(barrier.id), barrier.threads];
                for slot in numbers.into_iter().flatten() {
                    self.find_use(undefined, (slot, Class::Row), active, used("given to a barrier"));
                }
                if !matches!(barrier.mode, BarrierMode::Sync | BarrierMode::Arrive) {
                    let predicate = (barrier.predicate.predicate, Class::Predicate);
                    self.find_use(undefined, predicate, active, used("given to a barrier"));
                }
            }
            Op::IsSpace { d, a, .. } => {
                for lane in lanes_of(active) {
                    let bits = u64::from(undefined.bits(*a, Class::Pair, lane) != 0);
                    let origin = undefined.origin_of(*a, Class::Pair, lane);
                    undefined.set(*d, Class::Predicate, lane, bits, origin);
                }
                return false;
            }
            Op::Mma(mma) => {
                undefined.multiply(registers, active, mma);
                return false;
            }
            Op::Transpose { d, a } => {
                undefined.transpose(*d, *a, active);
                return false;
            }
            Op::Shuffle { mode, d, valid, a, b, c, .. } => {
                let shuffle = Shuffle { mode: *mode, d: *d, valid: *valid, a: *a, b: *b, c: *c };
                let (from, _) = exchange::sources(registers, shuffle);
                undefined.shuffle(*a, *d, active, &from);
                if let Some(valid) = valid {
                    undefined.clear(*valid, Class::Predicate, active);
                }
                return false;
            }
            Op::Vote { mode, d, a, .. } => {
                let set = holds(registers, *a) & active;
                undefined.vote(*mode, *d, a.predicate, set, active);
                return false;
            }
            Op::Match { d, valid, a, wide, .. } => {
                let class = if *wide { Class::Pair } else { Class::Row };
                let results = [Some((*d, Class::Row)), valid.map(|valid| (valid, Class::Predicate))];
                undefined.all_from((*a, class), results.into_iter().flatten(), u64::MAX, active);
                return false;
            }
            Op::Reduce { mode, d, a, .. } => {
                let all = lanes_of(active).fold(0, |bits, lane| bits | undefined.bits(*a, Class::Row, lane));
                let bitwise = matches!(mode, ReduceMode::And | ReduceMode::Or | ReduceMode::Xor);
                let bits = if bitwise { all } else { u64::MAX };
                undefined.all_from((*a, Class::Row), [(*d, Class::Row)], bits, active);
                return false;
            }
            _ => {}
        }
        for (slot, class) in &self.launch.kernel.slot_uses()[pc as usize].writes {
            undefined.clear(*slot, *class, active);
            if guard_shows(&instruction.op).is_none() {
                for (lane, origin) in &unsure {
                    undefined.set(*slot, *class, *lane, u64::MAX, *origin);
                }
            }
        }
        stores
    }

    /// After a store of undefined values to shared or local memory: what is there is undefined.
    #[cold]
    pub(in crate::machine) fn track_store(
        &mut self,
        shared: &mut Shared,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        transfer: &Transfer,
    ) {
        let Some(undefined) = warp.undefined.take() else { return };
        let at = addresses(&warp.registers, transfer.address);
        let (spaces, offsets) = parts(transfer.target, &at, mask);
        for (target, mask) in spaces {
            for lane in lanes_of(mask) {
                for (bytes, origin) in undefined.bytes(transfer, lane) {
                    let store = undefined.store(pc, origin);
                    match target {
                        Target::Shared => shared.store_undefined(offsets[lane], bytes, store),
                        Target::Local => warp.local.store_undefined(lane, offsets[lane], bytes, store),
                        _ => {}
                    }
                }
            }
        }
        warp.undefined = Some(undefined);
    }
}

/// What an undefined guard of an instruction does, where it is more than to leave its result undefined.
fn guard_shows(op: &Op) -> Option<&'static str> {
    match op {
        Op::Lanes { .. }
        | Op::Load(_)
        | Op::LoadParam { .. }
        | Op::LoadMatrix { .. }
        | Op::CachePolicy { .. }
        | Op::IsSpace { .. }
        | Op::Clock { .. }
        | Op::Nop => None,
        Op::Branch { .. } | Op::BranchIndexed { .. } | Op::Exit => Some("decides a branch"),
        _ => Some("decides whether this is done"),
    }
}

/// The lanes whose addresses are in global memory.
fn global_lanes(target: Target, at: &[u64; LANES], mask: u32) -> u32 {
    match target {
        Target::Global => mask,
        Target::Generic => parts(target, at, mask).0[0].1,
        Target::Shared | Target::Local | Target::Param => 0,
    }
}

/// The register of an address.
fn base(address: Address) -> (Slot, Class) {
    (address.base, if address.wide { Class::Pair } else { Class::Row })
}

/// The registers that an `mbarrier` instruction reads.
fn mbarrier_operands(mbarrier: &Mbarrier) -> Vec<(Slot, Class)> {
    let other = match mbarrier.action {
        MbarrierAction::Init { count } => Some((count, Class::Row)),
        MbarrierAction::Arrive { count, .. } => count.map(|count| (count, Class::Row)),
        MbarrierAction::Test { state, parity, .. } => {
            Some((state, if parity { Class::Row } else { Class::Pair }))
        }
        MbarrierAction::Invalidate | MbarrierAction::ArriveAfterCopies { .. } => None,
    };
    [base(mbarrier.address)].into_iter().chain(other).collect()
}

/// The registers that a store stores.
fn values(transfer: &Transfer) -> Vec<(Slot, Class)> {
    let class = register_class(transfer.element.register_bits);
    transfer.registers.iter().flatten().map(|slot| (*slot, class)).collect()
}

impl Undefined {
    /// Forgets undefined bits of a register that an element has no part of; they are not stored.
    fn keep_bits(&mut self, (slot, class): (Slot, Class), element: Element, mask: u32) {
        let stored = u64::MAX >> (64 - 8 * element.bytes);
        for lane in lanes_of(self.lanes(slot, class) & mask) {
            if self.bits(slot, class, lane) & stored == 0 {
                self.set(slot, class, lane, 0, 0);
            }
        }
    }

    /// The bytes of a lane's store that have undefined bits, a bit each, register by register, and where each register's were read.
    fn bytes(&self, transfer: &Transfer, lane: usize) -> impl Iterator<Item = (u32, Origin)> {
        let element = transfer.element;
        let class = register_class(element.register_bits);
        transfer.registers.iter().enumerate().filter_map(move |(index, slot)| {
            let slot = (*slot)?;
            let bits = self.bits(slot, class, lane);
            let undefined = (0..element.bytes).filter(|byte| bits >> (8 * byte) & 0xff != 0);
            let bytes = undefined.fold(0, |bytes, byte| bytes | 1 << (index as u32 * element.bytes + byte));
            (bytes != 0).then(|| (bytes, self.origin_of(slot, class, lane)))
        })
    }

    fn shuffle(&mut self, a: Slot, d: Slot, mask: u32, from: &[u32; LANES]) {
        let read = |lane: usize| {
            let from = from[lane] as usize;
            (self.bits(a, Class::Row, from), self.origin_of(a, Class::Row, from))
        };
        let all: [(u64, Origin); LANES] = std::array::from_fn(read);
        for lane in lanes_of(mask) {
            self.set(d, Class::Row, lane, all[lane].0, all[lane].1);
        }
    }

    /// `set` are the lanes whose predicate is set, as far as that is defined.
    fn vote(&mut self, mode: VoteMode, d: Slot, a: Slot, set: u32, mask: u32) {
        let unknown = self.lanes(a, Class::Predicate) & mask;
        let (set, unset) = (set & !unknown, mask & !set & !unknown);
        let depends = match mode {
            VoteMode::Ballot => true,
            VoteMode::All => unset == 0,
            VoteMode::Any => set == 0,
            VoteMode::Uniform => set == 0 || unset == 0,
        };
        let class = if mode == VoteMode::Ballot { Class::Row } else { Class::Predicate };
        let bits = match (depends, mode) {
            (false, _) => 0,
            (_, VoteMode::Ballot) => u64::from(unknown),
            _ => 1,
        };
        self.all_from((a, Class::Predicate), [(d, class)], bits, mask);
    }

    /// Results that all lanes have, and that depend on an undefined lane of `a`.
    fn all_from(
        &mut self,
        (a, class): (Slot, Class),
        results: impl IntoIterator<Item = (Slot, Class)>,
        bits: u64,
        mask: u32,
    ) {
        let lanes = self.lanes(a, class) & mask;
        let bits = if lanes == 0 { 0 } else { bits };
        let origin = if lanes == 0 { 0 } else { self.origin_of(a, class, lanes.trailing_zeros() as usize) };
        for (slot, class) in results {
            lanes_of(mask).for_each(|lane| self.set(slot, class, lane, bits, origin));
        }
    }
}

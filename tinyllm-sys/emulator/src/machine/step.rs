//! A warp's steps: one instruction after another for the lanes with the lowest program counter.

use super::{
    Fault,
    barriers::{Arrival, BARRIERS, Barriers},
    context::Context,
    exchange::holds,
    groups::{Group, Wait},
    shared::Shared,
    transfer::lanes_of,
    warp::Warp,
};
use crate::{
    kernel::{Barrier, BarrierMode, Op},
    lanes::Slot,
};

/// Why a warp pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// Its lanes have ended, or wait.
    Waits,
    /// Its time slice is over.
    EndOfSlice,
    /// A barrier is complete.
    Barrier(u32),
}

/// Instructions after which other lanes of the warp run, whatever their program counter.
const LANE_SLICE: u32 = 4096;

/// What an instruction means for the place of its lanes.
pub(super) enum Next {
    /// The next instruction, for all.
    Follow,
    /// The group is put back, changed or not, and another is chosen.
    Regroup,
    /// The warp stops.
    Stop(Pause),
    /// The next instruction, for all; registers hold undefined values.
    Track,
    /// The next instruction, for all, after others had their turn.
    Yield,
}

impl Context<'_> {
    /// Runs a warp until it waits, ends, or has run `slice` instructions: compiled for the processor's vectors and without them.
    pub(super) fn run_warp(
        &mut self,
        shared: &mut Shared,
        barriers: &mut Barriers,
        warp: &mut Warp,
        slice: u32,
    ) -> Result<Pause, Fault> {
        warp.undefined.take_if(|undefined| undefined.is_empty());
        if warp.undefined.is_some() {
            return self.steps::<true>(shared, barriers, warp, slice);
        }
        #[cfg(target_arch = "x86_64")]
        if crate::lanes::is_wide() {
            // SAFETY: this processor has what it is compiled for.
            return unsafe { self.steps_wide(shared, barriers, warp, slice) };
        }
        self.steps::<false>(shared, barriers, warp, slice)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    fn steps_wide(
        &mut self,
        shared: &mut Shared,
        barriers: &mut Barriers,
        warp: &mut Warp,
        slice: u32,
    ) -> Result<Pause, Fault> {
        self.steps::<false>(shared, barriers, warp, slice)
    }

    /// `TRACKED` where registers hold values that nobody wrote; a warp that begins to hold some gives up its slice.
    #[inline(always)]
    fn steps<const TRACKED: bool>(
        &mut self,
        shared: &mut Shared,
        barriers: &mut Barriers,
        warp: &mut Warp,
        slice: u32,
    ) -> Result<Pause, Fault> {
        let kernel = self.launch.kernel;
        let code = kernel.code.as_slice();
        let mut left = slice;
        let mut lanes_left = LANE_SLICE;
        loop {
            let chosen = if lanes_left == 0 {
                lanes_left = LANE_SLICE;
                warp.groups.take_last(warp.live)
            } else {
                warp.groups.take(warp.live)
            };
            let Some(Group { mut pc, mask, .. }) = chosen else { return Ok(Pause::Waits) };
            let reconvergence = warp.groups.reconvergence(pc);
            loop {
                if pc >= reconvergence || left == 0 || lanes_left == 0 {
                    warp.groups.put(Group { pc, mask, wait: None });
                    break;
                }
                left -= 1;
                lanes_left -= u32::from(reconvergence != u32::MAX);
                let instruction = &code[pc as usize];
                let active = match instruction.guard {
                    None => mask,
                    Some(guard) => mask & holds(&warp.registers, guard),
                };
                let executed = &mut self.executed[pc as usize];
                executed.warps += 1;
                executed.threads += u64::from(active.count_ones());
                warp.clock += 1;
                // What lanes do together is tracked when all have come.
                let waits = TRACKED && active != 0 && instruction.op.is_together();
                let stores_undefined = TRACKED && !waits && self.track(warp, pc, mask, active);
                if active == 0 {
                    pc += 1;
                    continue;
                }
                if let Op::Lanes { run, operands, .. } = &instruction.op {
                    run(&mut warp.registers, operands, active);
                    pc += 1;
                    continue;
                }
                let next = match TRACKED {
                    true => self.step_apart(shared, barriers, warp, pc, mask, active, &instruction.op)?,
                    false => self.step(shared, barriers, warp, pc, mask, active, &instruction.op)?,
                };
                if stores_undefined && let Op::Store(transfer) = &instruction.op {
                    self.track_store(shared, warp, pc, active, transfer);
                }
                match next {
                    Next::Follow => pc += 1,
                    Next::Regroup => break,
                    Next::Stop(pause) => return Ok(pause),
                    Next::Track if TRACKED => pc += 1,
                    Next::Track | Next::Yield => {
                        warp.groups.put(Group { pc: pc + 1, mask, wait: None });
                        return Ok(Pause::EndOfSlice);
                    }
                }
            }
            if left == 0 {
                return Ok(Pause::EndOfSlice);
            }
        }
    }

    /// [`Self::step`], once in the program.
    #[allow(clippy::too_many_arguments, reason = "a step touches all parts of a block")]
    #[inline(never)]
    fn step_apart(
        &mut self,
        shared: &mut Shared,
        barriers: &mut Barriers,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        active: u32,
        op: &Op,
    ) -> Result<Next, Fault> {
        self.step(shared, barriers, warp, pc, mask, active, op)
    }

    /// An instruction that is more than a function of registers.
    #[allow(clippy::too_many_arguments, reason = "a step touches all parts of a block")]
    #[inline(always)]
    fn step(
        &mut self,
        shared: &mut Shared,
        barriers: &mut Barriers,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        active: u32,
        op: &Op,
    ) -> Result<Next, Fault> {
        match op {
            Op::Load(transfer) => {
                self.load(shared, warp, pc, active, transfer)?;
                if transfer.order.scope.is_some() && self.order.polls() {
                    return Ok(Next::Yield);
                }
                if warp.undefined.is_some() {
                    return Ok(Next::Track);
                }
            }
            Op::Store(transfer) => self.store(shared, warp, pc, active, transfer)?,
            Op::LoadParam { offset, transfer } => self.load_param(warp, pc, active, *offset, transfer)?,
            Op::Atomic(atomic) => {
                self.atomic(shared, warp, pc, active, atomic)?;
                if self.order.polls() {
                    return Ok(Next::Yield);
                }
                if warp.undefined.is_some() {
                    return Ok(Next::Track);
                }
            }
            Op::CopyAsync { to, from, bytes, source_bytes, ignore } => {
                self.copy_async(shared, warp, pc, active, *to, *from, *bytes, *source_bytes, *ignore)?;
            }
            Op::CommitCopies => warp.copies.commit(active),
            Op::WaitCopies { groups } => self.wait_for_copies(shared, warp, active, Some(*groups))?,
            Op::WaitAllCopies => self.wait_for_copies(shared, warp, active, None)?,
            Op::Fence { scope } => self.fence(*scope),
            Op::CachePolicy { d, priority, portion } => {
                self.cache_policy(warp, pc, active, *d, *priority, portion);
            }
            Op::IsSpace { d, a, constant } => self.is_space(warp, active, *d, *a, *constant),
            Op::Clock { d, wide } => {
                self.changes += 1;
                clock(warp, active, *d, *wide);
            }
            Op::ActiveMask { d } => {
                let row = warp.registers.row_mut(*d);
                lanes_of(active).for_each(|lane| row[lane] = active);
            }
            Op::Branch { target } => return Ok(self.branch(warp, pc, mask, active, *target)),
            Op::BranchIndexed { index, targets } => {
                return self.branch_indexed(warp, pc, mask, active, *index, targets);
            }
            Op::Exit => {
                warp.live &= !active;
                return Ok(leave(warp, pc, mask, active));
            }
            Op::Print { format, arguments, result } => {
                self.changes += 1;
                self.print(warp, active, *format, *arguments, *result, pc)?;
            }
            Op::Trap => return Err(self.trapped(warp, pc, active)),
            Op::StackAllocate { d, bytes, wide, align } => {
                self.stack_allocate(warp, pc, active, (*d, *bytes), *wide, *align)?;
            }
            Op::StackSave { d, wide } => self.stack_save(warp, active, *d, *wide),
            Op::StackRestore { a, wide } => self.stack_restore(warp, pc, active, *a, *wide)?,
            Op::Allocate { d, bytes } => self.allocate(warp, active, *d, *bytes),
            Op::Free { address } => self.free(warp, pc, active, *address)?,
            Op::WrongCall { address, others } => {
                return Err(self.wrong_call(warp, pc, active, *address, others));
            }
            Op::Recursion { name } => {
                let note = format!("{name} calls itself through a register, which is not emulated");
                return Err(self.cannot_call(warp, pc, active, note));
            }
            Op::AssertFail(texts) => return Err(self.assertion_failed(warp, pc, active, texts)),
            Op::Mbarrier(mbarrier) => {
                let waits = self.mbarrier(shared, warp, pc, active, mbarrier)?;
                // Others come first, unless they are lanes of this warp: those get their turn by the count of instructions.
                if waits && warp.groups.is_empty() {
                    return Ok(Next::Yield);
                }
            }
            Op::Barrier(barrier) => return self.barrier(shared, barriers, warp, pc, mask, active, barrier),
            Op::LoadMatrix { .. }
            | Op::Mma(_)
            | Op::Transpose { .. }
            | Op::Meet
            | Op::Shuffle { .. }
            | Op::Vote { .. }
            | Op::Match { .. }
            | Op::Reduce { .. }
            | Op::WarpBarrier { .. } => return self.together(shared, warp, pc, mask, active, op),
            Op::Nop | Op::Lanes { .. } => {}
        }
        Ok(Next::Follow)
    }

    fn branch(&mut self, warp: &mut Warp, pc: u32, mask: u32, taken: u32, target: u32) -> Next {
        let stay = mask & !taken;
        if stay != 0 {
            self.counters.divergent_branches += 1;
            warp.groups.put(Group { pc: pc + 1, mask: stay, wait: None });
        }
        warp.groups.put(Group { pc: target, mask: taken, wait: None });
        Next::Regroup
    }

    fn branch_indexed(
        &mut self,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        active: u32,
        index: Slot,
        targets: &[u32],
    ) -> Result<Next, Fault> {
        let indices = *warp.registers.row(index);
        let mut parts = 0;
        if mask & !active != 0 {
            warp.groups.put(Group { pc: pc + 1, mask: mask & !active, wait: None });
            parts += 1;
        }
        let mut left = active;
        while left != 0 {
            let index = indices[left.trailing_zeros() as usize];
            let same =
                lanes_of(left).filter(|lane| indices[*lane] == index).fold(0u32, |m, lane| m | 1 << lane);
            left &= !same;
            let target = *targets.get(index as usize).ok_or(Fault::INVALID_PC)?;
            warp.groups.put(Group { pc: target, mask: same, wait: None });
            parts += 1;
        }
        self.counters.divergent_branches += u64::from(parts > 1);
        Ok(Next::Regroup)
    }

    #[allow(clippy::too_many_arguments, reason = "a step touches all parts of a block")]
    fn barrier(
        &mut self,
        shared: &mut Shared,
        barriers: &mut Barriers,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        active: u32,
        barrier: &Barrier,
    ) -> Result<Next, Fault> {
        let first = active.trailing_zeros() as usize;
        let id = warp.registers.row(barrier.id)[first];
        if id as usize >= BARRIERS {
            return Err(Fault::ILLEGAL_INSTRUCTION);
        }
        let all = self.launch.threads();
        let expected = barrier.threads.map_or(all, |slot| warp.registers.row(slot)[first]);
        let set = holds(&warp.registers, barrier.predicate);
        let all_threads = barrier.threads.is_none();
        let arrival = Arrival { id, warp: warp.index, mask: active, expected, all_threads, set };
        let complete = barriers.arrive(&mut shared.clocks, arrival);
        let waits = barrier.mode != BarrierMode::Arrive;
        if mask & !active != 0 {
            if barrier.aligned {
                self.guarded_off(warp, pc, active, mask & !active);
            }
            warp.groups.put(Group { pc: pc + 1, mask: mask & !active, wait: None });
        }
        if waits {
            warp.groups.put(Group { pc, mask: active, wait: Some(Wait::Barrier(id)) });
        } else {
            warp.groups.put(Group { pc: pc + 1, mask: active, wait: None });
        }
        Ok(if complete { Next::Stop(Pause::Barrier(id)) } else { Next::Regroup })
    }

    /// Lanes come to an aligned barrier together, and its predicate lets some of them through: wherever those go, the manual leaves it
    /// undefined.
    #[cold]
    fn guarded_off(&mut self, warp: &Warp, pc: u32, active: u32, others: u32) {
        let note = format!(
            "its predicate is false for lanes {others:#x} of the warp, which has to execute it together"
        );
        self.find_barrier(pc, warp.index, active.trailing_zeros() as usize, note);
    }
}

/// Removes lanes that have ended; the others continue.
fn leave(warp: &mut Warp, pc: u32, mask: u32, ended: u32) -> Next {
    let stay = mask & !ended;
    if stay != 0 {
        warp.groups.put(Group { pc: pc + 1, mask: stay, wait: None });
    }
    Next::Regroup
}

fn clock(warp: &mut Warp, mask: u32, d: Slot, wide: bool) {
    let now = warp.clock;
    for lane in lanes_of(mask) {
        match wide {
            true => warp.registers.wide_mut(d)[lane] = now,
            false => warp.registers.row_mut(d)[lane] = now as u32,
        }
    }
}

//! A block: its warps, its shared memory, its barriers, and the round robin of its warps.

use std::hash::Hash;

use super::{
    Fault, Launch,
    barriers::Barriers,
    context::Context,
    endless::{self, Place, Places, Watch},
    groups::{Groups, Wait},
    local::Local,
    order::{Interval, Own},
    recorder::Recorder,
    shared::Shared,
    step::Pause,
    transfer::lanes_of,
    warp::{Copies, Warp},
};
use crate::{
    kernel::{BarrierMode, Op, Special},
    lanes::{LANES, Registers},
};

/// Instructions of a warp before the next one runs.
const TIME_SLICE: u32 = 1 << 14;

/// Multiprocessors that the emulated device has, for `%nsmid`.
pub(super) const MULTIPROCESSORS: u32 = 108;

/// Whether a block has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Done,
    /// Its time slice is over, and it has more to do.
    More,
}

#[derive(Debug)]
pub(super) struct Block {
    pub(super) index: u64,
    warps: Vec<Warp>,
    shared: Shared,
    barriers: Barriers,
    /// What it has touched, and how that is ordered, while another block runs.
    recorder: Recorder,
    order: Own,
    watch: Watch,
}

impl Block {
    /// Memory for a block of the launch; [`Block::start`] makes it one.
    pub(super) fn new(launch: &Launch<'_>, prototype: &Registers) -> Self {
        let threads = launch.threads();
        let warps = (0..threads.div_ceil(LANES as u32)).map(|index| Warp {
            index,
            registers: prototype.clone(),
            live: 0,
            forced: false,
            groups: Groups::default(),
            local: Local::new(launch.kernel.local_bytes),
            copies: Copies::default(),
            undefined: None,
            clock: 0,
        });
        Block {
            index: 0,
            warps: warps.collect(),
            shared: Shared::new(
                launch.shared_bytes(),
                threads.div_ceil(LANES as u32),
                launch.check.racecheck,
            ),
            barriers: Barriers::new(),
            recorder: Recorder::new(),
            order: Own::default(),
            watch: Watch::default(),
        }
    }

    /// Makes it the block of a number, at its beginning.
    pub(super) fn start(&mut self, context: &Context<'_>, prototype: &Registers, index: u64) {
        self.index = index;
        self.order = Own::new(index);
        self.shared.reset();
        self.barriers = Barriers::new();
        self.watch = Watch::default();
        let launch = context.launch;
        let position = launch.block_position(index);
        for warp in &mut self.warps {
            let first = warp.index * LANES as u32;
            let count = (launch.threads() - first).min(LANES as u32);
            warp.live = if count == 32 { u32::MAX } else { (1 << count) - 1 };
            warp.forced = false;
            warp.groups.start(warp.live);
            warp.local.reset();
            warp.copies.reset();
            warp.undefined = None;
            warp.clock = 0;
            warp.registers.reset(prototype);
            for (slot, special) in &launch.kernel.specials {
                let row = warp.registers.row_mut(*slot);
                for (lane, value) in row.iter_mut().enumerate() {
                    *value = special_value(launch, *special, position, index, warp.index, lane as u32);
                }
            }
        }
    }

    /// Runs until the end, or until its warps have had `turns` turns, or it may never end.
    pub(super) fn run(&mut self, context: &mut Context<'_>, turns: u64) -> Result<Progress, Fault> {
        self.swap(context);
        let result = self.run_turns(context, turns);
        if result == Ok(Progress::More) {
            self.swap(context);
        }
        result
    }

    /// Becomes the context's block, or is it no longer.
    pub(super) fn swap(&mut self, context: &mut Context<'_>) {
        context.block = self.index;
        context.order.swap(&mut self.order);
        std::mem::swap(&mut context.recorder, &mut self.recorder);
    }

    /// What it did until now that will not change, after it was run and has more to do.
    pub(super) fn take_done(&mut self) -> Vec<Interval> {
        self.order.take_done()
    }

    fn run_turns(&mut self, context: &mut Context<'_>, turns: u64) -> Result<Progress, Fault> {
        for _ in 0..turns {
            let mut moved = false;
            let before = context.spent;
            for index in 0..self.warps.len() {
                moved |= self.run_warp(context, index)?;
            }
            if self.warps.iter().all(|warp| warp.groups.is_empty()) {
                return Ok(Progress::Done);
            }
            if !moved {
                self.unstick(context)?;
            }
            self.look_for_repetition(context, context.spent - before);
            if context.order.is_waiting() || endless::reason(context, || self.repeats(context)).is_some() {
                return Ok(Progress::More);
            }
        }
        Ok(Progress::More)
    }

    /// Gives a warp its turn; whether it could run.
    fn run_warp(&mut self, context: &mut Context<'_>, index: usize) -> Result<bool, Fault> {
        let warp = &mut self.warps[index];
        if !warp.groups.can_run(warp.live) {
            return Ok(false);
        }
        let before = warp.clock;
        let pause = context.run_warp(&mut self.shared, &mut self.barriers, warp, TIME_SLICE)?;
        context.spent += warp.clock - before;
        if let Pause::Barrier(id) = pause {
            self.release(context, id, None);
        }
        Ok(true)
    }

    /// Looks at its state, now and then. `instructions` have been executed since it last might have.
    fn look_for_repetition(&mut self, context: &Context<'_>, instructions: u64) {
        let Block { warps, shared, barriers, watch, .. } = self;
        watch.round(instructions, warps.len() as u64, context.changes, || {
            endless::number(|hasher| {
                context.order.polling().hash(hasher);
                for warp in warps.iter() {
                    (warp.live, warp.forced, warp.undefined.is_some()).hash(hasher);
                    (&warp.groups, &warp.registers).hash(hasher);
                    (&warp.local.bytes, &warp.copies).hash(hasher);
                }
                (&shared.bytes, &*barriers).hash(hasher);
            })
        });
    }

    /// Whether it does the same for ever unless another writes something.
    pub(super) fn repeats(&self, context: &Context<'_>) -> bool {
        self.watch.repeats(context.changes)
    }

    /// Takes nothing for a repetition that was seen until now.
    pub(super) fn watch_anew(&mut self) {
        self.watch = Watch::default();
    }

    /// Adds where its threads are. Those that run get another turn, to see what they read.
    pub(super) fn survey(&mut self, context: &mut Context<'_>, places: &mut Places) {
        self.swap(context);
        let mut add = |context: &Context<'_>, place: Place, warp: u32, mask: u32| {
            let first = context.thread(warp, mask.trailing_zeros() as usize);
            places.entry(place).or_insert((0, first)).0 += u64::from(mask.count_ones());
        };
        for index in 0..self.warps.len() {
            let warp = &self.warps[index];
            let (number, mut running) = (warp.index, warp.live);
            for group in warp.groups.waiting() {
                running &= !group.mask;
                if let Some(wait) = group.wait {
                    add(context, Place::waits(group.pc, wait), number, group.mask);
                }
            }
            let before = context.executed.clone();
            // It is stopped whatever comes of this turn, unless it goes on as before.
            let _ = self.run_warp(context, index);
            let counts = context.executed.iter().zip(&before);
            let ran = counts.enumerate().filter(|(_, (now, before))| now.warps > before.warps);
            let mut ran = ran.map(|(pc, _)| pc as u32).peekable();
            let Some(first) = ran.peek().copied().filter(|_| running != 0) else { continue };
            let read = ran.find(|pc| context.launch.kernel.code[*pc as usize].op.reads_memory());
            add(context, read.map_or(Place::Runs(first), Place::Reads), number, running);
        }
        self.swap(context);
    }

    /// Releases the threads that wait at a barrier, with its result.
    fn release(&mut self, context: &mut Context<'_>, id: u32, missing: Option<u32>) {
        let complete = self.barriers.complete(id);
        for warp in &mut self.warps {
            let waiting: Vec<_> = warp.groups.waiting_at(id).collect();
            for group in &waiting {
                let Op::Barrier(barrier) = &context.launch.kernel.code[group.pc as usize].op else {
                    continue;
                };
                let first = group.mask.trailing_zeros() as usize;
                if let Some(missing) = missing {
                    let note = format!("{missing} threads of the block have ended without coming to it");
                    context.find_barrier(group.pc, warp.index, first, note);
                } else if barrier.aligned && group.mask != warp.live {
                    let others = warp.live & !group.mask;
                    let note = format!(
                        "lanes {others:#x} of the warp are elsewhere, and it has to come to it together"
                    );
                    context.find_barrier(group.pc, warp.index, first, note);
                }
                match barrier.mode {
                    BarrierMode::Popc => {
                        let row = warp.registers.row_mut(barrier.d);
                        lanes_of(group.mask).for_each(|lane| row[lane] = complete.result(BarrierMode::Popc));
                    }
                    BarrierMode::And | BarrierMode::Or => {
                        let value = if complete.result(barrier.mode) != 0 { u32::MAX } else { 0 };
                        warp.registers.set_predicate(barrier.d, value, group.mask);
                    }
                    BarrierMode::Sync | BarrierMode::Arrive => {}
                }
            }
            if !waiting.is_empty() {
                self.shared.clocks.join(warp.index, &complete.known);
                warp.groups.release(id);
            }
        }
    }

    /// No warp can run: lanes wait for lanes that will not come, or a barrier for threads that have ended.
    fn unstick(&mut self, context: &mut Context<'_>) -> Result<(), Fault> {
        for warp in &mut self.warps {
            if warp.groups.give_up_lanes() {
                warp.forced = true;
                return Ok(());
            }
        }
        let live: u32 = self.warps.iter().map(|warp| warp.live.count_ones()).sum();
        let ended = context.launch.threads() - live;
        let complete = self.barriers.incomplete().find(|(_, missing)| *missing <= ended && ended > 0);
        if let Some((id, missing)) = complete {
            // "If the exiting threads are holding up the barrier, the barrier is released": one for all threads, not for a number.
            let missing = (!self.barriers.is_for_all(id)).then_some(missing);
            for warp in self.warps.iter().filter(|warp| warp.live == 0) {
                self.barriers.join_ended(&mut self.shared.clocks, id, warp.index);
            }
            self.release(context, id, missing);
            return Ok(());
        }
        // Threads wait at different barriers: a deadlock.
        for warp in &self.warps {
            for group in warp.groups.waiting() {
                let Some(Wait::Barrier(id)) = group.wait else { continue };
                let missing =
                    self.barriers.incomplete().find(|(found, _)| *found == id).map_or(0, |found| found.1);
                let note = format!("{missing} threads never come: the block waits for ever");
                let lane = group.mask.trailing_zeros() as usize;
                context.find_barrier(group.pc, warp.index, lane, note);
                return Err(Fault::LAUNCH_FAILED);
            }
        }
        Err(Fault::LAUNCH_FAILED)
    }
}

fn special_value(
    launch: &Launch<'_>,
    special: Special,
    position: [u32; 3],
    block: u64,
    warp: u32,
    lane: u32,
) -> u32 {
    let thread = warp * LANES as u32 + lane;
    let [x, y, _] = launch.block;
    match special {
        Special::Thread(axis) => [thread % x, thread / x % y, thread / x / y][axis],
        Special::ThreadCount(axis) => launch.block[axis],
        Special::Block(axis) => position[axis],
        Special::BlockCount(axis) => launch.grid[axis],
        Special::Lane => lane,
        Special::Warp => warp,
        Special::WarpCount => launch.threads().div_ceil(LANES as u32),
        Special::Multiprocessor => (block % u64::from(MULTIPROCESSORS)) as u32,
        Special::MultiprocessorCount => MULTIPROCESSORS,
        // Where the memory of a grid's barrier is, the upper half first.
        Special::Environment(1) => (launch.grid_workspace >> 32) as u32,
        Special::Environment(2) => launch.grid_workspace as u32,
        Special::GridId | Special::Environment(_) | Special::Zero => 0,
        Special::LaneMaskEqual => 1 << lane,
        Special::LaneMaskLess => (1 << lane) - 1,
        Special::LaneMaskLessEqual => ((1u64 << (lane + 1)) - 1) as u32,
        Special::LaneMaskGreater => !(((1u64 << (lane + 1)) - 1) as u32),
        Special::LaneMaskGreaterEqual => !((1 << lane) - 1),
        Special::DynamicSharedBytes => launch.dynamic_shared_bytes,
        Special::TotalSharedBytes => launch.shared_bytes(),
        Special::DynamicSharedStart => launch.dynamic_shared_start(),
    }
}

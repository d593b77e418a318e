//! The attention operation: heads and tiles of queries shared out among threads, or, where a few sequences decode, the
//! segments of their keys.

use std::{ops::Range, sync::atomic::Ordering};

use super::{
    Worker,
    queries::{self, Run},
};
use crate::{
    RegionId,
    cpu::{
        attention::{self, Cache, Found, Queries},
        requirements,
    },
};

/// The fields of [`crate::Op::Attention`].
pub(super) struct Operands {
    pub(super) q: RegionId,
    pub(super) layer: usize,
    pub(super) scale: f32,
    pub(super) window: Option<usize>,
    pub(super) out: RegionId,
}

impl Worker<'_> {
    pub(super) fn attention(&self, operands: &Operands) {
        if self.shares_segments(operands) {
            self.attend_by_segments(operands);
        } else {
            self.attend_by_heads(operands);
        }
    }

    /// Whether there are too few heads to share them out, and keys enough to share out instead.
    fn shares_segments(&self, operands: &Operands) -> bool {
        let heads = self.runs(operands).count() * self.prepared.program.kv().kv_heads();
        let is_single = |run: Run| run.count == 1;
        let is_deep = self.runs(operands).any(|run| run.first_position >= attention::SEGMENT);
        let is_shared = self.member.members > 1
            && !self.member.is_alone()
            && heads < requirements::split_heads(self.member.members);
        is_shared && is_deep && self.runs(operands).all(is_single)
    }

    /// The keys that this member reads first, where segments are shared out.
    pub(super) fn first_keys(&self, operands: &Operands) -> Option<*const u8> {
        if !self.shares_segments(operands) {
            return None;
        }
        let kv_heads = self.prepared.program.kv().kv_heads();
        let steps = |run: Run| self.queries(operands, run, 0, kv_heads).steps();
        let total =
            self.runs(operands).map(steps).sum::<usize>().min(requirements::splits(self.member.members));
        let mut step = self.prepared.shares.range(self.member.index, total).start;
        for run in self.runs(operands) {
            let queries = self.queries(operands, run, 0, kv_heads);
            if step < queries.steps() {
                return Some(attention::first_keys(self.cache(operands, run.sequence), &queries, step));
            }
            step -= queries.steps();
        }
        None
    }

    fn runs(&self, operands: &Operands) -> impl Iterator<Item = Run> {
        queries::runs(self.step, self.spec(operands.out).rows)
    }

    /// Each member takes whole heads of some queries.
    fn attend_by_heads(&self, operands: &Operands) {
        let kv_heads = self.prepared.program.kv().kv_heads();
        let tile = attention::query_tile(self.prepared.program.query_heads() / kv_heads);
        let total: usize = self.runs(operands).map(|run| run.count.div_ceil(tile) * kv_heads).sum();
        self.shares(total, 1, |claimed| {
            let mut first = 0;
            for run in self.runs(operands) {
                let tiles = run.count.div_ceil(tile);
                let mut items = claimed.start.max(first)..claimed.end.min(first + tiles * kv_heads);
                while !items.is_empty() {
                    // Neighbouring items share a head, so that its keys stay in this core's cache; a single query's heads
                    // are read together, because their keys lie side by side.
                    let (kv_head, index) = ((items.start - first) / tiles, (items.start - first) % tiles);
                    let heads = if run.count == 1 { items.len().min(tile) } else { 1 };
                    let queries = self.queries(operands, run.part(index * tile, tile), kv_head, heads);
                    let cache = self.cache(operands, run.sequence);
                    self.with_scratch(self.prepared.scratch_elems, |scratch| {
                        // SAFETY: the block table covers every position up to the last query's (`Step::validate`); q is
                        // written by nobody during this operation (`ProgramBuilder::finish`), and these rows and heads of
                        // `out` are claimed by this member.
                        unsafe { attention::attend(self.isa, cache, &queries, scratch) };
                    });
                    items.start += heads;
                }
                first += tiles * kv_heads;
            }
        });
    }

    /// Members take steps, which are segments of the heads' keys, as many at a time as there is room for, and then fold
    /// what they found, head by head and in order: the same bits as in one go. Member 0 begins with the first and folds
    /// as it goes.
    fn attend_by_segments(&self, operands: &Operands) {
        let (kv_heads, members) = (self.prepared.program.kv().kv_heads(), self.member.members);
        let slots = requirements::splits(members);
        // Each run is a query: the i-th begins with the i-th output.
        let rows = self.spec(operands.out).rows;
        let run = |index: usize| queries::run_at(self.step, rows, index);
        let queries = |index: usize| self.queries(operands, run(index), 0, kv_heads);
        let runs = self.runs(operands).count();
        let total: usize = (0..runs).map(|index| queries(index).steps()).sum();
        for wave in (0..total).step_by(slots) {
            let end = (wave + slots).min(total);
            let mut folded = 0;
            self.shares(end - wave, 1, |claimed| {
                let is_next = self.member.index == 0 && claimed.start == folded;
                let mut first = 0;
                for index in 0..runs {
                    let queries = queries(index);
                    let steps =
                        (wave + claimed.start).max(first)..(wave + claimed.end).min(first + queries.steps());
                    if !steps.is_empty() {
                        // SAFETY: the steps are this member's, and so are their slots; the heads' are member 0's.
                        let found = unsafe {
                            match is_next {
                                true => Found::ByHead(self.split_states(slots + index * kv_heads, kv_heads)),
                                false => Found::ByStep(self.split_states(steps.start - wave, steps.len())),
                            }
                        };
                        let (cache, steps) = (
                            self.cache(operands, run(index).sequence),
                            steps.start - first..steps.end - first,
                        );
                        self.with_scratch(self.prepared.scratch_elems, |scratch| {
                            // SAFETY: as in `attend_by_heads`; the slots lie behind every member's scratch.
                            unsafe {
                                attention::attend_steps(self.isa, cache, &queries, steps, found, scratch)
                            };
                        });
                    }
                    first += queries.steps();
                }
                if is_next {
                    folded = claimed.end;
                }
            });
            if self.member.index == 0 {
                self.prepared.folded.store(wave + folded, Ordering::Relaxed);
            }
            self.member.meet();
            self.fold(operands, wave, self.prepared.folded.load(Ordering::Relaxed)..end, runs);
            if end < total {
                self.member.meet();
            }
        }
    }

    /// Folds steps, which wait in the slots of a wave that began with step `wave`, and writes the outputs of heads that have
    /// seen them all. Of two members the second does it: it has taken most of these steps.
    fn fold(&self, operands: &Operands, wave: usize, steps: Range<usize>, runs: usize) {
        let (kv, kv_heads) = (self.prepared.program.kv(), self.prepared.program.kv().kv_heads());
        let slots = requirements::splits(self.member.members);
        let mut first = 0;
        for index in 0..runs {
            let run = queries::run_at(self.step, self.spec(operands.out).rows, index);
            let queries = self.queries(operands, run, 0, kv_heads);
            let end = first + queries.steps();
            for head in (0..kv_heads).filter(|head| self.folds(index * kv_heads + head)) {
                // SAFETY: this member alone folds this head, whose slots nobody writes before the next meeting.
                unsafe {
                    let state = self.split_states(slots + index * kv_heads + head, 1);
                    let from = steps.start.max(first) - first;
                    let from = first + (from + kv_heads - 1 - head) / kv_heads * kv_heads + head;
                    for step in (from..steps.end.min(end)).step_by(kv_heads) {
                        let next = self.split_states(step - wave, 1);
                        if step < first + kv_heads {
                            state.copy_from_slice(next);
                        } else {
                            attention::fold(self.isa, kv, state, next);
                        }
                    }
                    if (wave + 1..=steps.end).contains(&end) {
                        attention::write(self.isa, kv, &queries, head, state);
                    }
                }
            }
            first = end;
        }
    }

    /// Whether this member folds a head.
    fn folds(&self, head: usize) -> bool {
        1 + head % (self.member.members - 1) == self.member.index
    }

    fn cache(&self, operands: &Operands, sequence: usize) -> Cache<'_> {
        Cache {
            layout: self.prepared.program.kv(),
            base: self.cache.base,
            blocks: self.prepared.cache_blocks,
            layer: operands.layer,
            block_table: self.step.block_table(sequence),
        }
    }

    /// The queries of some kv heads.
    fn queries(&self, operands: &Operands, run: Run, kv_head: usize, kv_heads: usize) -> Queries {
        Queries {
            first_position: run.first_position,
            count: run.count,
            q: self.row_address(operands.q, run.row).cast::<f32>(),
            q_stride_elems: self.prepared.regions[operands.q.index()].1 / 4,
            out: self.row_address(operands.out, run.out_row).cast::<f32>(),
            out_stride_elems: self.prepared.regions[operands.out.index()].1 / 4,
            kv_head,
            kv_heads,
            group: self.prepared.program.query_heads() / self.prepared.program.kv().kv_heads(),
            scale: operands.scale,
            window: operands.window,
        }
    }

    /// Slots for heads' states: first those of single steps, then those of heads.
    ///
    /// # Safety
    /// Nobody else uses the slots while they are borrowed.
    #[allow(clippy::mut_from_ref)] // as `row_mut`
    unsafe fn split_states(&self, first: usize, count: usize) -> &mut [f32] {
        let elems = requirements::split_elems(&self.prepared.program);
        let members = self.member.members;
        debug_assert!(first + count <= requirements::splits(members) + requirements::split_heads(members));
        // SAFETY: the workspace holds every member's scratch and behind it these slots; this function's terms.
        unsafe {
            let base = self.arena.base.add(self.prepared.workspace).cast::<f32>();
            let slots = base.add(members * self.prepared.scratch_elems);
            std::slice::from_raw_parts_mut(slots.add(first * elems), count * elems)
        }
    }
}

//! The attention operation: heads and tiles of queries shared out among threads, or, where a few sequences decode, the
//! segments of their keys.

use super::{
    Worker,
    queries::{self, Run},
};
use crate::{
    RegionId,
    cpu::{
        attention::{self, Cache, Queries},
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
    pub(super) fn attention(&self, operation: usize, operands: &Operands) {
        let heads = self.runs(operands).count() * self.prepared.program.kv().kv_heads();
        let is_single = |run: Run| run.count == 1;
        let is_deep = self.runs(operands).any(|run| run.first_position >= attention::SEGMENT);
        let is_shared = self.member.members > 1 && heads < requirements::split_heads(self.member.members);
        if is_shared && is_deep && self.runs(operands).all(is_single) {
            self.attend_by_segments(operation, operands, heads);
        } else {
            self.attend_by_heads(operation, operands);
        }
    }

    fn runs(&self, operands: &Operands) -> impl Iterator<Item = Run> {
        queries::runs(self.step, self.spec(operands.out).rows)
    }

    /// Each member takes whole heads of some queries.
    fn attend_by_heads(&self, operation: usize, operands: &Operands) {
        let kv_heads = self.prepared.program.kv().kv_heads();
        let tile = attention::query_tile(self.prepared.program.query_heads() / kv_heads);
        let total: usize = self.runs(operands).map(|run| run.count.div_ceil(tile) * kv_heads).sum();
        self.shares(operation, total, 1, |claimed| {
            let mut first = 0;
            for run in self.runs(operands) {
                let tiles = run.count.div_ceil(tile);
                for item in claimed.start.max(first)..claimed.end.min(first + tiles * kv_heads) {
                    // Neighbouring items share a head, so that its keys stay in this core's cache.
                    let (kv_head, index) = ((item - first) / tiles, (item - first) % tiles);
                    let queries = self.queries(operands, run.part(index * tile, tile), kv_head);
                    let cache = self.cache(operands, run.sequence);
                    // SAFETY: the block table covers every position up to the last query's; q is written by nobody
                    // during this operation, and these rows and heads of `out` are claimed by this member.
                    unsafe { attention::attend(self.isa, cache, &queries, self.scratch()) };
                }
                first += tiles * kv_heads;
            }
        });
    }

    /// Members take segments of the heads' keys, as many at a time as there is room for, and then fold them, head by head
    /// and in order: the same bits as in one go.
    fn attend_by_segments(&self, operation: usize, operands: &Operands, heads: usize) {
        let kv_heads = self.prepared.program.kv().kv_heads();
        let splits = requirements::splits(self.member.members);
        // Each run is a query: the i-th begins with the i-th output.
        let rows = self.spec(operands.out).rows;
        let run = |head: usize| queries::run_at(self.step, rows, head / kv_heads);
        let queries = |head: usize| self.queries(operands, run(head), head % kv_heads);
        let cache = |head: usize| self.cache(operands, run(head).sequence);
        // Segments of all heads, one head after another; those of head h begin at `first(h)`.
        let first = |head: usize| -> usize { (0..head).map(|head| queries(head).segments().len()).sum() };
        let total = first(heads);
        for wave in (0..total).step_by(splits) {
            let end = (wave + splits).min(total);
            self.shares(operation, end - wave, 1, |claimed| {
                for slot in claimed {
                    let head = (0..heads).rfind(|head| first(*head) <= wave + slot).unwrap_or(0);
                    let queries = queries(head);
                    let segment = queries.segments().start + wave + slot - first(head);
                    // SAFETY: as above; the slot is this member's, because the segment is.
                    unsafe {
                        attention::attend_segments(
                            self.isa,
                            cache(head),
                            &queries,
                            segment..segment + 1,
                            self.split_state(slot),
                            self.scratch(),
                        );
                    }
                }
            });
            self.member.meet();
            for head in (self.member.index..heads).step_by(self.member.members) {
                let range = first(head)..first(head + 1);
                // SAFETY: this member alone folds this head, whose slots nobody writes before the next meeting.
                unsafe {
                    let state = self.split_state(splits + head);
                    for index in range.start.max(wave)..range.end.min(end) {
                        let next = self.split_state(index - wave);
                        if index == range.start {
                            state.copy_from_slice(next);
                        } else {
                            attention::fold(self.isa, self.prepared.program.kv(), state, next);
                        }
                    }
                    if (wave + 1..=end).contains(&range.end) {
                        attention::write(self.isa, self.prepared.program.kv(), &queries(head), state);
                    }
                }
            }
            if end < total {
                if self.member.index == 0 {
                    // Nobody claims between two meetings.
                    self.prepared.shares.restart(operation);
                }
                self.member.meet();
            }
        }
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

    /// One kv head's queries.
    fn queries(&self, operands: &Operands, run: Run, kv_head: usize) -> Queries {
        Queries {
            first_position: run.first_position,
            count: run.count,
            q: self.row_address(operands.q, run.row).cast::<f32>(),
            q_stride_elems: self.prepared.regions[operands.q.index()].1 / 4,
            out: self.row_address(operands.out, run.out_row).cast::<f32>(),
            out_stride_elems: self.prepared.regions[operands.out.index()].1 / 4,
            kv_head,
            group: self.prepared.program.query_heads() / self.prepared.program.kv().kv_heads(),
            scale: operands.scale,
            window: operands.window,
        }
    }

    /// A slot for a head's state: first those of single segments, then those of heads.
    ///
    /// # Safety
    /// Nobody else uses the slot while it is borrowed.
    #[allow(clippy::mut_from_ref)] // as `row_mut`
    unsafe fn split_state(&self, slot: usize) -> &mut [f32] {
        let elems = requirements::split_elems(&self.prepared.program);
        let members = self.member.members;
        debug_assert!(slot < requirements::splits(members) + requirements::split_heads(members));
        // SAFETY: the workspace holds every member's scratch and behind it these slots; the caller's promise.
        unsafe {
            let base = self.arena.base.add(self.prepared.workspace).cast::<f32>();
            let slots = base.add(members * self.prepared.scratch_elems);
            std::slice::from_raw_parts_mut(slots.add(slot * elems), elems)
        }
    }
}

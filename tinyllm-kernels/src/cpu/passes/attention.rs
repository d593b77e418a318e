//! The attention pass: workers take KV heads and tiles of queries, or, where a few sequences decode, segments of their
//! keys (split-KV, as in flash-decoding).

use std::{ops::Range, sync::atomic::Ordering};

use super::{
    Executor,
    queries::{self, Run},
};
use crate::cpu::{
    attention::{self, Cache, Partials, Queries},
    compile::{self, Attention, Workspace},
};

impl Executor<'_> {
    pub(super) fn attention(&self, operands: &Attention) {
        if self.shares_segments(operands) {
            self.attend_by_segments(operands);
        } else {
            self.attend_by_heads(operands);
        }
    }

    /// Whether workers take segments of the keys (split-KV): few KV heads, one query a run, and more than one segment.
    fn shares_segments(&self, operands: &Attention) -> bool {
        let heads = self.runs(operands).count() * operands.layout.kv_heads();
        let is_single = |run: Run| run.count == 1;
        let is_deep = self.runs(operands).any(|run| run.first_position >= attention::SEGMENT);
        let is_shared = self.worker.workers > 1
            && !self.worker.is_alone()
            && heads < compile::split_heads(self.worker.workers);
        is_shared && is_deep && self.runs(operands).all(is_single)
    }

    /// The keys that this worker reads first in a split-KV pass.
    pub(super) fn first_keys(&self, operands: &Attention) -> Option<*const u8> {
        if !self.shares_segments(operands) {
            return None;
        }
        let kv_heads = operands.layout.kv_heads();
        let splits = |run: Run| self.queries(operands, run, 0, kv_heads).splits();
        let total = self.runs(operands).map(splits).sum::<usize>().min(compile::splits(self.worker.workers));
        let mut split = self.bound.queues.range(self.worker.index, total).start;
        for run in self.runs(operands) {
            let queries = self.queries(operands, run, 0, kv_heads);
            if split < queries.splits() {
                return Some(attention::first_keys(self.cache(operands, run.sequence), &queries, split));
            }
            split -= queries.splits();
        }
        None
    }

    fn runs(&self, operands: &Attention) -> impl Iterator<Item = Run> {
        queries::runs(self.step, operands.out.rows)
    }

    /// Each worker takes whole KV heads of some queries.
    fn attend_by_heads(&self, operands: &Attention) {
        let kv_heads = operands.layout.kv_heads();
        let tile = attention::query_tile(self.bound.lowered.group);
        let total: usize = self.runs(operands).map(|run| run.count.div_ceil(tile) * kv_heads).sum();
        self.share_out(total, 1, |taken| {
            let mut first = 0;
            for run in self.runs(operands) {
                let tiles = run.count.div_ceil(tile);
                let mut items = taken.start.max(first)..taken.end.min(first + tiles * kv_heads);
                while !items.is_empty() {
                    // Consecutive items share a KV head, so that its keys stay in L2; a single query's heads are read
                    // together, because their keys are contiguous.
                    let (kv_head, index) = ((items.start - first) / tiles, (items.start - first) % tiles);
                    let heads = if run.count == 1 { items.len().min(tile) } else { 1 };
                    let queries = self.queries(operands, run.part(index * tile, tile), kv_head, heads);
                    let cache = self.cache(operands, run.sequence);
                    self.with_scratch(self.bound.lowered.workspace.scratch_elems, |scratch| {
                        // SAFETY: `Cpu::new` checked the instruction set; the block table covers every position up to
                        // the last query's with blocks of the cache (`Step::validate`), written by this step's earlier
                        // passes or by steps before; no worker writes q or the cache during this pass
                        // (`ProgramBuilder::finish`), and this worker alone took these rows and heads of `out`; scratch
                        // is as long as `compile::scratch_elems` says.
                        unsafe { attention::attend(self.isa, cache, &queries, scratch) };
                    });
                    items.start += heads;
                }
                first += tiles * kv_heads;
            }
        });
    }

    /// Split-KV: workers take splits (a segment of one KV head's keys), in waves of as many as there are slots for
    /// their states, and then merge the states head by head, in the order of segments: the same bits as without
    /// splitting. Worker 0 begins with the first splits and merges those as it computes them.
    fn attend_by_segments(&self, operands: &Attention) {
        let (kv_heads, workers) = (operands.layout.kv_heads(), self.worker.workers);
        let slots = compile::splits(workers);
        // Each run is one query: run i has output row i.
        let rows = operands.out.rows;
        let run = |index: usize| queries::run_at(self.step, rows, index);
        let queries = |index: usize| self.queries(operands, run(index), 0, kv_heads);
        let runs = self.runs(operands).count();
        let total: usize = (0..runs).map(|index| queries(index).splits()).sum();
        for wave in (0..total).step_by(slots) {
            let end = (wave + slots).min(total);
            let mut merged = 0;
            self.share_out(end - wave, 1, |taken| {
                let in_order = self.worker.index == 0 && taken.start == merged;
                let mut first = 0;
                for index in 0..runs {
                    let queries = queries(index);
                    let splits =
                        (wave + taken.start).max(first)..(wave + taken.end).min(first + queries.splits());
                    if !splits.is_empty() {
                        // SAFETY: this worker alone took the splits, and with them their slots; only worker 0 uses the
                        // heads' slots before the barrier.
                        let partials = unsafe {
                            match in_order {
                                true => Partials::ByHead(self.states(slots + index * kv_heads, kv_heads)),
                                false => Partials::BySplit(self.states(splits.start - wave, splits.len())),
                            }
                        };
                        let (cache, splits) = (
                            self.cache(operands, run(index).sequence),
                            splits.start - first..splits.end - first,
                        );
                        self.with_scratch(self.bound.lowered.workspace.scratch_elems, |scratch| {
                            // SAFETY: as in `attend_by_heads`; the slots do not overlap any worker's scratch.
                            unsafe {
                                attention::attend_splits(self.isa, cache, &queries, splits, partials, scratch)
                            };
                        });
                    }
                    first += queries.splits();
                }
                if in_order {
                    merged = taken.end;
                }
            });
            if self.worker.index == 0 {
                self.bound.merged.store(wave + merged, Ordering::Relaxed);
            }
            self.worker.wait();
            self.merge(operands, wave, self.bound.merged.load(Ordering::Relaxed)..end, runs);
            if end < total {
                self.worker.wait();
            }
        }
    }

    /// Merges the states of splits, which are in the slots of the wave that began with split `wave`, and writes the
    /// outputs of heads whose last split was among them. Of two workers the second one merges: it computed most of
    /// these splits.
    fn merge(&self, operands: &Attention, wave: usize, splits: Range<usize>, runs: usize) {
        let (layout, kv_heads) = (&operands.layout, operands.layout.kv_heads());
        let slots = compile::splits(self.worker.workers);
        let mut first = 0;
        for index in 0..runs {
            let run = queries::run_at(self.step, operands.out.rows, index);
            let queries = self.queries(operands, run, 0, kv_heads);
            let end = first + queries.splits();
            for head in (0..kv_heads).filter(|head| self.merges(index * kv_heads + head)) {
                // SAFETY: this worker alone merges this head (`merges`), and no worker writes the head's slots or its
                // splits' before the next barrier; the head's row of `out` is written by this worker only.
                unsafe {
                    let state = self.states(slots + index * kv_heads + head, 1);
                    let from = splits.start.max(first) - first;
                    let from = first + (from + kv_heads - 1 - head) / kv_heads * kv_heads + head;
                    for split in (from..splits.end.min(end)).step_by(kv_heads) {
                        let next = self.states(split - wave, 1);
                        if split < first + kv_heads {
                            state.copy_from_slice(next);
                        } else {
                            attention::merge(self.isa, layout, state, next);
                        }
                    }
                    if (wave + 1..=splits.end).contains(&end) {
                        attention::write(self.isa, layout, &queries, head, state);
                    }
                }
            }
            first = end;
        }
    }

    /// Whether this worker merges a head.
    fn merges(&self, head: usize) -> bool {
        1 + head % (self.worker.workers - 1) == self.worker.index
    }

    fn cache<'o>(&self, operands: &'o Attention, sequence: usize) -> Cache<'o>
    where
        Self: 'o,
    {
        Cache {
            layout: &operands.layout,
            base: self.cache.base,
            layer: operands.layer,
            block_table: self.step.block_table(sequence),
        }
    }

    /// The queries of a run for some KV heads.
    fn queries(&self, operands: &Attention, run: Run, kv_head: usize, kv_heads: usize) -> Queries {
        Queries {
            first_position: run.first_position,
            count: run.count,
            q: self.row_address(&operands.q, run.row).cast::<f32>(),
            q_stride_elems: operands.q.row_bytes / 4,
            out: self.row_address(&operands.out, run.out_row).cast::<f32>(),
            out_stride_elems: operands.out.row_bytes / 4,
            kv_head,
            kv_heads,
            group: self.bound.lowered.group,
            scale: operands.scale,
            window: operands.window,
        }
    }

    /// States in the workspace: first one slot for each split of a wave, then one for each KV head of each query.
    ///
    /// # Safety
    /// No other reference to these slots exists while they are borrowed.
    #[allow(clippy::mut_from_ref)] // as `row_mut`
    unsafe fn states(&self, first: usize, count: usize) -> &mut [f32] {
        let Workspace { offset, scratch_elems, split_elems: elems } = self.bound.lowered.workspace;
        let workers = self.worker.workers;
        debug_assert!(first + count <= compile::splits(workers) + compile::split_heads(workers));
        // SAFETY: the workspace has these slots after all workers' scratch (`compile::regions`), 4-byte aligned,
        // initialised (host memory is zeroed); no other reference to them exists (this function's contract).
        unsafe {
            let base = self.arena.base.add(offset).cast::<f32>();
            let slots = base.add(workers * scratch_elems);
            std::slice::from_raw_parts_mut(slots.add(first * elems), count * elems)
        }
    }
}

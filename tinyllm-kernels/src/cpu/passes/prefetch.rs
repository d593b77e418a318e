//! Software prefetches. While a worker waits at a barrier, when memory is idle, it prefetches the beginning of the
//! weights that it multiplies next, or of the keys that it attends to; before a matmul, the cache slots that keys and
//! values will be written to.

use std::{cell::Cell, hint::black_box};

use super::Executor;
use crate::{
    Isa,
    cpu::{
        compile::Work,
        kv::TILE_TOKENS,
        lanes::{CACHE_LINE_BYTES, prefetch_early},
        layout::MAX_STREAMS,
        matmul::Matrices,
        threads::IdleWork,
    },
};

/// Number of passes to search for the next one to prefetch for: norms and attention lie between matmuls.
const LOOKAHEAD_PASSES: usize = 4;

/// Bytes of weights prefetched at most: a part of L2.
const BYTES: usize = 128 << 10;

/// Bytes of keys prefetched at most: attention's kernel prefetches what follows.
const KEY_BYTES: usize = 16 << 10;

/// Cache lines prefetched between two polls of the barrier.
const LINES_PER_POLL: usize = 8;

/// What this worker reads next, and how much of that has been prefetched.
#[derive(Clone, Copy)]
pub(super) struct Next<'a> {
    /// The pass that reads it.
    pass: usize,
    what: What<'a>,
    /// Cache lines prefetched so far.
    lines: usize,
}

#[derive(Clone, Copy)]
enum What<'a> {
    Nothing,
    /// The beginnings of the streams; each slice extends beyond what is read.
    Weights([&'a [u8]; MAX_STREAMS]),
    /// An address, not a slice: other workers may still write keys there.
    Keys(*const u8),
}

impl Next<'_> {
    pub(super) const NOTHING: Self = Next { pass: usize::MAX, what: What::Nothing, lines: 0 };
}

/// The idle work at a barrier: prefetches some cache lines at each poll.
pub(super) struct Prefetch<'a, 'w> {
    isa: Isa,
    next: &'w Cell<Next<'a>>,
}

impl IdleWork for Prefetch<'_, '_> {
    #[inline]
    fn advance(&mut self) -> bool {
        let mut next = self.next.get();
        let lines = next.lines..next.lines + LINES_PER_POLL;
        let is_more = match next.what {
            What::Nothing => false,
            // Loads whose results are not used, not prefetch instructions: the hardware prefetcher follows loads, and
            // more cache lines are in flight. `get` ends them with the slice.
            What::Weights(starts) => {
                for line in lines.clone() {
                    black_box(starts[line % MAX_STREAMS].get(line / MAX_STREAMS * CACHE_LINE_BYTES).copied());
                }
                lines.end < BYTES / CACHE_LINE_BYTES
            }
            What::Keys(keys) => {
                for line in lines.clone() {
                    prefetch_early(self.isa, keys.wrapping_add(line * CACHE_LINE_BYTES));
                }
                lines.end < KEY_BYTES / CACHE_LINE_BYTES
            }
        };
        if is_more {
            next.lines = lines.end;
        } else {
            next.what = What::Nothing;
        }
        self.next.set(next);
        is_more
    }
}

impl<'a> Executor<'a> {
    /// Prefetches the cache slots that this worker writes a single token's keys and values to in the next pass, if that
    /// writes the cache.
    pub(super) fn prefetch_slots(&self, pass: usize) {
        let lowered = &self.bound.lowered;
        let next = lowered.passes.get(pass + 1).map(|next| &next.work);
        let Some(Work::RopeAndCacheWrite(operands)) = next else { return };
        let layout = &operands.layout;
        if self.step.tokens() > 1 {
            return;
        }
        let query_heads = lowered.program.query_heads();
        let range = self.bound.queues.range(self.worker.index, self.rotated_heads(layout));
        for kv_head in range.start.max(query_heads)..range.end.max(query_heads) {
            let (position, place) = self.slot(0, operands.layer, kv_head - query_heads, layout);
            let value_bytes = layout.head_dim() * layout.format().size_bytes();
            let value = place.values + position % TILE_TOKENS * value_bytes;
            for part in [place.keys..place.keys + TILE_TOKENS * value_bytes, value..value + value_bytes] {
                for line in part.step_by(CACHE_LINE_BYTES) {
                    prefetch_early(self.isa, self.cache.base.wrapping_add(line));
                }
            }
        }
    }

    /// The idle work at the barrier after `pass`.
    pub(super) fn prefetch(&self, pass: usize) -> Prefetch<'a, '_> {
        let known = self.next.get();
        let next = (pass + 1..self.bound.lowered.passes.len())
            .take(LOOKAHEAD_PASSES)
            .find_map(|next| if next == known.pass { Some(known) } else { self.next(next) });
        self.next.set(next.unwrap_or(Next::NOTHING));
        Prefetch { isa: self.isa, next: &self.next }
    }

    /// What a pass reads first, if it reads weights as streams, or keys as splits.
    fn next(&self, pass: usize) -> Option<Next<'a>> {
        let what = match &self.pass(pass).work {
            Work::Attention(operands) => What::Keys(self.first_keys(operands)?),
            work => {
                let (matrices, rows) = self.matrices(work)?;
                What::Weights(self.starts(&matrices, rows))
            }
        };
        Some(Next { pass, what, lines: 0 })
    }

    /// The matrices that a pass reads as streams, and the number of input rows.
    fn matrices(&self, work: &Work) -> Option<(Matrices<'a>, usize)> {
        match work {
            Work::Linear { parts } => {
                Some((self.linear_matrices(parts)?, self.row_count(&parts.first()?.input)))
            }
            Work::SwiGluLinear { gate, up } => {
                Some((self.swiglu_matrices(gate, up)?, self.row_count(&gate.input)))
            }
            _ => None,
        }
    }

    /// Where this worker's streams begin.
    fn starts(&self, matrices: &Matrices<'a>, rows: usize) -> [&'a [u8]; MAX_STREAMS] {
        let range = self.bound.queues.range(self.worker.index, matrices.panels());
        matrices.starts(matrices.streams(range, rows))
    }
}

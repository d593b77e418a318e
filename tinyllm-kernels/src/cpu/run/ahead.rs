//! What a member fetches before it is needed. While it waits for the others, when memory would be idle, that is the
//! beginning of the weights it multiplies next, or of the keys it attends to; while it multiplies, the slots that keys and
//! values will be written to.

use std::{cell::Cell, hint::black_box};

use super::{Worker, attention::Operands};
use crate::{
    Isa, Op,
    cpu::{
        lanes::{LINE_BYTES, prefetch_early},
        products::{Factors, MAX_STREAMS},
        team::Waiting,
    },
    kv_layout::TILE_TOKENS,
};

/// Operations to look ahead: a norm, or what attention needs, lies between two products.
const OPERATIONS: usize = 4;

/// Bytes fetched at most: a part of the second cache.
const BYTES: usize = 128 << 10;

/// Of keys: what attention does not fetch for itself.
const KEY_BYTES: usize = 16 << 10;

/// Lines fetched between two looks at the others.
const TURN: usize = 8;

/// What this member reads next, and how much of it it has fetched.
#[derive(Clone, Copy)]
pub(super) struct Next<'a> {
    /// The operation that reads it.
    operation: usize,
    what: What<'a>,
    /// Lines fetched.
    lines: usize,
}

#[derive(Clone, Copy)]
enum What<'a> {
    Nothing,
    /// Stretches that are read side by side.
    Weights([&'a [u8]; MAX_STREAMS]),
    /// Others may still write to them.
    Keys(*const u8),
}

impl Next<'_> {
    pub(super) const NOTHING: Self = Next { operation: usize::MAX, what: What::Nothing, lines: 0 };
}

/// Lines to fetch, some at each look at the others.
pub(super) struct Ahead<'a, 'w> {
    isa: Isa,
    next: &'w Cell<Next<'a>>,
}

impl Waiting for Ahead<'_, '_> {
    #[inline]
    fn turn(&mut self) -> bool {
        let mut next = self.next.get();
        let lines = next.lines..next.lines + TURN;
        let is_more = match next.what {
            What::Nothing => false,
            // Loads that nobody waits for: the processor follows them, and keeps more lines under way than it does for
            // requests. They end with the stretch.
            What::Weights(starts) => {
                for line in lines.clone() {
                    black_box(starts[line % MAX_STREAMS].get(line / MAX_STREAMS * LINE_BYTES).copied());
                }
                lines.end < BYTES / LINE_BYTES
            }
            What::Keys(keys) => {
                for line in lines.clone() {
                    prefetch_early(self.isa, keys.wrapping_add(line * LINE_BYTES));
                }
                lines.end < KEY_BYTES / LINE_BYTES
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

impl<'a> Worker<'a> {
    /// Fetches what a single token's keys and values will be written to after `operation`, where this member is to.
    pub(super) fn fetch_slots(&self, operation: usize) {
        let program = &self.prepared.program;
        let (kv, query_heads) = (program.kv(), program.query_heads());
        let Some(Op::RotateAndStore { layer, .. }) = program.ops().get(operation + 1) else { return };
        if self.step.token_ids.len() > 1 {
            return;
        }
        let range = self.prepared.shares.range(self.member.index, self.rotated_heads());
        for kv_head in range.start.max(query_heads)..range.end.max(query_heads) {
            let (position, place) = self.slot(0, *layer, kv_head - query_heads);
            let value_bytes = kv.head_dim() * kv.format().size_bytes();
            let value = place.values + position % TILE_TOKENS * value_bytes;
            for part in [place.keys..place.keys + TILE_TOKENS * value_bytes, value..value + value_bytes] {
                for line in part.step_by(LINE_BYTES) {
                    prefetch_early(self.isa, self.cache.base.wrapping_add(line));
                }
            }
        }
    }

    /// What to fetch after `operation`.
    pub(super) fn ahead(&self, operation: usize) -> Ahead<'a, '_> {
        let known = self.next.get();
        let next = (operation + 1..self.prepared.program.ops().len())
            .take(OPERATIONS)
            .find_map(|next| if next == known.operation { Some(known) } else { self.next(next) });
        self.next.set(next.unwrap_or(Next::NOTHING));
        Ahead { isa: self.isa, next: &self.next }
    }

    /// What an operation reads first, where it reads much.
    fn next(&self, operation: usize) -> Option<Next<'a>> {
        let what = match &self.prepared.program.ops()[operation] {
            Op::Attention { q, layer, scale, window, out } => {
                let operands = Operands { q: *q, layer: *layer, scale: *scale, window: *window, out: *out };
                What::Keys(self.first_keys(&operands)?)
            }
            _ => {
                let (factors, rows) = self.factors(operation)?;
                What::Weights(self.starts(&factors, rows))
            }
        };
        Some(Next { operation, what, lines: 0 })
    }

    /// What an operation multiplies while it streams by, and how many rows.
    fn factors(&self, operation: usize) -> Option<(Factors<'a>, usize)> {
        match self.prepared.program.ops().get(operation)? {
            Op::Linear { parts } => {
                Some((self.linear_factors(parts)?, self.row_count(parts[0].product.input)))
            }
            Op::GatedLinear { gate, up, out } => {
                Some((self.gated_factors(gate, up, *out)?, self.row_count(gate.input)))
            }
            _ => None,
        }
    }

    /// Where this member's streams begin.
    fn starts(&self, factors: &Factors<'a>, rows: usize) -> [&'a [u8]; MAX_STREAMS] {
        let range = self.prepared.shares.range(self.member.index, factors.panels());
        factors.starts(factors.streams(range, rows))
    }
}

//! What a member fetches while it waits for the others: the beginning of the weights it multiplies next, or of the keys it
//! attends to. Memory would be idle otherwise.

use std::cell::Cell;

use super::{Worker, attention::Operands};
use crate::{
    Isa, Op,
    cpu::{
        lanes::{LINE_BYTES, prefetch, prefetch_early},
        products::MAX_STREAMS,
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

/// Stretches that are read next by this member, and how much of them it has asked for.
#[derive(Clone, Copy)]
pub(super) struct Stretches {
    /// The operation that reads them.
    operation: usize,
    starts: [*const u8; MAX_STREAMS],
    count: usize,
    /// Lines, one of each stretch in turn.
    lines: usize,
    end: usize,
}

impl Stretches {
    pub(super) const NONE: Self = Stretches {
        operation: usize::MAX,
        starts: [std::ptr::null(); MAX_STREAMS],
        count: 0,
        lines: 0,
        end: 0,
    };
}

/// Lines to fetch, some at each look at the others.
pub(super) struct Ahead<'a> {
    isa: Isa,
    stretches: &'a Cell<Stretches>,
}

impl Waiting for Ahead<'_> {
    #[inline]
    fn turn(&mut self) -> bool {
        let mut stretches = self.stretches.get();
        let end = (stretches.lines + TURN).min(stretches.end);
        for line in stretches.lines..end {
            let offset = line / stretches.count * LINE_BYTES;
            prefetch_early(self.isa, stretches.starts[line % stretches.count].wrapping_add(offset));
        }
        stretches.lines = end;
        self.stretches.set(stretches);
        end < stretches.end
    }
}

impl Worker<'_> {
    /// Fetches the weight of the norm that comes after `operation`: too short for the processor to notice in time.
    pub(super) fn fetch_norm(&self, operation: usize) {
        if let Some(Op::RmsNorm { weight, .. }) = self.prepared.program.ops().get(operation + 1) {
            let bytes = self.prepared.weights.vector(*weight).as_bytes();
            for line in bytes.chunks(LINE_BYTES) {
                prefetch(self.isa, line.as_ptr());
            }
        }
    }

    /// Fetches what a single token's keys and values will be written to after `operation`.
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
    pub(super) fn ahead(&self, operation: usize) -> Ahead<'_> {
        if self.member.members == 1 {
            // Nobody to wait for.
            return Ahead { isa: self.isa, stretches: &self.stretches };
        }
        let start = operation + 1;
        let next = (start..self.prepared.program.ops().len().min(start + OPERATIONS))
            .find(|next| *next == self.stretches.get().operation || self.stretches(*next).is_some());
        match next {
            Some(next) if next == self.stretches.get().operation => {}
            next => self.stretches.set(next.and_then(|next| self.stretches(next)).unwrap_or(Stretches::NONE)),
        }
        Ahead { isa: self.isa, stretches: &self.stretches }
    }

    /// What an operation reads first, where it reads much.
    fn stretches(&self, operation: usize) -> Option<Stretches> {
        let (factors, input) = match &self.prepared.program.ops()[operation] {
            Op::Linear { parts } => (self.linear_factors(parts), parts[0].product.input),
            Op::GatedLinear { gate, up, out } => (self.gated_factors(gate, up, *out), gate.input),
            Op::Attention { q, layer, scale, window, out } => {
                let operands = Operands { q: *q, layer: *layer, scale: *scale, window: *window, out: *out };
                let starts = [self.first_keys(&operands)?, std::ptr::null()];
                return Some(Stretches {
                    operation,
                    starts,
                    count: 1,
                    lines: 0,
                    end: KEY_BYTES / LINE_BYTES,
                });
            }
            _ => return None,
        };
        let factors = factors?;
        let range = self.prepared.shares.range(self.member.index, factors.panels());
        let (starts, count) = factors.starts(factors.streams(range, self.row_count(input)));
        (count > 0).then_some(Stretches { operation, starts, count, lines: 0, end: BYTES / LINE_BYTES })
    }
}

//! What a member fetches while it waits for the others: the beginning of the weights it multiplies next. Memory would be
//! idle otherwise.

use super::Worker;
use crate::{
    Op,
    cpu::{products::MAX_STREAMS, team::Waiting},
};

/// Operations to look ahead: a norm, or what attention needs, lies between two products.
const OPERATIONS: usize = 4;

/// Bytes fetched at most: half of the nearest cache.
const BYTES: usize = 16 << 10;

const LINE_BYTES: usize = 64;

/// Lines to fetch, one at each look at the others.
pub(super) struct Ahead {
    isa: crate::Isa,
    streams: [*const u8; MAX_STREAMS],
    count: usize,
    lines: std::ops::Range<usize>,
}

impl Waiting for Ahead {
    #[inline]
    fn turn(&mut self) {
        if let Some(line) = self.lines.next() {
            let stream = self.streams[line % self.count];
            let offset = line / self.count * LINE_BYTES;
            crate::cpu::lanes::prefetch(self.isa, stream.wrapping_add(offset));
        }
    }
}

impl Worker<'_> {
    /// Fetches the weight of the norm that comes after `operation`: too short for the processor to notice in time.
    pub(super) fn fetch_norm(&self, operation: usize) {
        if let Some(Op::RmsNorm { weight, .. }) = self.prepared.program.ops().get(operation + 1) {
            let bytes = self.prepared.weights.vector(*weight).as_bytes();
            for line in bytes.chunks(LINE_BYTES) {
                crate::cpu::lanes::prefetch(self.isa, line.as_ptr());
            }
        }
    }

    /// What to fetch after `operation`.
    pub(super) fn ahead(&self, operation: usize) -> Ahead {
        let ops = &self.prepared.program.ops()[operation + 1..];
        let factors = ops.iter().take(OPERATIONS).find_map(|op| match op {
            Op::Linear { parts } => Some(self.linear_factors(parts)),
            Op::GatedLinear { gate, up, out } => Some(self.gated_factors(gate, up, *out)),
            _ => None,
        });
        let (streams, count) = match factors.flatten() {
            Some(factors) => {
                let range = self.prepared.shares.range(self.member.index, factors.panels());
                factors.starts(factors.streams(self.isa, range, self.step.token_ids.len()))
            }
            None => ([std::ptr::null(); MAX_STREAMS], 0),
        };
        Ahead { isa: self.isa, streams, count, lines: 0..if count == 0 { 0 } else { BYTES / LINE_BYTES } }
    }
}

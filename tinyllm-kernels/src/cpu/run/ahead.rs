//! What a member fetches while it waits for the others: the beginning of the weights it multiplies next. Memory would be
//! idle otherwise.

use super::Worker;
use crate::{
    Op,
    cpu::{
        lanes::{LINE_BYTES, prefetch},
        products::MAX_STREAMS,
        team::Waiting,
    },
};

/// Operations to look ahead: a norm, or what attention needs, lies between two products.
const OPERATIONS: usize = 4;

/// Bytes fetched at most: half of the nearest cache.
const BYTES: usize = 16 << 10;

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
            prefetch(self.isa, stream.wrapping_add(offset));
        }
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

    /// What to fetch after `operation`.
    pub(super) fn ahead(&self, operation: usize) -> Ahead {
        let ops = &self.prepared.program.ops()[operation + 1..];
        let product = |op: &&Op| matches!(op, Op::Linear { .. } | Op::GatedLinear { .. });
        let next = match ops.iter().take(OPERATIONS).find(product) {
            Some(Op::Linear { parts }) => {
                self.linear_factors(parts).map(|factors| (factors, parts[0].product.input))
            }
            Some(Op::GatedLinear { gate, up, out }) => {
                self.gated_factors(gate, up, *out).map(|factors| (factors, gate.input))
            }
            _ => None,
        };
        let (streams, count) = match next {
            Some((factors, input)) => {
                let range = self.prepared.shares.range(self.member.index, factors.panels());
                factors.starts(factors.streams(range, self.row_count(input)))
            }
            None => ([std::ptr::null(); MAX_STREAMS], 0),
        };
        Ahead { isa: self.isa, streams, count, lines: 0..if count == 0 { 0 } else { BYTES / LINE_BYTES } }
    }
}

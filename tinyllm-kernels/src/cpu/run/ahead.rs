//! What a member fetches while it waits for the others: the beginning of the weights it multiplies next. Memory would be
//! idle otherwise.

use super::{STREAMS, Worker};
use crate::{
    Op, Product,
    cpu::{products::WeightView, team::Waiting},
};

/// Operations to look ahead: a norm, or what attention needs, lies between two products.
const OPERATIONS: usize = 4;

/// Bytes fetched at most: half of the nearest cache.
const BYTES: usize = 16 << 10;

const LINE_BYTES: usize = 64;

/// Lines to fetch, one at each look at the others.
pub(super) struct Ahead {
    isa: crate::Isa,
    address: *const u8,
    streams: usize,
    stream_bytes: usize,
    lines: std::ops::Range<usize>,
}

impl Waiting for Ahead {
    #[inline]
    fn turn(&mut self) {
        if let Some(line) = self.lines.next() {
            let offset = line % self.streams * self.stream_bytes + line / self.streams * LINE_BYTES;
            crate::cpu::lanes::prefetch(self.isa, self.address.wrapping_add(offset));
        }
    }
}

impl Worker<'_> {
    /// What to fetch after `operation`.
    pub(super) fn ahead(&self, operation: usize) -> Ahead {
        let ops = &self.prepared.program.ops()[operation + 1..];
        let next = ops.iter().take(OPERATIONS).find_map(|op| match op {
            Op::Linear { parts } => self.first_panel(parts.iter().map(|part| &part.product)),
            Op::GatedLinear { gate, .. } => self.first_panel([gate].into_iter()),
            _ => None,
        });
        let (address, stream_bytes, streams) = next.unwrap_or((std::ptr::null(), 0, 0));
        let lines = BYTES.min(streams * stream_bytes) / LINE_BYTES;
        Ahead { isa: self.isa, address, streams: streams.max(1), stream_bytes, lines: 0..lines }
    }

    /// Where this member's range of the products' panels begins: address, bytes of a panel, panels read at once.
    fn first_panel<'p>(
        &self,
        products: impl Iterator<Item = &'p Product> + Clone,
    ) -> Option<(*const u8, usize, usize)> {
        let total = products.clone().map(|product| self.panels(product)).sum();
        let range = self.prepared.shares.range(self.member.index, total);
        let mut first = 0;
        for product in products {
            let count = self.panels(product);
            if range.start < first + count {
                let WeightView::Panels(weight) = self.prepared.weights.view(product.weight) else {
                    return None;
                };
                let bytes = weight.values.len() / count;
                let address = weight.values.as_ptr().wrapping_add((range.start - first) * bytes);
                return Some((address.cast(), bytes, range.len().min(STREAMS)));
            }
            first += count;
        }
        None
    }
}

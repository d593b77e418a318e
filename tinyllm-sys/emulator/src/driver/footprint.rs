//! What a piece of work touched: a kernel byte by byte, copies and allocations as ranges.

use std::ops::Range;

use crate::memory::{CHUNK_BYTES, Chunk, Touched};

/// The memory that a piece of work used.
#[derive(Debug, Default)]
pub(super) struct Footprint {
    pub(super) touched: Touched,
    pub(super) reads: Vec<Range<u64>>,
    pub(super) writes: Vec<Range<u64>>,
}

/// An address that two pieces of work use without an order between them: whether each changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overlap {
    pub(super) address: u64,
    pub(super) writes: bool,
    pub(super) other_writes: bool,
}

impl Footprint {
    pub(super) fn is_empty(&self) -> bool {
        self.touched.chunks.is_empty() && self.reads.is_empty() && self.writes.is_empty()
    }

    /// The lowest address where the two need an order.
    pub(super) fn overlap(&self, other: &Footprint) -> Option<Overlap> {
        let bytes = self.touched.conflict(&other.touched).map(|(address, _)| {
            // The sets may have been looked at in either order: what each does there is asked again.
            let writes = |touched: &Touched| touched.changes(address);
            Overlap { address, writes: writes(&self.touched), other_writes: writes(&other.touched) }
        });
        let mut overlaps: Vec<Overlap> = bytes.into_iter().collect();
        for (range, other_writes) in other.ranges() {
            let overlap = self.touched.first_in(range, other_writes);
            overlaps.extend(overlap.map(|(address, writes)| Overlap { address, writes, other_writes }));
        }
        for (range, writes) in self.ranges() {
            let overlap = other.touched.first_in(range, writes);
            overlaps.extend(overlap.map(|(address, other_writes)| Overlap { address, writes, other_writes }));
            for (other_range, other_writes) in other.ranges() {
                let start = range.start.max(other_range.start);
                if start < range.end.min(other_range.end) && (writes || other_writes) {
                    overlaps.push(Overlap { address: start, writes, other_writes });
                }
            }
        }
        overlaps.into_iter().min_by_key(|overlap| overlap.address)
    }

    /// Bytes of the copy or the allocation that has an address.
    pub(super) fn range_bytes(&self, address: u64) -> Option<u64> {
        let range = self.ranges().map(|(range, _)| range).find(|range| range.contains(&address))?;
        Some(range.end - range.start)
    }

    fn ranges(&self) -> impl Iterator<Item = (&Range<u64>, bool)> {
        let reads = self.reads.iter().map(|range| (range, false));
        reads.chain(self.writes.iter().map(|range| (range, true)))
    }
}

impl Touched {
    /// Whether a byte is written or changed.
    fn changes(&self, address: u64) -> bool {
        let (word, bit) = ((address % CHUNK_BYTES / 64) as usize, address % 64);
        self.chunks
            .get(&(address / CHUNK_BYTES))
            .is_some_and(|chunk| (chunk.written[word] | chunk.atomic[word]) >> bit & 1 == 1)
    }

    /// The first byte of a range that is changed, or touched at all where `all`; and whether it is changed.
    fn first_in(&self, range: &Range<u64>, all: bool) -> Option<(u64, bool)> {
        let (first, last) = (range.start / CHUNK_BYTES, range.end.saturating_sub(1) / CHUNK_BYTES);
        let look = |index: u64, chunk: &Chunk| {
            let start = index * CHUNK_BYTES;
            let inside = range.start.max(start)..range.end.min(start + CHUNK_BYTES);
            inside.into_iter().find_map(|address| {
                let (word, bit) = ((address % CHUNK_BYTES / 64) as usize, address % 64);
                let changed = (chunk.written[word] | chunk.atomic[word]) >> bit & 1 == 1;
                let read = (chunk.read[word] | chunk.observed[word]) >> bit & 1 == 1;
                (changed || all && read).then_some((address, changed))
            })
        };
        if last - first < self.chunks.len() as u64 {
            return (first..=last).find_map(|index| look(index, self.chunks.get(&index)?));
        }
        let inside = self.chunks.iter().filter(|(index, _)| (first..=last).contains(*index));
        inside.filter_map(|(index, chunk)| look(*index, chunk)).min()
    }
}

//! Pools of stream-ordered memory: segments reserved from the device, and which free ranges can be allocated again by which
//! stream.

use tinyllm_sys::PoolUsage;

use super::{clock::Clock, heap::Heap};

/// Segments are multiples of this.
const SEGMENT_BYTES: u64 = 2 << 20;

/// Allocations are multiples of this.
pub(super) const GRANULE_BYTES: u64 = 512;

/// Left between two allocations of a segment.
const GUARD_BYTES: u64 = 512;

/// A free range of a segment.
#[derive(Clone, Debug)]
struct Hole {
    start: u64,
    bytes: u64,
    /// Work that must be before its next allocation: the frees of what was there.
    after: Clock,
}

#[derive(Debug)]
struct Segment {
    start: u64,
    bytes: u64,
    /// Bytes allocated, with their guards.
    used: u64,
    holes: Vec<Hole>,
}

/// A pool of a device.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) device: usize,
    pub(super) threshold_bytes: u64,
    /// Whether it is the device's default pool.
    pub(super) is_default: bool,
    segments: Vec<Segment>,
    usage: PoolUsage,
}

impl Pool {
    pub(super) fn new(device: usize, threshold_bytes: u64) -> Self {
        Pool { device, threshold_bytes, is_default: false, segments: Vec::new(), usage: PoolUsage::default() }
    }

    pub(super) fn usage(&self) -> PoolUsage {
        self.usage
    }

    /// Whether nothing of it is allocated.
    pub(super) fn is_unused(&self) -> bool {
        self.usage.used_bytes == 0
    }

    /// Allocates for work whose clock this is: only ranges whose frees are before it.
    pub(super) fn allocate(&mut self, heap: &mut Heap, bytes: u64, clock: &Clock) -> Option<u64> {
        let size = bytes.next_multiple_of(GRANULE_BYTES);
        let taken = size + GUARD_BYTES;
        let found = self.segments.iter().enumerate().find_map(|(segment, candidate)| {
            let knows = |hole: &Hole| {
                let mut with = clock.clone();
                with.join(&hole.after);
                hole.bytes >= taken && with == *clock
            };
            candidate.holes.iter().position(knows).map(|hole| (segment, hole))
        });
        let (segment, hole) = match found {
            Some(found) => found,
            None => {
                let bytes = taken.checked_next_multiple_of(SEGMENT_BYTES)?;
                if !heap.take(bytes) {
                    return None;
                }
                let Some(start) = heap.reserve(bytes, SEGMENT_BYTES) else {
                    heap.give(bytes);
                    return None;
                };
                let whole = Hole { start, bytes, after: Clock::default() };
                self.segments.push(Segment { start, bytes, used: 0, holes: vec![whole] });
                self.usage.reserved_bytes += bytes;
                self.usage.reserved_high_bytes =
                    self.usage.reserved_high_bytes.max(self.usage.reserved_bytes);
                (self.segments.len() - 1, 0)
            }
        };
        let segment = &mut self.segments[segment];
        let hole = &mut segment.holes[hole];
        let address = hole.start;
        hole.start += taken;
        hole.bytes -= taken;
        segment.used += taken;
        segment.holes.retain(|hole| hole.bytes > 0);
        self.usage.used_bytes += size;
        self.usage.used_high_bytes = self.usage.used_high_bytes.max(self.usage.used_bytes);
        Some(address)
    }

    /// Frees an allocation: its range can be allocated by work that is after `clock`.
    pub(super) fn free(&mut self, address: u64, bytes: u64, clock: &Clock) {
        let size = bytes.next_multiple_of(GRANULE_BYTES);
        let inside =
            |segment: &&mut Segment| (segment.start..segment.start + segment.bytes).contains(&address);
        if let Some(segment) = self.segments.iter_mut().find(inside) {
            let taken = size + GUARD_BYTES;
            segment.used -= taken;
            segment.holes.push(Hole { start: address, bytes: taken, after: clock.clone() });
            segment.merge();
            self.usage.used_bytes -= size;
        }
    }

    /// Releases whole free segments whose frees the host has waited for, while more than `keep_bytes` are reserved.
    pub(super) fn trim(&mut self, heap: &mut Heap, keep_bytes: u64, host: &Clock) {
        let mut reserved = self.usage.reserved_bytes;
        self.segments.retain(|segment| {
            let known = |hole: &Hole| {
                let mut with = host.clone();
                with.join(&hole.after);
                with == *host
            };
            let goes = segment.used == 0 && reserved > keep_bytes && segment.holes.iter().all(known);
            if goes {
                reserved -= segment.bytes;
                heap.give(segment.bytes);
            }
            !goes
        });
        self.usage.reserved_bytes = reserved;
    }
}

impl Segment {
    /// Neighbouring holes become one: who gets it has to know of both.
    fn merge(&mut self) {
        self.holes.sort_by_key(|hole| hole.start);
        let mut merged: Vec<Hole> = Vec::with_capacity(self.holes.len());
        for hole in self.holes.drain(..) {
            match merged.last_mut() {
                Some(last) if last.start + last.bytes == hole.start => {
                    last.bytes += hole.bytes;
                    last.after.join(&hole.after);
                }
                _ => merged.push(hole),
            }
        }
        self.holes = merged;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn memory_goes_to_those_who_know_that_it_was_freed() {
        let mut heap = Heap::new(0, 64 << 20);
        let mut pool = Pool::new(0, 0);
        let (mut first, second) = (Clock::default(), Clock::default());
        let a = pool.allocate(&mut heap, 1 << 20, &first).unwrap();
        first.set(1, 5);
        pool.free(a, 1 << 20, &first);
        assert_ne!(pool.allocate(&mut heap, 1 << 20, &second).unwrap(), a);
        assert_eq!(pool.allocate(&mut heap, 1 << 20, &first).unwrap(), a);
        assert_eq!(pool.usage().used_bytes, 2 << 20);
        assert_eq!(pool.usage().reserved_bytes % (2 << 20), 0);
    }

    #[test]
    fn segments_go_back_above_the_threshold() {
        let mut heap = Heap::new(0, 8 << 20);
        let mut pool = Pool::new(0, 0);
        let clock = Clock::default();
        let a = pool.allocate(&mut heap, 3 << 20, &clock).unwrap();
        assert_eq!(heap.free_bytes(), 4 << 20);
        assert_eq!(pool.allocate(&mut heap, 5 << 20, &clock), None);
        pool.trim(&mut heap, 0, &clock);
        assert_eq!(heap.free_bytes(), 4 << 20);
        pool.free(a, 3 << 20, &clock);
        pool.trim(&mut heap, 4 << 20, &clock);
        assert_eq!(heap.free_bytes(), 4 << 20);
        pool.trim(&mut heap, 0, &clock);
        assert_eq!((heap.free_bytes(), pool.usage().reserved_bytes), (8 << 20, 0));
    }
}

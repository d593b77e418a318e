//! A device's addresses and how much of its memory is taken.

use std::ops::RangeInclusive;

/// Where the first device's addresses begin; each next device's are as far apart.
const BASE: u64 = 0x7000_0000_0000;
const DISTANCE: u64 = 0x100_0000_0000;

/// Unmapped addresses after every allocation: at least so many,
const LEAST_GUARD_BYTES: u64 = 4096;

/// and while more than half of all addresses are left, as many as the allocation has bytes, between these: an index that is wrong by as
/// much as its array is long hits no other.
const GUARD_BYTES: RangeInclusive<u64> = 1 << 20..=1 << 32;

/// Addresses of a device. None is used twice, so that an access to freed memory is recognised for ever.
#[derive(Debug)]
pub(super) struct Heap {
    next: u64,
    end: u64,
    total_bytes: u64,
    taken_bytes: u64,
}

impl Heap {
    pub(super) fn new(ordinal: usize, total_bytes: u64) -> Self {
        let next = BASE + ordinal as u64 * DISTANCE;
        Heap { next, end: next + DISTANCE, total_bytes, taken_bytes: 0 }
    }

    /// Addresses without memory.
    pub(super) fn reserve(&mut self, bytes: u64, align_bytes: u64) -> Option<u64> {
        let start = self.next.checked_next_multiple_of(align_bytes)?;
        let guard = match self.next < self.end - DISTANCE / 2 {
            true => bytes.clamp(*GUARD_BYTES.start(), *GUARD_BYTES.end()),
            false => LEAST_GUARD_BYTES,
        };
        let end = start.checked_add(bytes)?.checked_add(guard)?;
        if end > self.end {
            return None;
        }
        self.next = end;
        Some(start)
    }

    /// Whether an address was used, or lies between two that were.
    pub(super) fn has_given(&self, address: u64) -> bool {
        (self.end - DISTANCE..self.next).contains(&address)
    }

    /// Takes memory; false where there is not as much.
    pub(super) fn take(&mut self, bytes: u64) -> bool {
        let fits = bytes <= self.total_bytes - self.taken_bytes;
        if fits {
            self.taken_bytes += bytes;
        }
        fits
    }

    pub(super) fn give(&mut self, bytes: u64) {
        self.taken_bytes -= bytes;
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.total_bytes - self.taken_bytes
    }

    pub(super) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }
}

//! Local memory of a warp's threads: variables, whose places are known, and above them what `alloca` gives.

use std::{collections::HashMap, ops::Range};

use super::{aligned::Aligned, transfer::lanes_of, undefined::UndefinedStore};
use crate::lanes::LANES;

/// Bytes after an allocation that are no other's: an access over its end hits none.
const GUARD_BYTES: u64 = 256;

/// Each thread's memory is in one piece.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) bytes: Aligned,
    written: Vec<bool>,
    /// The store that put an undefined value at a place.
    stores: HashMap<usize, UndefinedStore>,
    pub(super) of_thread: u32,
    /// Bytes of a thread's variables.
    variables: u64,
    /// What `alloca` gave each lane, in order; empty before there is any.
    allocations: Vec<Vec<(u64, u64)>>,
}

impl Local {
    pub(super) fn new(variables: u32) -> Self {
        // Threads' pieces begin where any access is aligned.
        let of_thread = variables.next_multiple_of(16);
        let bytes = of_thread as usize * LANES;
        Local {
            bytes: Aligned::new(bytes),
            written: vec![false; bytes],
            stores: HashMap::new(),
            of_thread,
            variables: u64::from(variables),
            allocations: Vec::new(),
        }
    }

    pub(super) fn reset(&mut self) {
        self.written.fill(false);
        self.stores.clear();
        self.allocations.clear();
    }

    /// Whether `alloca` has given memory to any lane.
    #[inline(always)]
    pub(super) fn has_allocations(&self) -> bool {
        !self.allocations.is_empty()
    }

    /// Whether a range is a lane's to use.
    pub(super) fn contains(&self, lane: usize, offset: u64, bytes: u64) -> bool {
        let Some(end) = offset.checked_add(bytes) else { return false };
        let allocated = self.allocations.get(lane).into_iter().flatten();
        end <= self.variables || allocated.into_iter().any(|(start, last)| *start <= offset && end <= *last)
    }

    /// The last allocation of a lane that begins before an offset.
    pub(super) fn allocation_before(&self, lane: usize, offset: u64) -> Option<(u64, u64)> {
        self.allocations.get(lane)?.iter().rev().find(|(start, _)| *start <= offset).copied()
    }

    /// Where the next allocation of a lane may begin.
    pub(super) fn top(&self, lane: usize) -> u64 {
        let last = self.allocations.get(lane).and_then(|allocations| allocations.last());
        last.map_or(self.variables, |(_, end)| *end) + GUARD_BYTES
    }

    /// New memory of a lane that nobody has written; `None` where it would go beyond an end.
    pub(super) fn allocate(&mut self, lane: usize, bytes: u64, align: u64, limit: u64) -> Option<u64> {
        let start = self.top(lane).checked_next_multiple_of(align)?;
        let end = start.checked_add(bytes).filter(|end| *end <= limit)?;
        if end > u64::from(self.of_thread) {
            self.grow(end.next_power_of_two() as u32);
        }
        let range = self.range(lane, start, bytes);
        self.stores.retain(|place, _| !range.contains(place));
        self.written[range].fill(false);
        self.allocations.resize_with(LANES, Vec::new);
        self.allocations[lane].push((start, end));
        Some(start)
    }

    /// Ends a lane's allocations from an earlier top on; false where it is none.
    pub(super) fn restore(&mut self, lane: usize, top: u64) -> bool {
        let now = self.top(lane);
        if let Some(allocations) = self.allocations.get_mut(lane) {
            allocations.retain(|(start, _)| *start < top);
        }
        top <= now && self.top(lane) == top
    }

    /// Makes each thread's piece longer.
    fn grow(&mut self, of_thread: u32) {
        let (old, new) = (self.of_thread as usize, of_thread as usize);
        let mut bytes = Aligned::new(new * LANES);
        let mut written = vec![false; new * LANES];
        for lane in 0..LANES {
            bytes.as_mut_slice()[lane * new..][..old]
                .copy_from_slice(&self.bytes.as_slice()[lane * old..][..old]);
            written[lane * new..][..old].copy_from_slice(&self.written[lane * old..][..old]);
        }
        let stores = self.stores.drain().map(|(place, store)| (place / old * new + place % old, store));
        self.stores = stores.collect();
        (self.bytes, self.written, self.of_thread) = (bytes, written, of_thread);
    }

    fn range(&self, lane: usize, offset: u64, bytes: u64) -> Range<usize> {
        let start = lane * self.of_thread as usize + offset as usize;
        start..start + bytes as usize
    }

    pub(super) fn is_written(&self, lane: usize, offset: u64, bytes: u64) -> bool {
        self.written[self.range(lane, offset, bytes)].iter().all(|written| *written)
    }

    pub(super) fn write(&mut self, lane: usize, offset: u64, bytes: u64) {
        let range = self.range(lane, offset, bytes);
        self.written[range].fill(true);
    }

    /// The bytes of an access that nobody wrote, a bit each.
    pub(super) fn unwritten(&self, lane: usize, offset: u64, bytes: u64) -> u32 {
        let written = self.written[self.range(lane, offset, bytes)].iter();
        written.enumerate().fold(0, |missing, (byte, written)| missing | u32::from(!written) << byte)
    }

    /// A store of undefined bytes, a bit each: they are again as if nobody had written them.
    pub(super) fn store_undefined(
        &mut self,
        lane: usize,
        offset: u64,
        undefined: u32,
        store: UndefinedStore,
    ) {
        let start = self.range(lane, offset, 0).start;
        for byte in lanes_of(undefined) {
            self.written[start + byte] = false;
            self.stores.insert(start + byte, store);
        }
    }

    /// The store that put an undefined value at an offset, if one did.
    pub(super) fn undefined_store(&self, lane: usize, offset: u64) -> Option<UndefinedStore> {
        self.stores.get(&self.range(lane, offset, 0).start).copied()
    }
}

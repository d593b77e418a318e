//! The memory that kernels allocate themselves, with `malloc` and `free`: a device's, of a limited size, from launch to launch.
//!
//! Addresses are used once, so that what was freed stays known; the bytes behind them are used again.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Bytes, Freed, Region, Space};
use crate::report::Place;

/// Addresses that a device's heap has.
pub(crate) const HEAP_ADDRESSES: u64 = 1 << 36;

/// What an allocation's address is a multiple of.
const ALIGN_BYTES: u64 = 16;

/// Unmapped addresses after an allocation: as many as it has bytes, between these.
const GUARD_BYTES: Range<u64> = 256..1 << 20;

/// Bytes that allocations are cut from.
const CHUNK_BYTES: u64 = 1 << 20;

/// Freed allocations that are remembered.
const MAX_FREED: usize = 1 << 16;

/// `CU_LIMIT_MALLOC_HEAP_SIZE` until a program sets it.
const DEFAULT_LIMIT: u64 = 8 << 20;

/// Why a pointer is not freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WrongFree {
    Freed,
    /// It is not the start of an allocation of this heap.
    NotAllocated,
}

#[derive(Debug, Default)]
struct State {
    space: Space,
    /// Addresses; none before a kernel that allocates is launched.
    addresses: Range<u64>,
    next: u64,
    taken_bytes: u64,
    limit_bytes: u64,
    /// What the next allocations are cut from, and how much of it is used.
    chunk: Option<(Arc<Bytes>, u64)>,
}

/// A device's heap.
#[derive(Debug)]
pub(crate) struct KernelHeap(Mutex<State>);

impl KernelHeap {
    pub(crate) fn new() -> Self {
        KernelHeap(Mutex::new(State { limit_bytes: DEFAULT_LIMIT, ..State::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets its size; false where kernels use it already, and it has another.
    pub(crate) fn set_limit(&self, bytes: u64) -> bool {
        let mut state = self.lock();
        if state.addresses.is_empty() {
            state.limit_bytes = bytes;
        }
        state.limit_bytes == bytes
    }

    /// Whether it has no addresses yet.
    pub(crate) fn is_unused(&self) -> bool {
        self.lock().addresses.is_empty()
    }

    /// Gives it its addresses: [`HEAP_ADDRESSES`] from one on.
    pub(crate) fn begin(&self, start: u64) {
        let mut state = self.lock();
        state.addresses = start..start + HEAP_ADDRESSES;
        state.next = start;
    }

    /// A new allocation's address; 0 where there is no room.
    pub(crate) fn allocate(&self, bytes: u64) -> u64 {
        let state = &mut *self.lock();
        // An allocation of nothing has an address too.
        let Some(size) = bytes.max(1).checked_next_multiple_of(ALIGN_BYTES) else { return 0 };
        let start = state.next;
        let guard = size.clamp(GUARD_BYTES.start, GUARD_BYTES.end);
        let next = size.checked_add(guard).and_then(|taken| start.checked_add(taken));
        let Some(next) = next.filter(|next| *next <= state.addresses.end) else { return 0 };
        if size > state.limit_bytes - state.taken_bytes {
            return 0;
        }
        let Some((memory, offset)) = state.cut(size) else { return 0 };
        state.next = next.next_multiple_of(ALIGN_BYTES);
        state.taken_bytes += size;
        let end = start + bytes.max(1);
        let label = format!("a malloc of {bytes} bytes").into();
        state.space.regions.push(Region { start, end, bytes: memory, offset, constant: false, label });
        start
    }

    /// Frees an allocation by its address.
    pub(crate) fn free(&self, address: u64) -> Result<(), WrongFree> {
        let state = &mut *self.lock();
        let found = state.space.index(address).filter(|index| state.space.regions[*index].start == address);
        let Some(index) = found else {
            let was_freed = state.space.freed.iter().any(|freed| freed.start == address);
            return Err(if was_freed { WrongFree::Freed } else { WrongFree::NotAllocated });
        };
        let region = state.space.regions.remove(index);
        state.taken_bytes -= (region.end - region.start).next_multiple_of(ALIGN_BYTES);
        if state.space.freed.len() >= MAX_FREED {
            state.space.freed.drain(..MAX_FREED / 2);
        }
        state.space.freed.push(Freed { start: region.start, end: region.end, label: region.label });
        Ok(())
    }

    /// The allocation of a whole range.
    pub(crate) fn find(&self, address: u64, bytes: u64) -> Option<Region> {
        let state = self.lock();
        state.addresses.contains(&address).then(|| state.space.find(address, bytes).cloned())?
    }

    /// The place of one of its addresses.
    pub(crate) fn place(&self, address: u64) -> Option<Place> {
        let state = self.lock();
        state.addresses.contains(&address).then(|| state.space.place(address))?
    }

    /// Where an access at an address of the heap leaves the allocation that it begins in.
    pub(crate) fn end_of(&self, address: u64) -> Option<u64> {
        let state = self.lock();
        state.space.index(address).map(|index| state.space.regions[index].end)
    }

    /// What was not freed.
    pub(crate) fn unfreed(&self) -> Vec<Region> {
        self.lock().space.regions.clone()
    }
}

impl State {
    /// Bytes that nobody has written, and where they are in their memory.
    fn cut(&mut self, size: u64) -> Option<(Arc<Bytes>, u64)> {
        if size > CHUNK_BYTES {
            return Some((Arc::new(Bytes::new(size).ok()?), 0));
        }
        if let Some((memory, used)) = &mut self.chunk
            && *used + size <= memory.len()
        {
            *used += size;
            return Some((memory.clone(), *used - size));
        }
        let memory = Arc::new(Bytes::new(CHUNK_BYTES).ok()?);
        self.chunk = Some((memory.clone(), size));
        Some((memory, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_freed_can_be_had_again_elsewhere() {
        let heap = KernelHeap::new();
        assert!(heap.set_limit(64));
        heap.begin(1 << 40);
        assert!(!heap.set_limit(128));
        let (first, second) = (heap.allocate(40), heap.allocate(16));
        assert_eq!(first % 16, 0);
        // 48 and 16 of 64 are taken.
        assert_eq!(heap.allocate(1), 0);
        assert!(heap.find(first, 40).is_some() && heap.find(first, 41).is_none());
        assert_eq!(heap.free(first + 16), Err(WrongFree::NotAllocated));
        assert_eq!(heap.free(first), Ok(()));
        assert_eq!(heap.free(first), Err(WrongFree::Freed));
        let third = heap.allocate(48);
        assert!(third > second);
        assert_eq!(heap.unfreed().iter().map(|region| region.start).collect::<Vec<_>>(), [second, third]);
    }
}

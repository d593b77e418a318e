//! A device: its memory, and what the program has of it.

use std::{collections::BTreeMap, sync::Arc};

use tinyllm_sys::DriverCode;

use super::heap::Heap;
use crate::{
    machine::GRID_WORKSPACE_BYTES,
    memory::{Bytes, Freed, HEAP_ADDRESSES, KernelHeap, Name, Region, Space},
    report::Place,
};

/// Freed ranges that are remembered.
const MAX_FREED: usize = 1 << 16;

/// How memory was allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// `cuMemAlloc`.
    Plain,
    /// A pool.
    Pool(u64),
    /// A module's variable.
    Module,
    /// `cuMemMap`.
    Mapped,
}

/// Memory as the program sees it: from the call that allocates it to the call that frees it.
#[derive(Clone, Debug)]
pub(super) struct Allocation {
    pub(super) bytes: u64,
    pub(super) origin: Origin,
    pub(super) label: Arc<str>,
}

#[derive(Debug)]
pub(super) struct Device {
    pub(super) heap: Heap,
    pub(super) space: Space,
    /// What kernels allocate.
    pub(super) kernel_heap: KernelHeap,
    /// By address.
    pub(super) allocations: BTreeMap<u64, Allocation>,
    /// Why the context is of no more use.
    pub(super) lost: Option<DriverCode>,
    /// How often its context was retained.
    pub(super) retained: u64,
}

impl Device {
    pub(super) fn new(ordinal: usize, memory_bytes: u64) -> Self {
        Device {
            heap: Heap::new(ordinal, memory_bytes),
            space: Space::default(),
            kernel_heap: KernelHeap::new(),
            allocations: BTreeMap::new(),
            lost: None,
            retained: 0,
        }
    }

    /// Lets kernels reach memory.
    pub(super) fn insert(&mut self, region: Region) {
        let at = self.space.regions.partition_point(|other| other.start < region.start);
        self.space.regions.insert(at, region);
    }

    /// Says that a region is a module's constant memory.
    pub(super) fn set_constant(&mut self, start: u64) {
        let region = self.space.index(start).and_then(|index| self.space.regions.get_mut(index));
        region.into_iter().for_each(|region| region.constant = true);
    }

    /// Whether a range is free of regions.
    pub(super) fn is_vacant(&self, start: u64, bytes: u64) -> bool {
        self.space.regions.iter().all(|region| region.end <= start || start + bytes <= region.start)
    }

    /// Takes memory from kernels; what was there is remembered.
    pub(super) fn remove(&mut self, start: u64) -> Option<Region> {
        let at = self.space.regions.partition_point(|other| other.start < start);
        let found = self.space.regions.get(at).is_some_and(|region| region.start == start);
        let region = found.then(|| self.space.regions.remove(at))?;
        if self.space.freed.len() >= MAX_FREED {
            self.space.freed.drain(..MAX_FREED / 2);
        }
        self.space.freed.push(Freed { start, end: region.end, label: region.label.clone() });
        Some(region)
    }

    /// The allocation that the program has at a whole range.
    pub(super) fn allocation(&self, address: u64, bytes: u64) -> Option<(u64, &Allocation)> {
        let (start, allocation) = self.allocations.range(..=address).next_back()?;
        let end = address.checked_add(bytes)?;
        (end <= start + allocation.bytes).then_some((*start, allocation))
    }

    /// New memory at an address.
    pub(super) fn region(address: u64, bytes: u64, label: Arc<str>) -> std::io::Result<Region> {
        Ok(Region {
            start: address,
            end: address + bytes,
            bytes: Arc::new(Bytes::new(bytes)?),
            offset: 0,
            constant: false,
            label,
        })
    }

    /// Gives addresses to the heap of a kernel that allocates.
    pub(super) fn begin_kernel_heap(&mut self) -> Result<(), DriverCode> {
        if self.kernel_heap.is_unused() {
            let start = self.heap.reserve(HEAP_ADDRESSES, 1 << 20).ok_or(DriverCode::OutOfMemory)?;
            self.kernel_heap.begin(start);
        }
        Ok(())
    }

    /// Memory that the blocks of one cooperative launch count themselves in: the driver's own, none of the program's.
    pub(super) fn add_workspace(&mut self) -> Result<u64, DriverCode> {
        let bytes = GRID_WORKSPACE_BYTES;
        let address = self.heap.reserve(bytes, bytes).ok_or(DriverCode::OutOfMemory)?;
        let region = Device::region(address, bytes, "the grid's barrier".into());
        let region = region.map_err(|_| DriverCode::OutOfMemory)?;
        region.bytes.write(0, &[0; GRID_WORKSPACE_BYTES as usize]);
        self.insert(region);
        Ok(address)
    }

    /// Names a range.
    pub(super) fn name(&mut self, start: u64, bytes: u64, name: &str) {
        // A range that is named again has the new name only.
        self.space.names.retain(|named| (named.start, named.end) != (start, start + bytes));
        self.space.names.push(Name { start, end: start + bytes, name: name.into() });
    }

    pub(super) fn place(&self, address: u64) -> Option<Place> {
        self.kernel_heap.place(address).or_else(|| self.space.place(address))
    }
}

//! `cuMemAddressReserve`, `cuMemCreate` and `cuMemMap`: memory in large pages at addresses of its own, without the driver's
//! allocator in between. Giving it back waits for the device, and sizes are rounded up to the driver's granularity, 2 MiB.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tinyllm_sys::{DevicePointer, DriverApi, DriverError, MemoryHandle};

use super::{Deferred, aligned, padded_bytes, refused};
use crate::{
    MemError,
    resource::{Allocation, Device, MemoryInfo, MemoryResource, Request, Stream},
};

/// Device memory that is mapped.
#[derive(Debug)]
pub struct MappedResource {
    driver: Arc<dyn DriverApi>,
    ordinal: u32,
    granularity: usize,
    deferred: Deferred,
    mappings: Mutex<HashMap<usize, Mapping>>,
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    start: DevicePointer,
    bytes: usize,
    memory: MemoryHandle,
}

impl MappedResource {
    /// The memory of the device number `ordinal`, which is the current context's.
    ///
    /// # Errors
    /// The driver's, where the device maps no memory.
    pub fn new(driver: Arc<dyn DriverApi>, ordinal: u32) -> Result<Self, MemError> {
        let granularity = driver
            .mem_allocation_granularity(ordinal)
            .map_err(|error| MemError::Driver { name: "mapped memory".into(), error })?;
        Ok(MappedResource {
            driver,
            ordinal,
            granularity,
            deferred: Deferred::default(),
            mappings: Mutex::default(),
        })
    }

    /// What allocations are rounded up to, in bytes.
    pub fn granularity_bytes(&self) -> usize {
        self.granularity
    }

    fn map(&self, bytes: usize) -> Result<Mapping, DriverError> {
        let start = self.driver.mem_address_reserve(bytes, 0)?;
        let created = self.driver.mem_create(self.ordinal, bytes);
        let memory = created.inspect_err(|_| {
            // SAFETY: reserved just now, and nothing is mapped in it. The first error is the one to tell.
            let _ = unsafe { self.driver.mem_address_free(start, bytes) };
        })?;
        let mapping = Mapping { start, bytes, memory };
        // SAFETY: the range is reserved and empty, the memory is new and as large.
        let mapped = unsafe {
            self.driver
                .mem_map(start, bytes, 0, memory)
                .and_then(|()| self.driver.mem_set_access(start, bytes, self.ordinal))
        };
        if let Err(error) = mapped {
            // SAFETY: nobody has the address yet. What is not mapped is an error that nobody needs.
            let _ = unsafe { self.unmap(mapping) };
            return Err(error);
        }
        Ok(mapping)
    }

    /// # Safety
    /// Nothing uses the range any more.
    unsafe fn unmap(&self, mapping: Mapping) -> Result<(), DriverError> {
        let Mapping { start, bytes, memory } = mapping;
        // SAFETY: the range is this resource's, and the caller promises that nothing uses it.
        let results = unsafe {
            [
                self.driver.mem_unmap(start, bytes),
                self.driver.mem_release(memory),
                self.driver.mem_address_free(start, bytes),
            ]
        };
        results.into_iter().collect()
    }
}

// SAFETY: the driver promises that mapped memory is valid and disjoint and stays until it is unmapped; the aligned address
// lies inside what was mapped.
unsafe impl MemoryResource for MappedResource {
    type Space = Device;

    fn allocate(&self, request: &Request) -> Result<Allocation, MemError> {
        let padded = padded_bytes(request)?;
        self.deferred.say(request)?;
        if request.bytes == 0 {
            return aligned(request, 0);
        }
        let too_large = || MemError::BadSize { name: request.name.clone(), bytes: request.bytes };
        let bytes = padded.checked_next_multiple_of(self.granularity).ok_or_else(too_large)?;
        let mapping = self.map(bytes).map_err(|error| refused(request, error))?;
        let allocation = aligned(request, mapping.start.0)?;
        self.driver.name_memory(mapping.start, bytes, &request.name);
        let mut mappings = self.mappings.lock().unwrap_or_else(PoisonError::into_inner);
        mappings.insert(allocation.address.as_ptr().addr(), mapping);
        Ok(allocation)
    }

    unsafe fn deallocate(&self, allocation: Allocation, _stream: Stream) {
        let mut mappings = self.mappings.lock().unwrap_or_else(PoisonError::into_inner);
        let mapping = mappings.remove(&allocation.address.as_ptr().addr()).filter(|_| allocation.bytes > 0);
        drop(mappings);
        if let Some(mapping) = mapping {
            // Work that was given before may not have run yet, and the driver does not wait for it here.
            self.deferred.keep(self.driver.context_synchronize());
            // SAFETY: it was on the list once, the caller promises that no later work uses it, and all earlier is done.
            self.deferred.keep(unsafe { self.unmap(mapping) });
        }
    }

    fn memory_info(&self) -> Option<MemoryInfo> {
        let (free_bytes, total_bytes) = self.driver.mem_get_info().ok()?;
        Some(MemoryInfo { free_bytes, total_bytes })
    }
}

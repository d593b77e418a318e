//! `cuMemAddressReserve`, `cuMemCreate` and `cuMemMap`: memory in large pages at addresses of its own, without the driver's
//! allocator in between. Giving it back waits for the device, and sizes are rounded up to the driver's granularity, 2 MiB.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tinyllm_sys::{DevicePointer, DriverApi, DriverError, MemoryHandle};

use super::{Context, Deferred, aligned, created, padded_bytes, refused};
use crate::{
    MemError,
    resource::{Allocation, Device, MemoryInfo, MemoryResource, Request, Stream},
};

/// Device memory that is mapped. It can be dropped on any thread.
#[derive(Debug)]
pub struct MappedResource {
    ordinal: u32,
    granularity: usize,
    deferred: Deferred,
    mappings: Mutex<HashMap<usize, Mapping>>,
    context: Context,
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    start: DevicePointer,
    bytes: usize,
    memory: MemoryHandle,
}

impl MappedResource {
    /// The memory of the device number `ordinal`, in the context that the process shares.
    ///
    /// # Errors
    /// The driver's, where there is no such device or it maps no memory.
    pub fn new(driver: Arc<dyn DriverApi>, ordinal: u32) -> Result<Self, MemError> {
        let context = created("mapped memory", Context::retain(driver, ordinal))?;
        let granularity = context.call(|driver| driver.mem_allocation_granularity(ordinal));
        Ok(MappedResource {
            granularity: created("mapped memory", granularity)?,
            ordinal,
            deferred: Deferred::default(),
            mappings: Mutex::default(),
            context,
        })
    }

    /// What allocations are rounded up to, in bytes.
    pub fn granularity_bytes(&self) -> usize {
        self.granularity
    }

    fn map(&self, driver: &dyn DriverApi, bytes: usize) -> Result<Mapping, DriverError> {
        let start = driver.mem_address_reserve(bytes, 0)?;
        let created = driver.mem_create(self.ordinal, bytes);
        let memory = created.inspect_err(|_| {
            // SAFETY: reserved just now, and nothing is mapped in it. The first error is the one to tell.
            let _ = unsafe { driver.mem_address_free(start, bytes) };
        })?;
        let mapping = Mapping { start, bytes, memory };
        // SAFETY: the range is reserved and empty, the memory is new and as large.
        let mapped = unsafe {
            driver
                .mem_map(start, bytes, 0, memory)
                .and_then(|()| driver.mem_set_access(start, bytes, self.ordinal))
        };
        if let Err(error) = mapped {
            // SAFETY: nobody has the address yet. What is not mapped is an error that nobody needs.
            let _ = unsafe { unmap(driver, mapping) };
            return Err(error);
        }
        Ok(mapping)
    }

    fn mappings(&self) -> MutexGuard<'_, HashMap<usize, Mapping>> {
        self.mappings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// # Safety
/// The mapping is this driver's, is given back once, and nothing uses the range any more.
unsafe fn unmap(driver: &dyn DriverApi, mapping: Mapping) -> Result<(), DriverError> {
    let Mapping { start, bytes, memory } = mapping;
    // SAFETY: the caller's promise, which is what the three calls ask for; a call that is refused leaves what the next one
    // names as it was.
    let results = unsafe {
        [driver.mem_unmap(start, bytes), driver.mem_release(memory), driver.mem_address_free(start, bytes)]
    };
    results.into_iter().collect()
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
        let mapping = self.context.call(|driver| {
            self.map(driver, bytes).inspect(|mapping| driver.name_memory(mapping.start, bytes, &request.name))
        });
        let mapping = mapping.map_err(|error| refused(request, error))?;
        let allocation = aligned(request, mapping.start.0)?;
        self.mappings().insert(allocation.address.as_ptr().addr(), mapping);
        Ok(allocation)
    }

    unsafe fn deallocate(&self, allocation: Allocation, _stream: Stream) {
        let address = allocation.address.as_ptr().addr();
        let mapping = if allocation.bytes > 0 { self.mappings().remove(&address) } else { None };
        let Some(mapping) = mapping else { return };
        let mut is_mapped = true;
        let result = self.context.call(|driver| {
            // Work that was given before may not have run yet, and the driver does not wait for it here.
            driver.context_synchronize()?;
            is_mapped = false;
            // SAFETY: this driver's mapping, which was in the list once. Work that was given to the device before is done,
            // and work that is given to it later does not use it, as the caller promises.
            unsafe { unmap(driver, mapping) }
        });
        if is_mapped {
            // Earlier work may still use the range: it stays, and stays known.
            self.mappings().entry(address).or_insert(mapping);
        }
        self.deferred.keep(result);
    }

    fn memory_info(&self) -> Option<MemoryInfo> {
        self.context.memory_info()
    }
}

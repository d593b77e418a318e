//! `cuMemAllocFromPoolAsync` and `cuMemFreeAsync` over a pool of its own: no call waits for the device, and what is freed on
//! a stream can be had again on it at once.

use std::sync::Arc;

use tinyllm_sys::{DevicePointer, DriverApi, PoolHandle, StreamHandle};

use super::{Bases, Deferred, aligned, padded_bytes, refused};
use crate::{
    MemError,
    resource::{Allocation, Device, MemoryInfo, MemoryResource, Request, Stream},
};

/// Stream-ordered device memory.
#[derive(Debug)]
pub struct StreamOrderedResource {
    driver: Arc<dyn DriverApi>,
    pool: PoolHandle,
    deferred: Deferred,
    bases: Bases,
}

impl StreamOrderedResource {
    /// A pool on the device number `ordinal` that keeps up to `release_threshold_bytes` of freed memory rather than to give
    /// it back to the system.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(
        driver: Arc<dyn DriverApi>,
        ordinal: u32,
        release_threshold_bytes: u64,
    ) -> Result<Self, MemError> {
        let pool = driver
            .mem_pool_create(ordinal, release_threshold_bytes)
            .map_err(|error| MemError::Driver { name: "memory pool".into(), error })?;
        Ok(StreamOrderedResource { driver, pool, deferred: Deferred::default(), bases: Bases::default() })
    }

    /// Waits for a stream: what was freed on it can be had on others then.
    ///
    /// # Errors
    /// The driver's.
    pub fn synchronize(&self, stream: Stream) -> Result<(), MemError> {
        // SAFETY: a `Stream` is a live stream of its driver (`Stream::from_raw`).
        let waited = unsafe { self.driver.stream_synchronize(StreamHandle(stream.handle())) };
        waited.map_err(|error| MemError::Driver { name: "synchronize".into(), error })
    }
}

impl Drop for StreamOrderedResource {
    fn drop(&mut self) {
        // SAFETY: buffers hold their resource, so none is left. What the driver says now nobody can hear.
        let _ = unsafe { self.driver.mem_pool_destroy(self.pool) };
    }
}

// SAFETY: the driver promises that its memory is valid on its stream, disjoint and stays until the free is reached; the
// aligned address lies inside what was asked for.
unsafe impl MemoryResource for StreamOrderedResource {
    type Space = Device;

    fn allocate(&self, request: &Request) -> Result<Allocation, MemError> {
        let padded = padded_bytes(request)?;
        self.deferred.say(request)?;
        let stream = StreamHandle(request.stream.handle());
        let base = match request.bytes {
            0 => 0,
            _ => {
                // SAFETY: the pool is this resource's; a `Stream` is a live stream of its driver.
                let base = unsafe { self.driver.mem_alloc_from_pool_async(padded, self.pool, stream) };
                let base = base.map_err(|error| refused(request, error))?;
                self.driver.name_memory(base, padded, &request.name);
                base.0
            }
        };
        Ok(self.bases.keep(base, aligned(request, base)?))
    }

    unsafe fn deallocate(&self, allocation: Allocation, stream: Stream) {
        if let Some(base) = self.bases.take(&allocation) {
            // SAFETY: it came from this pool, was on the list once, and the caller promises that no later work uses it.
            let freed =
                unsafe { self.driver.mem_free_async(DevicePointer(base), StreamHandle(stream.handle())) };
            self.deferred.keep(freed);
        }
    }

    fn memory_info(&self) -> Option<MemoryInfo> {
        let (free_bytes, total_bytes) = self.driver.mem_get_info().ok()?;
        Some(MemoryInfo { free_bytes, total_bytes })
    }
}

//! `cuMemAllocFromPoolAsync` and `cuMemFreeAsync` over a pool of its own: no call waits for the device, and what is freed on
//! a stream can be had again on it at once.

use std::sync::Arc;

use tinyllm_sys::{DevicePointer, DriverApi, PoolHandle, StreamHandle};

use super::{Bases, Context, Deferred, aligned, created, padded_bytes, refused};
use crate::{
    MemError,
    resource::{Allocation, Device, MemoryInfo, MemoryResource, Request, Stream},
};

/// Stream-ordered device memory. It can be dropped on any thread.
#[derive(Debug)]
pub struct StreamOrderedResource {
    pool: PoolHandle,
    deferred: Deferred,
    bases: Bases,
    context: Context,
}

impl StreamOrderedResource {
    /// A pool on the device number `ordinal` that keeps up to `release_threshold_bytes` of freed memory rather than to give
    /// it back to the system. The default stream is that of the context that the process shares.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(
        driver: Arc<dyn DriverApi>,
        ordinal: u32,
        release_threshold_bytes: u64,
    ) -> Result<Self, MemError> {
        let context = created("memory pool", Context::retain(driver, ordinal))?;
        let pool = context.call(|driver| driver.mem_pool_create(ordinal, release_threshold_bytes));
        let pool = created("memory pool", pool)?;
        Ok(StreamOrderedResource { pool, context, deferred: Deferred::default(), bases: Bases::default() })
    }

    /// Waits for a stream: what was freed on it can be had on others then.
    ///
    /// # Errors
    /// The driver's.
    pub fn synchronize(&self, stream: Stream) -> Result<(), MemError> {
        let waited = self.context.call(|driver| {
            // SAFETY: a `Stream` is a live stream of its driver (`Stream::from_raw`).
            unsafe { driver.stream_synchronize(StreamHandle(stream.handle())) }
        });
        waited.map_err(|error| MemError::Driver { name: "synchronize".into(), error })
    }
}

impl Drop for StreamOrderedResource {
    fn drop(&mut self) {
        // SAFETY: buffers hold their resource, so none is left. What the driver says now nobody can hear.
        let _ = self.context.call(|driver| unsafe { driver.mem_pool_destroy(self.pool) });
    }
}

// SAFETY: the driver promises that its memory is valid on its stream, disjoint and stays until the free is reached; the
// aligned address lies inside what was asked for.
unsafe impl MemoryResource for StreamOrderedResource {
    type Space = Device;

    fn allocate(&self, request: &Request) -> Result<Allocation, MemError> {
        let padded = padded_bytes(request)?;
        self.deferred.say(request)?;
        if request.bytes == 0 {
            return aligned(request, 0);
        }
        let stream = StreamHandle(request.stream.handle());
        let base = self.context.call(|driver| {
            // SAFETY: the pool is this resource's; a `Stream` is a live stream of its driver.
            let base = unsafe { driver.mem_alloc_from_pool_async(padded, self.pool, stream) };
            base.inspect(|base| driver.name_memory(*base, padded, &request.name))
        });
        let base = base.map_err(|error| refused(request, error))?;
        Ok(self.bases.keep(base.0, aligned(request, base.0)?))
    }

    unsafe fn deallocate(&self, allocation: Allocation, stream: Stream) {
        self.deferred.keep(self.bases.give_back(&allocation, |base| {
            self.context.call(|driver| {
                // SAFETY: this pool's memory, freed once (`give_back`), in the order of a live stream: work that is
                // ordered before may use it, and work that is ordered later does not, as the caller promises.
                unsafe { driver.mem_free_async(DevicePointer(base), StreamHandle(stream.handle())) }
            })
        }));
    }

    fn memory_info(&self) -> Option<MemoryInfo> {
        self.context.memory_info()
    }
}

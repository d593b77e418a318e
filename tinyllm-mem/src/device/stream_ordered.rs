//! `cuMemAllocFromPoolAsync` and `cuMemFreeAsync` over a pool of its own.

use tinyllm_sys::{DevicePointer, DriverApi, DriverError, PoolHandle, StreamHandle};

use super::{StreamOrderedResource, driver_memory::Kind};
use crate::{Context, Device, MemError, context::failed};

/// Device memory of a pool, allocated and freed in the order of streams.
#[derive(Debug)]
pub struct StreamOrdered {
    pool: PoolHandle,
    context: Context,
}

impl StreamOrderedResource {
    /// A pool on the context's device that keeps up to `release_threshold_bytes` of freed memory rather than to give it back
    /// to the system.
    ///
    /// # Errors
    /// The driver's; an error of an earlier destructor ([`Context`]).
    pub fn new(context: &Context, release_threshold_bytes: u64) -> Result<Self, MemError> {
        context.return_kept("memory pool")?;
        let pool = context.call(|driver| driver.mem_pool_create(context.ordinal(), release_threshold_bytes));
        let pool = pool.map_err(|error| failed("memory pool", error))?;
        Ok(Self::over(context, StreamOrdered { pool, context: context.clone() }))
    }
}

impl Drop for StreamOrdered {
    fn drop(&mut self) {
        // SAFETY: made in `new`, and dropped with its resource, which buffers hold, so none is left.
        let destroyed = self.context.call(|driver| unsafe { driver.mem_pool_destroy(self.pool) });
        self.context.keep(destroyed);
    }
}

// SAFETY: the driver promises that its memory is valid on its stream, disjoint and stays until the free is reached.
unsafe impl Kind for StreamOrdered {
    type Space = Device;
    type Block = DevicePointer;

    const IS_STREAM_ORDERED: bool = true;

    fn allocate(
        &self,
        driver: &dyn DriverApi,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<DevicePointer, DriverError> {
        // SAFETY: the pool is this kind's and lives as long; the stream lives, as the resource sees to.
        unsafe { driver.mem_alloc_from_pool_async(bytes, self.pool, stream) }
    }

    fn base(block: DevicePointer) -> u64 {
        block.0
    }

    unsafe fn free(
        &self,
        driver: &dyn DriverApi,
        block: DevicePointer,
        stream: StreamHandle,
    ) -> Result<(), DriverError> {
        // SAFETY: it came from this pool, is freed once, and no work that is ordered later uses it, as the caller promises.
        unsafe { driver.mem_free_async(block, stream) }
    }
}

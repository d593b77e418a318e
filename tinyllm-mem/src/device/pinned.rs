//! `cuMemAllocHost` and `cuMemFreeHost`.

use tinyllm_sys::{DriverApi, DriverError, StreamHandle};

use super::{PinnedHostResource, driver_memory::Kind};
use crate::{Context, Host, MemoryInfo};

/// Page-locked host memory.
#[derive(Debug)]
pub struct Pinned;

impl PinnedHostResource {
    /// Host memory that the driver locks for the context's device.
    pub fn new(context: &Context) -> Self {
        Self::over(context, Pinned)
    }
}

// SAFETY: the driver promises that its memory is valid, disjoint, can be read and written by the processor and stays until it
// is freed; all of it is zeroed here.
unsafe impl Kind for Pinned {
    type Space = Host;
    /// An address whose provenance is exposed.
    type Block = u64;

    const IS_STREAM_ORDERED: bool = false;

    fn allocate(
        &self,
        driver: &dyn DriverApi,
        bytes: usize,
        _stream: StreamHandle,
    ) -> Result<u64, DriverError> {
        let address = driver.mem_alloc_host(bytes)?;
        // SAFETY: as many bytes as were asked for, and the address was not returned to a caller yet.
        unsafe { address.write_bytes(0, bytes) };
        Ok(address.expose_provenance() as u64)
    }

    fn base(block: u64) -> u64 {
        block
    }

    unsafe fn free(
        &self,
        driver: &dyn DriverApi,
        block: u64,
        _stream: StreamHandle,
    ) -> Result<(), DriverError> {
        // SAFETY: it came from `mem_alloc_host`, is freed once, and nothing uses it, as the caller promises.
        unsafe { driver.mem_free_host(std::ptr::with_exposed_provenance_mut(block as usize)) }
    }

    /// The driver does not report how much host memory it can lock.
    fn memory_info(_context: &Context) -> Option<MemoryInfo> {
        None
    }
}

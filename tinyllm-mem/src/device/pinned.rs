//! `cuMemAllocHost`: page-locked memory of the host, which a device copies from and to without a detour.

use std::sync::Arc;

use tinyllm_sys::DriverApi;

use super::{Bases, Deferred, aligned, padded_bytes, refused};
use crate::{
    MemError,
    resource::{Allocation, Host, MemoryInfo, MemoryResource, Request, Stream},
};

/// Page-locked host memory, zeroed as all host memory is.
#[derive(Debug)]
pub struct PinnedHostResource {
    driver: Arc<dyn DriverApi>,
    deferred: Deferred,
    bases: Bases,
}

impl PinnedHostResource {
    /// Host memory that the driver locks.
    pub fn new(driver: Arc<dyn DriverApi>) -> Self {
        PinnedHostResource { driver, deferred: Deferred::default(), bases: Bases::default() }
    }
}

// SAFETY: the driver promises that its memory is valid, disjoint, can be written by the processor and stays until it is
// freed; the aligned address lies inside what was asked for.
unsafe impl MemoryResource for PinnedHostResource {
    type Space = Host;

    fn allocate(&self, request: &Request) -> Result<Allocation, MemError> {
        let padded = padded_bytes(request)?;
        self.deferred.say(request)?;
        let base = match request.bytes {
            0 => 0,
            _ => {
                let address = self.driver.mem_alloc_host(padded).map_err(|error| refused(request, error))?;
                // SAFETY: as many bytes as were asked for, and nobody else's yet.
                unsafe { address.write_bytes(0, padded) };
                address.expose_provenance() as u64
            }
        };
        Ok(self.bases.keep(base, aligned(request, base)?))
    }

    unsafe fn deallocate(&self, allocation: Allocation, _stream: Stream) {
        if let Some(base) = self.bases.take(&allocation) {
            let address = std::ptr::with_exposed_provenance_mut(base as usize);
            // SAFETY: it came from this driver, was on the list once, and the caller promises that nothing uses it.
            self.deferred.keep(unsafe { self.driver.mem_free_host(address) });
        }
    }

    fn memory_info(&self) -> Option<MemoryInfo> {
        None
    }
}

//! `cuMemAllocHost`: page-locked memory of the host, which a device copies from and to without a detour.

use std::sync::Arc;

use tinyllm_sys::DriverApi;

use super::{Bases, Context, Deferred, aligned, created, padded_bytes, refused};
use crate::{
    MemError,
    resource::{Allocation, Host, MemoryInfo, MemoryResource, Request, Stream},
};

/// Page-locked host memory for the work of one device, zeroed as all host memory is. It can be dropped on any thread.
/// Giving it back waits for that device, whatever the stream; work of another device with it must be done before.
#[derive(Debug)]
pub struct PinnedHostResource {
    deferred: Deferred,
    bases: Bases,
    context: Context,
}

impl PinnedHostResource {
    /// Host memory that the driver locks, for the device number `ordinal`, in the context that the process shares.
    ///
    /// # Errors
    /// The driver's, where there is no such device or it has no context.
    pub fn new(driver: Arc<dyn DriverApi>, ordinal: u32) -> Result<Self, MemError> {
        let context = created("page-locked memory", Context::retain(driver, ordinal))?;
        Ok(PinnedHostResource { context, deferred: Deferred::default(), bases: Bases::default() })
    }
}

// SAFETY: the driver promises that its memory is valid, disjoint, can be written by the processor and stays until it is
// freed; the aligned address lies inside what was asked for.
unsafe impl MemoryResource for PinnedHostResource {
    type Space = Host;

    fn allocate(&self, request: &Request) -> Result<Allocation, MemError> {
        let padded = padded_bytes(request)?;
        self.deferred.say(request)?;
        if request.bytes == 0 {
            return aligned(request, 0);
        }
        let address = self.context.call(|driver| driver.mem_alloc_host(padded));
        let address = address.map_err(|error| refused(request, error))?;
        // SAFETY: as many bytes as were asked for, and nobody else's yet.
        unsafe { address.write_bytes(0, padded) };
        let base = address.expose_provenance() as u64;
        Ok(self.bases.keep(base, aligned(request, base)?))
    }

    unsafe fn deallocate(&self, allocation: Allocation, _stream: Stream) {
        self.deferred.keep(self.bases.give_back(&allocation, |base| {
            self.context.call(|driver| {
                // Earlier work may use the memory still, and `cuMemFreeHost` does not promise to wait for it.
                driver.context_synchronize()?;
                let address = std::ptr::with_exposed_provenance_mut(base as usize);
                // SAFETY: this driver's memory, freed once (`give_back`). The processor does not use it: its owner is
                // giving it back. Work that was given to the device before is done, and work that is given to it later
                // does not use it, as the caller promises.
                unsafe { driver.mem_free_host(address) }
            })
        }));
    }

    fn memory_info(&self) -> Option<MemoryInfo> {
        None
    }
}

//! `cuMemAlloc` and `cuMemFree`. Giving memory back waits for the device.

use std::sync::Arc;

use tinyllm_sys::{DevicePointer, DriverApi};

use super::{Bases, Context, Deferred, aligned, created, padded_bytes, refused};
use crate::{
    MemError,
    resource::{Allocation, Device, MemoryInfo, MemoryResource, Request, Stream},
};

/// Device memory, allocated and freed at once. It can be dropped on any thread.
#[derive(Debug)]
pub struct DeviceResource {
    deferred: Deferred,
    bases: Bases,
    context: Context,
}

impl DeviceResource {
    /// The memory of the device number `ordinal`, in the context that the process shares.
    ///
    /// # Errors
    /// The driver's, where there is no such device or it has no context.
    pub fn new(driver: Arc<dyn DriverApi>, ordinal: u32) -> Result<Self, MemError> {
        let context = created("device memory", Context::retain(driver, ordinal))?;
        Ok(DeviceResource { context, deferred: Deferred::default(), bases: Bases::default() })
    }
}

// SAFETY: the driver promises that its memory is valid, disjoint and stays until it is freed; the aligned address lies
// inside what was asked for.
unsafe impl MemoryResource for DeviceResource {
    type Space = Device;

    fn allocate(&self, request: &Request) -> Result<Allocation, MemError> {
        let padded = padded_bytes(request)?;
        self.deferred.say(request)?;
        if request.bytes == 0 {
            return aligned(request, 0);
        }
        let base = self.context.call(|driver| {
            driver.mem_alloc(padded).inspect(|base| driver.name_memory(*base, padded, &request.name))
        });
        let base = base.map_err(|error| refused(request, error))?;
        Ok(self.bases.keep(base.0, aligned(request, base.0)?))
    }

    unsafe fn deallocate(&self, allocation: Allocation, _stream: Stream) {
        self.deferred.keep(self.bases.give_back(&allocation, |base| {
            self.context.call(|driver| {
                // Earlier work may use the memory still, and `cuMemFree` may wait for it, but does not promise to.
                driver.context_synchronize()?;
                // SAFETY: this driver's memory, freed once (`give_back`). Work that was given to the device before is
                // done; work that is given to it later does not use it, as the caller promises.
                unsafe { driver.mem_free(DevicePointer(base)) }
            })
        }));
    }

    fn memory_info(&self) -> Option<MemoryInfo> {
        self.context.memory_info()
    }
}

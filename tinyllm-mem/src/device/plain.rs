//! `cuMemAlloc` and `cuMemFree`: each call waits for the device.

use std::sync::Arc;

use tinyllm_sys::{DevicePointer, DriverApi};

use super::{Bases, Deferred, aligned, padded_bytes, refused};
use crate::{
    MemError,
    resource::{Allocation, Device, MemoryInfo, MemoryResource, Request, Stream},
};

/// Device memory, allocated and freed at once.
#[derive(Debug)]
pub struct DeviceResource {
    driver: Arc<dyn DriverApi>,
    deferred: Deferred,
    bases: Bases,
}

impl DeviceResource {
    /// The memory of the driver's current device.
    pub fn new(driver: Arc<dyn DriverApi>) -> Self {
        DeviceResource { driver, deferred: Deferred::default(), bases: Bases::default() }
    }
}

// SAFETY: the driver promises that its memory is valid, disjoint and stays until it is freed; the aligned address lies
// inside what was asked for.
unsafe impl MemoryResource for DeviceResource {
    type Space = Device;

    fn allocate(&self, request: &Request) -> Result<Allocation, MemError> {
        let padded = padded_bytes(request)?;
        self.deferred.say(request)?;
        let base = match request.bytes {
            0 => 0,
            _ => {
                let base = self.driver.mem_alloc(padded).map_err(|error| refused(request, error))?;
                self.driver.name_memory(base, padded, &request.name);
                base.0
            }
        };
        Ok(self.bases.keep(base, aligned(request, base)?))
    }

    unsafe fn deallocate(&self, allocation: Allocation, _stream: Stream) {
        if let Some(base) = self.bases.take(&allocation) {
            // SAFETY: it came from this driver, was on the list once, and the caller promises that nothing uses it.
            self.deferred.keep(unsafe { self.driver.mem_free(DevicePointer(base)) });
        }
    }

    fn memory_info(&self) -> Option<MemoryInfo> {
        let (free_bytes, total_bytes) = self.driver.mem_get_info().ok()?;
        Some(MemoryInfo { free_bytes, total_bytes })
    }
}

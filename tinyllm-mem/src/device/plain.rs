//! `cuMemAlloc` and `cuMemFree`.

use tinyllm_sys::{DevicePointer, DriverApi, DriverError, StreamHandle};

use super::{DeviceResource, driver_memory::Kind};
use crate::{Context, Device};

/// Device memory that is allocated and freed at once.
#[derive(Debug)]
pub struct Plain;

impl DeviceResource {
    /// Memory of the context's device.
    pub fn new(context: &Context) -> Self {
        Self::over(context, Plain)
    }
}

// SAFETY: the driver promises that its memory is valid, disjoint and stays until it is freed.
unsafe impl Kind for Plain {
    type Space = Device;
    type Block = DevicePointer;

    const IS_STREAM_ORDERED: bool = false;

    fn allocate(
        &self,
        driver: &dyn DriverApi,
        bytes: usize,
        _stream: StreamHandle,
    ) -> Result<DevicePointer, DriverError> {
        driver.mem_alloc(bytes)
    }

    fn base(block: DevicePointer) -> u64 {
        block.0
    }

    unsafe fn free(
        &self,
        driver: &dyn DriverApi,
        block: DevicePointer,
        _stream: StreamHandle,
    ) -> Result<(), DriverError> {
        // SAFETY: it came from `mem_alloc`, is freed once, and nothing uses it, as the caller promises.
        unsafe { driver.mem_free(block) }
    }
}

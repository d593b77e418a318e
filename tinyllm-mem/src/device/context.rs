//! A device's context, kept by each resource and made current around its calls, so that memory can be given back on any
//! thread.

use std::sync::Arc;

use tinyllm_sys::{ContextHandle, DeviceHandle, DriverApi, DriverError};

use crate::MemoryInfo;

/// The context that the process shares on a device. It lives as long as this.
#[derive(Debug)]
pub(super) struct Context {
    driver: Arc<dyn DriverApi>,
    device: DeviceHandle,
    handle: ContextHandle,
}

impl Context {
    /// That of the device number `ordinal`.
    pub(super) fn retain(driver: Arc<dyn DriverApi>, ordinal: u32) -> Result<Self, DriverError> {
        let device = driver.device_get(ordinal)?;
        let handle = driver.primary_context_retain(device)?;
        Ok(Context { driver, device, handle })
    }

    /// Calls the driver with this context current. Whatever was current on the calling thread, or nothing, is so again
    /// afterwards.
    pub(super) fn call<T>(
        &self,
        call: impl FnOnce(&dyn DriverApi) -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        let driver = &*self.driver;
        if driver.context_get_current()? == Some(self.handle) {
            return call(driver);
        }
        // SAFETY: the context is this driver's, and lives: it was retained in `retain`, and is released in `drop` alone.
        unsafe { driver.context_push_current(self.handle) }?;
        let _pushed = Pushed(driver);
        call(driver)
    }

    /// The device's memory.
    pub(super) fn memory_info(&self) -> Option<MemoryInfo> {
        let (free_bytes, total_bytes) = self.call(|driver| driver.mem_get_info()).ok()?;
        Some(MemoryInfo { free_bytes, total_bytes })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once in `retain`; a resource drops it last, and what it handed out keeps the resource. What the
        // driver says now nobody can hear.
        let _ = unsafe { self.driver.primary_context_release(self.device) };
    }
}

/// Takes a context off the thread's stack again, also where a call panics.
struct Pushed<'a>(&'a dyn DriverApi);

impl Drop for Pushed<'_> {
    fn drop(&mut self) {
        // There is one to take off, so the driver has nothing to refuse; the call's own result is what is to be told.
        let _ = self.0.context_pop_current();
    }
}

//! A device's context: shared by everything that is made in it, and made current around each call.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tinyllm_sys::{ContextHandle, DeviceHandle, DriverApi, DriverError};

use crate::{MemError, MemoryInfo};

/// A device's primary context, which all of a process shares, retained until the last clone is dropped. Streams, events and
/// resources each hold one, so that the context outlives them.
///
/// Calls can be made on any thread: the context is current while the driver is called, and afterwards what the thread had
/// before is current again.
///
/// A destructor cannot return what the driver refuses. The context keeps the first such error, and the next call in it that
/// allocates, creates or synchronises returns it, once; so does [`Context::take_error`].
///
/// ```
/// use std::sync::Arc;
/// use tinyllm_emulator::Emulator;
/// use tinyllm_mem::{Buffer, Category, Context, Device, DeviceResource, MemoryResource, Request};
/// let context = Context::primary(Arc::new(Emulator::default()), 0)?;
/// let memory: Arc<dyn MemoryResource<Space = Device>> = Arc::new(DeviceResource::new(&context));
/// let buffer = Buffer::<f32, Device>::allocate(&memory, Request::new(Category::Weights, "w", 4096, 256))?;
/// drop((memory, context));
/// // The buffer holds its resource, and that the context: it can be dropped on a thread without one.
/// std::thread::spawn(move || drop(buffer));
/// # Ok::<(), tinyllm_mem::MemError>(())
/// ```
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    driver: Arc<dyn DriverApi>,
    device: DeviceHandle,
    ordinal: u32,
    handle: ContextHandle,
    /// The first error of a destructor since the last call that returned one.
    error: Mutex<Option<DriverError>>,
}

impl Context {
    /// The primary context of the device number `ordinal`.
    ///
    /// # Errors
    /// The driver's, where there is no such device or it has no context.
    pub fn primary(driver: Arc<dyn DriverApi>, ordinal: u32) -> Result<Self, MemError> {
        let retained = driver
            .device_get(ordinal)
            .and_then(|device| Ok((device, driver.primary_context_retain(device)?)));
        let (device, handle) = retained.map_err(|error| failed("context", error))?;
        Ok(Context(Arc::new(Inner { driver, device, ordinal, handle, error: Mutex::default() })))
    }

    /// The driver that the context is of.
    pub fn driver(&self) -> &Arc<dyn DriverApi> {
        &self.0.driver
    }

    /// The device's number.
    pub fn ordinal(&self) -> u32 {
        self.0.ordinal
    }

    /// The driver's handle, which lives as long as this or a clone.
    pub fn handle(&self) -> ContextHandle {
        self.0.handle
    }

    /// Calls the driver with this context current. Whatever was current on the calling thread, or nothing, is so again
    /// afterwards.
    ///
    /// # Errors
    /// The call's, and the driver's where the context cannot be made current.
    pub fn call<T>(
        &self,
        call: impl FnOnce(&dyn DriverApi) -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        let driver = &*self.0.driver;
        if driver.context_get_current()? == Some(self.0.handle) {
            return call(driver);
        }
        // SAFETY: the context is this driver's, retained in `primary` and released in `Inner::drop` alone, which has not run
        // while `self` is borrowed.
        unsafe { driver.context_push_current(self.0.handle) }?;
        let _pushed = Pushed(driver);
        call(driver)
    }

    /// Waits for all work of the device that was given to it in this context.
    ///
    /// # Errors
    /// The driver's, those of the work too; an error of an earlier destructor.
    pub fn synchronize(&self) -> Result<(), MemError> {
        self.return_kept("synchronize")?;
        self.call(|driver| driver.context_synchronize()).map_err(|error| failed("synchronize", error))
    }

    /// Free and total memory of the device; `None` where the driver fails.
    pub fn memory_info(&self) -> Option<MemoryInfo> {
        let (free_bytes, total_bytes) = self.call(|driver| driver.mem_get_info()).ok()?;
        Some(MemoryInfo { free_bytes, total_bytes })
    }

    /// The first error of a destructor that no call has returned yet.
    pub fn take_error(&self) -> Option<DriverError> {
        self.error().take()
    }

    /// Keeps a destructor's error until a call can return it.
    pub(crate) fn keep(&self, result: Result<(), DriverError>) {
        if let Err(error) = result {
            self.error().get_or_insert(error);
        }
    }

    /// Returns a kept error, under the name of what was asked for now.
    pub(crate) fn return_kept(&self, name: &str) -> Result<(), MemError> {
        self.take_error().map_or(Ok(()), |error| Err(failed(name, error)))
    }

    /// Whether both are contexts of one driver. Two objects over one driver count as two drivers.
    pub(crate) fn has_driver_of(&self, other: &Self) -> bool {
        Arc::as_ptr(&self.0.driver).addr() == Arc::as_ptr(&other.0.driver).addr()
    }

    fn error(&self) -> MutexGuard<'_, Option<DriverError>> {
        self.0.error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The driver's error of what is called `name`.
pub(crate) fn failed(name: &str, error: DriverError) -> MemError {
    MemError::Driver { name: name.into(), error }
}

/// The same context of the same driver. Two objects over one driver count as two drivers.
impl PartialEq for Context {
    fn eq(&self, other: &Self) -> bool {
        self.has_driver_of(other) && self.0.handle == other.0.handle
    }
}

impl Eq for Context {}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Context").field("ordinal", &self.0.ordinal).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: retained once in `primary`; streams, events and resources hold a clone of the context, so nothing of it is
        // used any more. No call is left that could return an error.
        let _ = unsafe { self.driver.primary_context_release(self.device) };
    }
}

/// Takes a context off the thread's stack again, also where a call panics.
struct Pushed<'a>(&'a dyn DriverApi);

impl Drop for Pushed<'_> {
    fn drop(&mut self) {
        // `call` pushed one, so the driver has nothing to refuse; the call's own result is the one to return.
        let _ = self.0.context_pop_current();
    }
}

//! The device to measure: this machine's GPU, or the emulated one, which checks every access and is given small cases.

use std::{
    error::Error,
    ffi::{CString, c_void},
    sync::Arc,
};

use tinyllm_emulator::Emulator;
use tinyllm_sys::{
    DeviceAttribute, DeviceHandle, DriverApi, FunctionHandle, LaunchConfig, ModuleHandle, StreamFlags,
    StreamHandle,
};

/// What can fail, with why.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Launches of a graph at most.
const MOST_SETS: usize = 4096;

/// A device whose context is current, and the stream that all work of the bench is on.
pub(crate) struct Device {
    pub(crate) driver: Arc<dyn DriverApi>,
    pub(crate) stream: StreamHandle,
    handle: DeviceHandle,
    emulator: Option<Emulator>,
}

impl Device {
    /// The first GPU that `driver` has.
    pub(crate) fn gpu(driver: impl DriverApi + 'static) -> Outcome<Self> {
        Self::new(Arc::new(driver), None)
    }

    /// A device that needs no GPU.
    pub(crate) fn emulated() -> Outcome<Self> {
        let emulator = Emulator::default();
        Self::new(Arc::new(emulator.clone()), Some(emulator))
    }

    fn new(driver: Arc<dyn DriverApi>, emulator: Option<Emulator>) -> Outcome<Self> {
        let handle = driver.device_get(0)?;
        let context = driver.primary_context_retain(handle)?;
        // SAFETY: the context is this driver's, and kept until the device goes.
        unsafe { driver.context_set_current(context) }?;
        let stream = driver.stream_create(StreamFlags::Default)?;
        Ok(Device { driver, stream, handle, emulator })
    }

    pub(crate) fn is_emulated(&self) -> bool {
        self.emulator.is_some()
    }

    /// Its name, and what decides how fast it is.
    pub(crate) fn title(&self) -> Outcome<String> {
        let attribute = |attribute| self.driver.device_attribute(attribute, self.handle);
        Ok(format!(
            "{}, {} multiprocessors, {} MiB of L2, driver of CUDA {}",
            self.driver.device_name(self.handle)?,
            attribute(DeviceAttribute::MultiprocessorCount)?,
            attribute(DeviceAttribute::L2CacheSize)? >> 20,
            self.driver.driver_version()?
        ))
    }

    /// A size to measure; of what is larger the emulated device is given `emulated`.
    pub(crate) fn size(&self, measured: usize, emulated: usize) -> usize {
        if self.is_emulated() { measured.min(emulated) } else { measured }
    }

    /// Sets of so many bytes that are `total_bytes` together, so that launches over one after another find none in a cache.
    pub(crate) fn sets(&self, bytes: usize, total_bytes: usize) -> usize {
        if self.is_emulated() { 2 } else { total_bytes.div_ceil(bytes).min(MOST_SETS) }
    }

    pub(crate) fn load(&self, ptx: &str) -> Outcome<Module<'_>> {
        Ok(Module { device: self, handle: self.driver.module_load_data(&CString::new(ptx)?)? })
    }

    /// Launches on the stream. Arguments are the low bytes of numbers.
    pub(crate) fn launch(
        &self,
        function: FunctionHandle,
        grid: [usize; 3],
        block: u32,
        arguments: &[u64],
    ) -> Outcome {
        let mut arguments = arguments.to_vec();
        let params: Vec<*mut c_void> =
            arguments.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
        let config = LaunchConfig::new(grid.map(|blocks| blocks as u32), [block, 1, 1]);
        // SAFETY: benches give as many arguments as the kernel has parameters, none larger than 8 bytes, and memory of the
        // sizes that the kernel's comment asks for, which is freed after the last synchronisation.
        unsafe { self.driver.launch_kernel(function, &config, self.stream, &params) }?;
        Ok(())
    }

    pub(crate) fn synchronize(&self) -> Outcome {
        Ok(self.driver.context_synchronize()?)
    }

    /// Gives the device back, and everything that the emulated one found.
    pub(crate) fn end(self) -> Vec<String> {
        let emulator = self.emulator.clone();
        drop(self);
        let findings = emulator.as_ref().map(Emulator::finish).unwrap_or_default();
        findings.iter().map(ToString::to_string).collect()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: both are this device's, and what borrowed it is gone. An error was told by the calls before.
        unsafe {
            let _ = self.driver.stream_destroy(self.stream);
            let _ = self.driver.primary_context_release(self.handle);
        }
    }
}

/// Loaded PTX.
pub(crate) struct Module<'device> {
    device: &'device Device,
    handle: ModuleHandle,
}

impl Module<'_> {
    pub(crate) fn function(&self, name: &str) -> Outcome<FunctionHandle> {
        let name = CString::new(name)?;
        // SAFETY: the module lives.
        Ok(unsafe { self.device.driver.module_get_function(self.handle, &name) }?)
    }
}

impl Drop for Module<'_> {
    fn drop(&mut self) {
        // SAFETY: benches synchronise after their last launch. An error was told by the calls before.
        let _ = unsafe { self.device.driver.module_unload(self.handle) };
    }
}

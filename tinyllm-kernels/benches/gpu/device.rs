//! The device to measure: this machine's GPU, or the emulated one, which checks every access and gets small cases.

use std::{
    error::Error,
    ffi::{CString, c_void},
    sync::Arc,
};

use tinyllm_emulator::Emulator;
use tinyllm_mem::{Context, DeviceResource, MemoryResource, Stream};
use tinyllm_sys::{DeviceAttribute, DriverApi, FunctionHandle, LaunchConfig, ModuleHandle, StreamFlags};

/// The result of a fallible step; the error is a message.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Kernel launches in a CUDA graph at most.
const MOST_SETS: usize = 4096;

/// A device with a current context, and the stream of all work.
pub(crate) struct Device {
    pub(crate) driver: Arc<dyn DriverApi>,
    pub(crate) context: Context,
    pub(crate) stream: Stream,
    pub(crate) memory: Arc<dyn MemoryResource<Space = tinyllm_mem::Device>>,
    emulator: Option<Emulator>,
}

impl Device {
    /// The first GPU of `driver`.
    pub(crate) fn gpu(driver: impl DriverApi + 'static) -> Outcome<Self> {
        Self::new(Arc::new(driver), None)
    }

    /// The emulated device.
    pub(crate) fn emulated() -> Outcome<Self> {
        let emulator = Emulator::default();
        Self::new(Arc::new(emulator.clone()), Some(emulator))
    }

    fn new(driver: Arc<dyn DriverApi>, emulator: Option<Emulator>) -> Outcome<Self> {
        let context = Context::primary(driver.clone(), 0)?;
        // SAFETY: the context is this driver's, and lives as long as the device.
        unsafe { driver.context_set_current(context.handle()) }?;
        let stream = Stream::new(&context, StreamFlags::Default)?;
        let memory = Arc::new(DeviceResource::new(&context));
        Ok(Device { driver, context, stream, memory, emulator })
    }

    pub(crate) fn is_emulated(&self) -> bool {
        self.emulator.is_some()
    }

    /// The device's name and main performance figures.
    pub(crate) fn title(&self) -> Outcome<String> {
        let device = self.driver.device_get(self.context.ordinal())?;
        let attribute = |attribute| self.driver.device_attribute(attribute, device);
        Ok(format!(
            "{}, {} multiprocessors, {} MiB of L2, driver of CUDA {}",
            self.driver.device_name(device)?,
            attribute(DeviceAttribute::MultiprocessorCount)?,
            attribute(DeviceAttribute::L2CacheSize)? >> 20,
            self.driver.driver_version()?
        ))
    }

    /// A size to measure; on the emulated device at most `emulated`.
    pub(crate) fn size(&self, measured: usize, emulated: usize) -> usize {
        if self.is_emulated() { measured.min(emulated) } else { measured }
    }

    /// Number of sets of `bytes` bytes that take `total_bytes` together, so that launches that rotate over them find
    /// none in a cache.
    pub(crate) fn sets(&self, bytes: usize, total_bytes: usize) -> usize {
        if self.is_emulated() { 2 } else { total_bytes.div_ceil(bytes).min(MOST_SETS) }
    }

    pub(crate) fn load(&self, ptx: &str) -> Outcome<Module<'_>> {
        Ok(Module { device: self, handle: self.driver.module_load_data(&CString::new(ptx)?)? })
    }

    /// Launches a kernel on the stream. Arguments are the low bytes of numbers.
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
        unsafe { self.driver.launch_kernel(function, &config, self.stream.handle(), &params) }?;
        Ok(())
    }

    pub(crate) fn synchronize(&self) -> Outcome {
        Ok(self.context.synchronize()?)
    }

    /// Releases the device; returns the errors that the emulated one found.
    pub(crate) fn end(self) -> Vec<String> {
        let emulator = self.emulator.clone();
        drop(self);
        let findings = emulator.as_ref().map(Emulator::finish).unwrap_or_default();
        findings.iter().map(ToString::to_string).collect()
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
        // SAFETY: the module is loaded until it is dropped.
        Ok(unsafe { self.device.driver.module_get_function(self.handle, &name) }?)
    }
}

impl Drop for Module<'_> {
    fn drop(&mut self) {
        // SAFETY: benches synchronise after their last launch, and the handle is not used afterwards. Errors were
        // reported by earlier calls.
        let _ = unsafe { self.device.driver.module_unload(self.handle) };
    }
}

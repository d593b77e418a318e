//! What tests say to a driver, in fewer words.

use std::ffi::{CString, c_void};

use tinyllm_emulator::{Builder, Emulator};
use tinyllm_sys::{
    DevicePointer, DriverApi, DriverError, FunctionHandle, LaunchConfig, ModuleHandle, StreamHandle,
};

/// An emulator with a current context.
pub(crate) struct Program {
    pub(crate) driver: Emulator,
}

impl Program {
    pub(crate) fn new(builder: Builder) -> Self {
        let driver = builder.build();
        let device = driver.device_get(0).unwrap();
        let context = driver.primary_context_retain(device).unwrap();
        // SAFETY: the context is this driver's.
        unsafe { driver.context_set_current(context) }.unwrap();
        Program { driver }
    }

    /// A module and its kernel of a name.
    pub(crate) fn load(&self, ptx: &str, name: &str) -> Result<(ModuleHandle, FunctionHandle), DriverError> {
        let module = self.driver.module_load_data(&CString::new(ptx).unwrap())?;
        // SAFETY: the module was just loaded.
        let function = unsafe { self.driver.module_get_function(module, &CString::new(name).unwrap()) }?;
        Ok((module, function))
    }

    pub(crate) fn kernel(&self, ptx: &str, name: &str) -> FunctionHandle {
        self.load(ptx, name).unwrap_or_else(|error| panic!("{error}")).1
    }

    /// Memory of a device with these bytes.
    pub(crate) fn upload<T: Copy>(&self, values: &[T]) -> DevicePointer {
        let bytes = std::mem::size_of_val(values);
        let pointer = self.driver.mem_alloc(bytes.max(1)).unwrap();
        // SAFETY: as many bytes on both sides.
        unsafe { self.driver.memcpy_htod(pointer, values.as_ptr().cast(), bytes) }.unwrap();
        pointer
    }

    pub(crate) fn download<T: Copy + Default>(&self, pointer: DevicePointer, count: usize) -> Vec<T> {
        self.try_download(pointer, count).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn try_download<T: Copy + Default>(
        &self,
        pointer: DevicePointer,
        count: usize,
    ) -> Result<Vec<T>, DriverError> {
        let mut values = vec![T::default(); count];
        let bytes = std::mem::size_of_val(values.as_slice());
        // SAFETY: as many bytes on both sides; `T` is a number.
        unsafe { self.driver.memcpy_dtoh(values.as_mut_ptr().cast(), pointer, bytes) }?;
        Ok(values)
    }

    /// Launches on a stream.
    pub(crate) fn launch_on(
        &self,
        stream: StreamHandle,
        function: FunctionHandle,
        config: LaunchConfig,
        arguments: &mut [u64],
    ) -> Result<(), DriverError> {
        let params: Vec<*mut c_void> =
            arguments.iter_mut().map(|argument| std::ptr::from_mut(argument).cast()).collect();
        // SAFETY: tests give as many arguments as the kernel has parameters, none larger than 8 bytes.
        unsafe { self.driver.launch_kernel(function, &config, stream, &params) }
    }

    /// Launches on the default stream: a row of blocks.
    pub(crate) fn launch(&self, function: FunctionHandle, blocks: u32, threads: u32, arguments: &mut [u64]) {
        let config = LaunchConfig::new([blocks, 1, 1], [threads, 1, 1]);
        self.launch_on(StreamHandle::LEGACY, function, config, arguments)
            .unwrap_or_else(|error| panic!("{error}"));
    }
}

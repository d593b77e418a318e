//! What tests say to a driver, in fewer words.

use std::ffi::{CString, c_void};

use tinyllm_emulator::{Builder, Emulator};
use tinyllm_sys::{
    DeviceAttribute, DevicePointer, DriverApi, DriverError, FunctionHandle, LaunchConfig, LibCuda,
    ModuleHandle, StreamHandle,
};

/// Environment variable: anything but `0` asks for this machine's GPU too.
const REAL: &str = "TINYLLM_TEST_GPU";

/// A driver with a current context: an emulator, if nothing else is said.
pub(crate) struct Program<D: DriverApi + ?Sized = Emulator> {
    pub(crate) driver: D,
}

/// Runs a test on an emulator, which finds nothing, and on this machine's GPU where that is asked for, and gives the result of
/// each.
pub(crate) fn on_each<T>(builder: Builder, run: impl Fn(&Program<dyn DriverApi>) -> T) -> Vec<T> {
    let emulated = Program::new(builder);
    let mut results = vec![run(&emulated)];
    assert_eq!(emulated.driver.findings(), []);
    results.extend(gpu().map(|gpu| run(&gpu)));
    results
}

/// The same, where every device gives the same.
pub(crate) fn same_on_each<T: PartialEq + std::fmt::Debug>(
    builder: Builder,
    what: &str,
    run: impl Fn(&Program<dyn DriverApi>) -> T,
) -> T {
    let mut results = on_each(builder, run);
    while results.len() > 1 {
        let other = results.pop();
        assert_eq!(other.as_ref(), results.last(), "{what}: the GPU (left) differs");
    }
    results.remove(0)
}

/// This machine's GPU, where it is asked for.
fn gpu() -> Option<Program<LibCuda>> {
    if !std::env::var(REAL).is_ok_and(|value| value != "0") {
        return None;
    }
    let driver = LibCuda::load().unwrap_or_else(|error| panic!("{REAL} asks for a GPU: {error}"));
    let device = driver.device_get(0).unwrap();
    let major = driver.device_attribute(DeviceAttribute::ComputeCapabilityMajor, device).unwrap();
    assert!(major >= 9, "the forms of PTX here need compute capability 9.0; this GPU has {major}");
    Some(Program::over(driver))
}

impl Program {
    pub(crate) fn new(builder: Builder) -> Self {
        Program::over(builder.build())
    }
}

impl<D: DriverApi> Program<D> {
    fn over(driver: D) -> Self {
        let device = driver.device_get(0).unwrap();
        let context = driver.primary_context_retain(device).unwrap();
        // SAFETY: the context is this driver's.
        unsafe { driver.context_set_current(context) }.unwrap();
        Program { driver }
    }
}

impl<D: DriverApi + ?Sized> Program<D> {
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

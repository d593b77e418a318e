//! The devices that tests run on, and a wrapper of the driver API for tests.

use std::{
    ffi::{CString, c_void},
    sync::{Arc, Mutex},
};

use tinyllm_emulator::{Builder, Emulator};
use tinyllm_mem::{Buffer, Category, Context, Device, DeviceResource, MemoryResource, Request};
use tinyllm_sys::{
    DevicePointer, DriverApi, FunctionAttribute, FunctionHandle, LaunchConfig, LibCuda, ModuleHandle,
    StreamHandle,
};

/// Environment variable: with any value but `0` the tests also run on this machine's GPU.
const REAL: &str = "TINYLLM_TEST_GPU";

/// A device with a current context. [`Gpu::end`] frees everything it allocated.
pub(crate) struct Gpu {
    pub(crate) driver: Arc<dyn DriverApi>,
    pub(crate) emulator: Option<Emulator>,
    context: Context,
    memory: Arc<dyn MemoryResource<Space = Device>>,
    buffers: Mutex<Vec<Buffer<u8, Device>>>,
    modules: Mutex<Vec<ModuleHandle>>,
}

/// The emulated device, and this machine's GPU if requested.
pub(crate) fn gpus() -> Vec<Gpu> {
    let mut gpus = vec![Gpu::emulated()];
    if std::env::var(REAL).is_ok_and(|value| value != "0") {
        let driver = LibCuda::load().unwrap_or_else(|error| panic!("{REAL} asks for a GPU: {error}"));
        gpus.push(Gpu::new(Arc::new(driver), None));
    }
    gpus
}

impl Gpu {
    pub(crate) fn emulated() -> Self {
        let emulator = Builder::from_env().unwrap().build();
        Gpu::new(Arc::new(emulator.clone()), Some(emulator))
    }

    fn new(driver: Arc<dyn DriverApi>, emulator: Option<Emulator>) -> Self {
        let context = Context::primary(driver.clone(), 0).unwrap();
        // SAFETY: the context is this driver's, and lives as long as `Gpu`.
        unsafe { driver.context_set_current(context.handle()) }.unwrap();
        let memory = Arc::new(DeviceResource::new(&context));
        Gpu { driver, emulator, context, memory, buffers: Mutex::default(), modules: Mutex::default() }
    }

    pub(crate) fn kernel(&self, ptx: &str, name: &str) -> FunctionHandle {
        let module =
            self.driver.module_load_data(&CString::new(ptx).unwrap()).unwrap_or_else(|e| panic!("{e}"));
        self.modules.lock().unwrap().push(module);
        // SAFETY: the module was just loaded, and is unloaded in `end` only.
        unsafe { self.driver.module_get_function(module, &CString::new(name).unwrap()) }.unwrap()
    }

    /// Device memory with these values.
    pub(crate) fn upload<T: bytemuck::Pod>(&self, name: &str, values: &[T]) -> u64 {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let pointer = self.room(name, bytes.len());
        // SAFETY: the allocation has the size of the host slice, and no kernel runs meanwhile.
        unsafe { self.driver.memcpy_htod(DevicePointer(pointer), bytes.as_ptr(), bytes.len()) }.unwrap();
        pointer
    }

    /// Uninitialised device memory.
    pub(crate) fn room(&self, name: &str, bytes: usize) -> u64 {
        let request = Request::new(Category::Workspace, name, bytes.max(1), 256);
        let buffer = Buffer::allocate(&self.memory, request).unwrap();
        let address = buffer.address().addr() as u64;
        self.buffers.lock().unwrap().push(buffer);
        address
    }

    pub(crate) fn download<T: bytemuck::Pod>(&self, pointer: u64, count: usize) -> Vec<T> {
        let mut values = vec![T::zeroed(); count];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut values);
        // SAFETY: the allocation has the size of the host slice, and no kernel runs meanwhile.
        let copied =
            unsafe { self.driver.memcpy_dtoh(bytes.as_mut_ptr(), DevicePointer(pointer), bytes.len()) };
        copied.unwrap_or_else(|error| panic!("{error}\n{}", self.findings()));
        values
    }

    /// Launches a kernel and waits for it. Arguments are the low bytes of numbers.
    pub(crate) fn launch(&self, function: FunctionHandle, grid: [u32; 3], block: u32, arguments: &[u64]) {
        let mut arguments = arguments.to_vec();
        let params: Vec<*mut c_void> =
            arguments.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
        let config = LaunchConfig::new(grid, [block, 1, 1]);
        // SAFETY: tests pass as many arguments as the kernel has parameters, each at most 8 bytes, over allocations as
        // large as the kernel needs.
        let launched = unsafe { self.driver.launch_kernel(function, &config, StreamHandle::LEGACY, &params) };
        launched.and_then(|()| self.driver.context_synchronize()).unwrap_or_else(|error| {
            panic!("{error}\n{}", self.findings());
        });
    }

    /// Launches a kernel of one parameter, a structure, with dynamic shared memory, and waits for it.
    pub(crate) fn launch_parameter(
        &self,
        function: FunctionHandle,
        grid: [u32; 3],
        block: u32,
        shared_bytes: u32,
        parameter: &mut [u64],
    ) {
        let params = [parameter.as_mut_ptr().cast::<c_void>()];
        let config = LaunchConfig { shared_bytes, ..LaunchConfig::new(grid, [block, 1, 1]) };
        let attribute = FunctionAttribute::MaxDynamicSharedSizeBytes;
        // SAFETY: the function is of a module of this driver's that lives; tests pass a structure of the parameter's size, with
        // addresses of allocations as large as the kernel needs.
        let launched = unsafe {
            self.driver
                .function_set_attribute(function, attribute, shared_bytes as i32)
                .and_then(|()| self.driver.launch_kernel(function, &config, StreamHandle::LEGACY, &params))
        };
        launched.and_then(|()| self.driver.context_synchronize()).unwrap_or_else(|error| {
            panic!("{error}\n{}", self.findings());
        });
    }

    fn findings(&self) -> String {
        let findings = self.emulator.as_ref().map(Emulator::findings).unwrap_or_default();
        findings.iter().map(|finding| format!("{finding}\n")).collect()
    }

    /// Frees everything; the emulator has found nothing.
    pub(crate) fn end(self) {
        self.buffers.lock().unwrap().clear();
        assert_eq!(self.context.take_error(), None);
        for module in self.modules.lock().unwrap().drain(..) {
            // SAFETY: nothing of it runs any more.
            unsafe { self.driver.module_unload(module) }.unwrap();
        }
        let found = self.emulator.as_ref().map(Emulator::finish).unwrap_or_default();
        assert!(found.is_empty(), "{}", self.findings());
    }
}

/// Runs a test on every device, and returns the results.
pub(crate) fn on_each<T>(run: impl Fn(&Gpu) -> T) -> Vec<T> {
    gpus()
        .into_iter()
        .map(|gpu| {
            let result = run(&gpu);
            gpu.end();
            result
        })
        .collect()
}

/// Results that PTX defines to the bit are the same on every device.
pub(crate) fn assert_same<T: PartialEq + std::fmt::Debug>(results: &[T]) {
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "devices differ");
}

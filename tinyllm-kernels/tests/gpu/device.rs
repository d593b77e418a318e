//! Devices to run kernels on, and what a test says to one.

use std::{
    ffi::{CString, c_void},
    sync::{Arc, Mutex},
};

use tinyllm_emulator::{Builder, Emulator};
use tinyllm_sys::{
    ContextHandle, DeviceHandle, DevicePointer, DriverApi, FunctionHandle, LaunchConfig, LibCuda,
    ModuleHandle, StreamHandle,
};

/// Environment variable: anything but `0` asks for this machine's GPU too.
const REAL: &str = "TINYLLM_TEST_GPU";

/// A device with a current context. What it hands out it takes back in [`Gpu::end`].
pub(crate) struct Gpu {
    pub(crate) driver: Arc<dyn DriverApi>,
    pub(crate) emulator: Option<Emulator>,
    device: DeviceHandle,
    memory: Mutex<Vec<DevicePointer>>,
    modules: Mutex<Vec<ModuleHandle>>,
}

/// The emulated device, and this machine's GPU where it is asked for.
pub(crate) fn gpus() -> Vec<Gpu> {
    let emulator = Builder::from_env().unwrap().build();
    let mut gpus = vec![Gpu::new(Arc::new(emulator.clone()), Some(emulator))];
    if std::env::var(REAL).is_ok_and(|value| value != "0") {
        let driver = LibCuda::load().unwrap_or_else(|error| panic!("{REAL} asks for a GPU: {error}"));
        gpus.push(Gpu::new(Arc::new(driver), None));
    }
    gpus
}

impl Gpu {
    fn new(driver: Arc<dyn DriverApi>, emulator: Option<Emulator>) -> Self {
        let device = driver.device_get(0).unwrap();
        let context: ContextHandle = driver.primary_context_retain(device).unwrap();
        // SAFETY: the context is this driver's.
        unsafe { driver.context_set_current(context) }.unwrap();
        Gpu { driver, emulator, device, memory: Mutex::default(), modules: Mutex::default() }
    }

    pub(crate) fn kernel(&self, ptx: &str, name: &str) -> FunctionHandle {
        let module =
            self.driver.module_load_data(&CString::new(ptx).unwrap()).unwrap_or_else(|e| panic!("{e}"));
        self.modules.lock().unwrap().push(module);
        // SAFETY: the module was just loaded and stays until the end.
        unsafe { self.driver.module_get_function(module, &CString::new(name).unwrap()) }.unwrap()
    }

    /// Memory with these values.
    pub(crate) fn upload<T: bytemuck::Pod>(&self, name: &str, values: &[T]) -> u64 {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let pointer = self.room(name, bytes.len());
        // SAFETY: as many bytes on both sides.
        unsafe { self.driver.memcpy_htod(DevicePointer(pointer), bytes.as_ptr(), bytes.len()) }.unwrap();
        pointer
    }

    /// Memory that nobody has written.
    pub(crate) fn room(&self, name: &str, bytes: usize) -> u64 {
        let pointer = self.driver.mem_alloc(bytes.max(1)).unwrap();
        self.driver.name_memory(pointer, bytes.max(1), name);
        self.memory.lock().unwrap().push(pointer);
        pointer.0
    }

    pub(crate) fn download<T: bytemuck::Pod>(&self, pointer: u64, count: usize) -> Vec<T> {
        let mut values = vec![T::zeroed(); count];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut values);
        // SAFETY: as many bytes on both sides.
        let copied =
            unsafe { self.driver.memcpy_dtoh(bytes.as_mut_ptr(), DevicePointer(pointer), bytes.len()) };
        copied.unwrap_or_else(|error| panic!("{error}\n{}", self.findings()));
        values
    }

    /// Launches and waits. Arguments are the low bytes of numbers.
    pub(crate) fn launch(&self, function: FunctionHandle, grid: [u32; 3], block: u32, arguments: &[u64]) {
        let mut arguments = arguments.to_vec();
        let params: Vec<*mut c_void> =
            arguments.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
        let config = LaunchConfig::new(grid, [block, 1, 1]);
        // SAFETY: tests give as many arguments as the kernel has parameters, none larger than 8 bytes.
        let launched = unsafe { self.driver.launch_kernel(function, &config, StreamHandle::LEGACY, &params) };
        launched.and_then(|()| self.driver.context_synchronize()).unwrap_or_else(|error| {
            panic!("{error}\n{}", self.findings());
        });
    }

    fn findings(&self) -> String {
        let findings = self.emulator.as_ref().map(Emulator::findings).unwrap_or_default();
        findings.iter().map(|finding| format!("{finding}\n")).collect()
    }

    /// Gives everything back; the emulator has found nothing.
    pub(crate) fn end(self) {
        // SAFETY: nothing runs any more and nobody uses the addresses.
        unsafe {
            for pointer in self.memory.lock().unwrap().drain(..) {
                self.driver.mem_free(pointer).unwrap();
            }
            for module in self.modules.lock().unwrap().drain(..) {
                self.driver.module_unload(module).unwrap();
            }
            self.driver.primary_context_release(self.device).unwrap();
        }
        let found = self.emulator.as_ref().map(Emulator::finish).unwrap_or_default();
        assert!(found.is_empty(), "{}", self.findings());
    }
}

/// Runs a test on every device, and gives each one's result.
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

/// Results that PTX fixes to the bit are the same on every device.
pub(crate) fn assert_same<T: PartialEq + std::fmt::Debug>(results: &[T]) {
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "devices differ");
}

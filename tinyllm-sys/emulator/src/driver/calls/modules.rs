//! Modules, functions and launches.

use std::ffi::{CStr, c_void};

use tinyllm_sys::{
    DevicePointer, DriverError, FunctionAttribute, FunctionHandle, LaunchConfig, ModuleHandle, StreamHandle,
};

use crate::driver::emulator::Emulator;

impl Emulator {
    pub(in crate::driver) fn module_load_data(&self, image: &CStr) -> Result<ModuleHandle, DriverError> {
        let edited = self.injection.edited(image);
        let image = edited.as_deref().unwrap_or(image);
        self.on_device("cuModuleLoadDataEx", String::new, |state, device, _| {
            state.load_module(device, image).map(ModuleHandle)
        })
    }

    pub(in crate::driver) unsafe fn module_unload(&self, module: ModuleHandle) -> Result<(), DriverError> {
        self.on_device("cuModuleUnload", || module.to_string(), |state, _, _| state.unload_module(module.0))
    }

    pub(in crate::driver) unsafe fn module_get_function(
        &self,
        module: ModuleHandle,
        name: &CStr,
    ) -> Result<FunctionHandle, DriverError> {
        let arguments = || format!("{module}, {}", name.to_string_lossy());
        self.call("cuModuleGetFunction", arguments, |state| {
            state.modules.get_function(module.0, name, &mut state.handles).map(FunctionHandle)
        })
    }

    pub(in crate::driver) unsafe fn module_get_global(
        &self,
        module: ModuleHandle,
        name: &CStr,
    ) -> Result<(DevicePointer, usize), DriverError> {
        let arguments = || format!("{module}, {}", name.to_string_lossy());
        self.call("cuModuleGetGlobal", arguments, |state| {
            let (address, bytes) = state.modules.get_variable(module.0, name)?;
            Ok((DevicePointer(address), bytes as usize))
        })
    }

    pub(in crate::driver) unsafe fn function_attribute(
        &self,
        function: FunctionHandle,
        attribute: FunctionAttribute,
    ) -> Result<i32, DriverError> {
        self.call(
            "cuFuncGetAttribute",
            || format!("{attribute:?}, {function}"),
            |state| state.modules.function_attribute(function.0, attribute),
        )
    }

    pub(in crate::driver) unsafe fn function_set_attribute(
        &self,
        function: FunctionHandle,
        attribute: FunctionAttribute,
        value: i32,
    ) -> Result<(), DriverError> {
        self.call(
            "cuFuncSetAttribute",
            || format!("{function}, {attribute:?}, {value}"),
            |state| state.modules.set_function_attribute(function.0, attribute, value),
        )
    }

    pub(in crate::driver) unsafe fn occupancy_max_active_blocks(
        &self,
        function: FunctionHandle,
        block_threads: u32,
        shared_bytes: usize,
    ) -> Result<u32, DriverError> {
        let arguments = || format!("{function}, {block_threads} threads, {shared_bytes} bytes");
        self.call("cuOccupancyMaxActiveBlocksPerMultiprocessor", arguments, |state| {
            state.modules.occupancy(function.0, block_threads, shared_bytes)
        })
    }

    pub(in crate::driver) unsafe fn launch_kernel(
        &self,
        function: FunctionHandle,
        config: &LaunchConfig,
        stream: StreamHandle,
        params: &[*mut c_void],
    ) -> Result<(), DriverError> {
        let name = if config.is_plain() { "cuLaunchKernel" } else { "cuLaunchKernelEx" };
        self.on_stream(
            name,
            stream,
            || format!("{function}, {config:?}, {stream}"),
            |state, key| {
                // SAFETY: the caller promises the same of this call.
                let work = unsafe { state.modules.launch(function.0, config, params) }?;
                state.issue(key, work).map(drop)
            },
        )
    }
}

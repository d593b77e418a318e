//! The driver's table: which call is answered where. The answers are methods of the same names in `calls`.

use std::ffi::{CStr, c_void};

use tinyllm_sys::{
    CaptureMode, CaptureStatus, ContextHandle, CudaVersion, DeviceAttribute, DeviceHandle, DevicePointer,
    DriverApi, DriverError, EventHandle, EventTiming, FunctionAttribute, FunctionHandle, GraphExecHandle,
    GraphHandle, LaunchConfig, MemoryHandle, ModuleHandle, PoolHandle, PoolUsage, StreamFlags, StreamHandle,
};

use super::emulator::Emulator;

/// The trait's methods, each the emulator's own of its name.
macro_rules! answered {
    (@one fn $name:ident($($argument:ident: $ty:ty),*) -> $out:ty) => {
        fn $name(&self, $($argument: $ty),*) -> Result<$out, DriverError> {
            self.injection.call(stringify!($name))?;
            Emulator::$name(self, $($argument),*)
        }
    };
    (@one unsafe fn $name:ident($($argument:ident: $ty:ty),*) -> $out:ty) => {
        unsafe fn $name(&self, $($argument: $ty),*) -> Result<$out, DriverError> {
            self.injection.call(stringify!($name))?;
            // SAFETY: the caller promises what the trait asks for, and nothing else is asked for.
            unsafe { Emulator::$name(self, $($argument),*) }
        }
    };
    () => {};
    (fn $name:ident $arguments:tt -> $out:ty; $($rest:tt)*) => {
        answered! { @one fn $name $arguments -> $out }
        answered! { $($rest)* }
    };
    (fn $name:ident $arguments:tt; $($rest:tt)*) => {
        answered! { @one fn $name $arguments -> () }
        answered! { $($rest)* }
    };
    (unsafe fn $name:ident $arguments:tt -> $out:ty; $($rest:tt)*) => {
        answered! { @one unsafe fn $name $arguments -> $out }
        answered! { $($rest)* }
    };
    (unsafe fn $name:ident $arguments:tt; $($rest:tt)*) => {
        answered! { @one unsafe fn $name $arguments -> () }
        answered! { $($rest)* }
    };
}

// SAFETY: memory comes from mappings that are as long as was asked for, begin at a page and are given to one call each;
// device addresses are multiples of 512, and none is used twice.
unsafe impl DriverApi for Emulator {
    fn name_memory(&self, pointer: DevicePointer, bytes: usize, name: &str) {
        self.lock().name_memory(pointer.0, bytes as u64, name);
    }

    answered! {
        fn driver_version() -> CudaVersion;
        fn device_count() -> u32;
        fn device_get(ordinal: u32) -> DeviceHandle;
        fn device_name(device: DeviceHandle) -> String;
        fn device_total_mem(device: DeviceHandle) -> u64;
        fn device_attribute(attribute: DeviceAttribute, device: DeviceHandle) -> i32;
        fn primary_context_retain(device: DeviceHandle) -> ContextHandle;
        unsafe fn primary_context_release(device: DeviceHandle);
        unsafe fn context_set_current(context: ContextHandle);
        unsafe fn context_push_current(context: ContextHandle);
        fn context_pop_current() -> ContextHandle;
        fn context_get_current() -> Option<ContextHandle>;
        fn context_synchronize();
        fn stream_create(flags: StreamFlags) -> StreamHandle;
        unsafe fn stream_destroy(stream: StreamHandle);
        unsafe fn stream_synchronize(stream: StreamHandle);
        unsafe fn stream_query(stream: StreamHandle) -> bool;
        unsafe fn stream_wait_event(stream: StreamHandle, event: EventHandle);
        fn event_create(timing: EventTiming) -> EventHandle;
        unsafe fn event_destroy(event: EventHandle);
        unsafe fn event_record(event: EventHandle, stream: StreamHandle);
        unsafe fn event_query(event: EventHandle) -> bool;
        unsafe fn event_synchronize(event: EventHandle);
        unsafe fn event_elapsed_time(start: EventHandle, end: EventHandle) -> f32;
        fn mem_alloc(bytes: usize) -> DevicePointer;
        unsafe fn mem_free(pointer: DevicePointer);
        fn mem_alloc_host(bytes: usize) -> *mut u8;
        unsafe fn mem_free_host(address: *mut u8);
        fn mem_get_info() -> (u64, u64);
        fn mem_pool_create(ordinal: u32, release_threshold_bytes: u64) -> PoolHandle;
        unsafe fn mem_pool_destroy(pool: PoolHandle);
        unsafe fn mem_pool_usage(pool: PoolHandle) -> PoolUsage;
        unsafe fn mem_pool_trim_to(pool: PoolHandle, keep_bytes: usize);
        unsafe fn mem_alloc_from_pool_async(bytes: usize, pool: PoolHandle, stream: StreamHandle) -> DevicePointer;
        unsafe fn mem_free_async(pointer: DevicePointer, stream: StreamHandle);
        unsafe fn memcpy_htod(dst: DevicePointer, src: *const u8, bytes: usize);
        unsafe fn memcpy_dtoh(dst: *mut u8, src: DevicePointer, bytes: usize);
        unsafe fn memcpy_dtod(dst: DevicePointer, src: DevicePointer, bytes: usize);
        unsafe fn memcpy_htod_async(dst: DevicePointer, src: *const u8, bytes: usize, stream: StreamHandle);
        unsafe fn memcpy_dtoh_async(dst: *mut u8, src: DevicePointer, bytes: usize, stream: StreamHandle);
        unsafe fn memcpy_dtod_async(dst: DevicePointer, src: DevicePointer, bytes: usize, stream: StreamHandle);
        unsafe fn memset_d8(dst: DevicePointer, value: u8, bytes: usize);
        unsafe fn memset_d32(dst: DevicePointer, value: u32, words: usize);
        unsafe fn memset_d8_async(dst: DevicePointer, value: u8, bytes: usize, stream: StreamHandle);
        unsafe fn memset_d32_async(dst: DevicePointer, value: u32, words: usize, stream: StreamHandle);
        fn mem_allocation_granularity(ordinal: u32) -> usize;
        fn mem_address_reserve(bytes: usize, align_bytes: usize) -> DevicePointer;
        unsafe fn mem_address_free(pointer: DevicePointer, bytes: usize);
        fn mem_create(ordinal: u32, bytes: usize) -> MemoryHandle;
        unsafe fn mem_release(memory: MemoryHandle);
        unsafe fn mem_map(pointer: DevicePointer, bytes: usize, offset: usize, memory: MemoryHandle);
        unsafe fn mem_unmap(pointer: DevicePointer, bytes: usize);
        unsafe fn mem_set_access(pointer: DevicePointer, bytes: usize, ordinal: u32);
        fn module_load_data(image: &CStr) -> ModuleHandle;
        unsafe fn module_unload(module: ModuleHandle);
        unsafe fn module_get_function(module: ModuleHandle, name: &CStr) -> FunctionHandle;
        unsafe fn module_get_global(module: ModuleHandle, name: &CStr) -> (DevicePointer, usize);
        unsafe fn function_attribute(function: FunctionHandle, attribute: FunctionAttribute) -> i32;
        unsafe fn function_set_attribute(function: FunctionHandle, attribute: FunctionAttribute, value: i32);
        unsafe fn occupancy_max_active_blocks(function: FunctionHandle, block_threads: u32, shared_bytes: usize) -> u32;
        unsafe fn launch_kernel(function: FunctionHandle, config: &LaunchConfig, stream: StreamHandle, params: &[*mut c_void]);
        unsafe fn stream_begin_capture(stream: StreamHandle, mode: CaptureMode);
        unsafe fn stream_end_capture(stream: StreamHandle) -> GraphHandle;
        unsafe fn stream_capture_status(stream: StreamHandle) -> CaptureStatus;
        unsafe fn graph_destroy(graph: GraphHandle);
        unsafe fn graph_instantiate(graph: GraphHandle) -> GraphExecHandle;
        unsafe fn graph_exec_update(exec: GraphExecHandle, graph: GraphHandle) -> bool;
        unsafe fn graph_exec_destroy(exec: GraphExecHandle);
        unsafe fn graph_launch(exec: GraphExecHandle, stream: StreamHandle);
    }
}

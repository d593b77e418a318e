//! The driver's calls over its functions, in the order of the trait.

use std::ffi::{CStr, c_int, c_uint, c_void};

use super::{LibCuda, handle, memory, number};
use crate::{
    CaptureMode, CaptureStatus, ContextHandle, CudaVersion, DeviceAttribute, DeviceHandle, DevicePointer,
    DriverApi, DriverError, EventHandle, EventTiming, FunctionAttribute, FunctionHandle, GraphExecHandle,
    GraphHandle, LaunchConfig, MemoryHandle, ModuleHandle, PoolHandle, PoolUsage, StreamFlags, StreamHandle,
};

/// `CU_MEM_ALLOC_GRANULARITY_MINIMUM`.
const MINIMUM: c_uint = 0;

// SAFETY: the driver's own promises about its memory: valid, aligned to 256 bytes, disjoint until it is freed; page-locked
// memory is the host's.
unsafe impl DriverApi for LibCuda {
    fn driver_version(&self) -> Result<CudaVersion, DriverError> {
        let mut version: c_int = 0;
        // SAFETY: writes one int.
        let code = unsafe { (self.symbols.driver_get_version)(&raw mut version) };
        self.check("cuDriverGetVersion", code, "")?;
        Ok(CudaVersion(version.unsigned_abs()))
    }

    fn device_count(&self) -> Result<u32, DriverError> {
        let mut count: c_int = 0;
        // SAFETY: writes one int.
        let code = unsafe { (self.symbols.device_get_count)(&raw mut count) };
        self.check("cuDeviceGetCount", code, "")?;
        Ok(count.unsigned_abs())
    }

    fn device_get(&self, ordinal: u32) -> Result<DeviceHandle, DriverError> {
        let mut device = 0;
        // SAFETY: writes one handle.
        let code = unsafe { (self.symbols.device_get)(&raw mut device, ordinal as c_int) };
        self.check("cuDeviceGet", code, format_args!("ordinal {ordinal}"))?;
        Ok(DeviceHandle(device))
    }

    fn device_name(&self, device: DeviceHandle) -> Result<String, DriverError> {
        self.name_of(device)
    }

    fn device_total_mem(&self, device: DeviceHandle) -> Result<u64, DriverError> {
        let mut bytes = 0usize;
        // SAFETY: writes one size.
        let code = unsafe { (self.symbols.device_total_mem)(&raw mut bytes, device.0) };
        self.check("cuDeviceTotalMem", code, device)?;
        Ok(bytes as u64)
    }

    fn device_attribute(&self, attribute: DeviceAttribute, device: DeviceHandle) -> Result<i32, DriverError> {
        let mut value: c_int = 0;
        // SAFETY: writes one int.
        let code =
            unsafe { (self.symbols.device_get_attribute)(&raw mut value, attribute.number(), device.0) };
        self.check("cuDeviceGetAttribute", code, format_args!("{attribute:?}, {device}"))?;
        Ok(value)
    }

    fn primary_context_retain(&self, device: DeviceHandle) -> Result<ContextHandle, DriverError> {
        let mut context = std::ptr::null_mut();
        // SAFETY: writes one handle.
        let code = unsafe { (self.symbols.primary_context_retain)(&raw mut context, device.0) };
        self.check("cuDevicePrimaryCtxRetain", code, device)?;
        Ok(ContextHandle(number(context)))
    }

    unsafe fn primary_context_release(&self, device: DeviceHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.primary_context_release)(device.0) };
        self.check("cuDevicePrimaryCtxRelease", code, device)
    }

    unsafe fn context_set_current(&self, context: ContextHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.context_set_current)(handle(context.0)) };
        self.check("cuCtxSetCurrent", code, context)
    }

    unsafe fn context_push_current(&self, context: ContextHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.context_push_current)(handle(context.0)) };
        self.check("cuCtxPushCurrent", code, context)
    }

    fn context_pop_current(&self) -> Result<ContextHandle, DriverError> {
        let mut context = std::ptr::null_mut();
        // SAFETY: writes one handle.
        let code = unsafe { (self.symbols.context_pop_current)(&raw mut context) };
        self.check("cuCtxPopCurrent", code, "")?;
        Ok(ContextHandle(number(context)))
    }

    fn context_get_current(&self) -> Result<Option<ContextHandle>, DriverError> {
        let mut context = std::ptr::null_mut();
        // SAFETY: writes one handle, null where there is none.
        let code = unsafe { (self.symbols.context_get_current)(&raw mut context) };
        self.check("cuCtxGetCurrent", code, "")?;
        Ok((!context.is_null()).then(|| ContextHandle(number(context))))
    }

    fn context_synchronize(&self) -> Result<(), DriverError> {
        // SAFETY: takes nothing.
        let code = unsafe { (self.symbols.context_synchronize)() };
        self.check("cuCtxSynchronize", code, "")
    }

    fn stream_create(&self, flags: StreamFlags) -> Result<StreamHandle, DriverError> {
        let mut stream = std::ptr::null_mut();
        // SAFETY: writes one handle.
        let code = unsafe { (self.symbols.stream_create)(&raw mut stream, flags as c_uint) };
        self.check("cuStreamCreate", code, format_args!("{flags:?}"))?;
        Ok(StreamHandle(number(stream)))
    }

    unsafe fn stream_destroy(&self, stream: StreamHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.stream_destroy)(handle(stream.0)) };
        self.check("cuStreamDestroy", code, stream)
    }

    unsafe fn stream_synchronize(&self, stream: StreamHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.stream_synchronize)(handle(stream.0)) };
        self.check("cuStreamSynchronize", code, stream)
    }

    unsafe fn stream_query(&self, stream: StreamHandle) -> Result<bool, DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.stream_query)(handle(stream.0)) };
        self.ready("cuStreamQuery", code, stream)
    }

    unsafe fn stream_wait_event(&self, stream: StreamHandle, event: EventHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.stream_wait_event)(handle(stream.0), handle(event.0), 0) };
        self.check("cuStreamWaitEvent", code, format_args!("{stream}, {event}"))
    }

    fn event_create(&self, timing: EventTiming) -> Result<EventHandle, DriverError> {
        let mut event = std::ptr::null_mut();
        // SAFETY: writes one handle.
        let code = unsafe { (self.symbols.event_create)(&raw mut event, timing as c_uint) };
        self.check("cuEventCreate", code, format_args!("timing {timing:?}"))?;
        Ok(EventHandle(number(event)))
    }

    unsafe fn event_destroy(&self, event: EventHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.event_destroy)(handle(event.0)) };
        self.check("cuEventDestroy", code, event)
    }

    unsafe fn event_record(&self, event: EventHandle, stream: StreamHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.event_record)(handle(event.0), handle(stream.0)) };
        self.check("cuEventRecord", code, format_args!("{event}, {stream}"))
    }

    unsafe fn event_query(&self, event: EventHandle) -> Result<bool, DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.event_query)(handle(event.0)) };
        self.ready("cuEventQuery", code, event)
    }

    unsafe fn event_synchronize(&self, event: EventHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.event_synchronize)(handle(event.0)) };
        self.check("cuEventSynchronize", code, event)
    }

    unsafe fn event_elapsed_time(&self, start: EventHandle, end: EventHandle) -> Result<f32, DriverError> {
        let mut milliseconds = 0f32;
        // SAFETY: the caller's promise; writes one float.
        let code = unsafe {
            (self.symbols.event_elapsed_time)(&raw mut milliseconds, handle(start.0), handle(end.0))
        };
        self.check("cuEventElapsedTime", code, format_args!("{start}, {end}"))?;
        Ok(milliseconds)
    }

    fn mem_alloc(&self, bytes: usize) -> Result<DevicePointer, DriverError> {
        let mut pointer = 0;
        // SAFETY: writes one address.
        let code = unsafe { (self.symbols.mem_alloc)(&raw mut pointer, bytes) };
        self.check("cuMemAlloc", code, format_args!("{bytes} bytes"))?;
        Ok(DevicePointer(pointer))
    }

    unsafe fn mem_free(&self, pointer: DevicePointer) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.mem_free)(pointer.0) };
        self.check("cuMemFree", code, pointer)
    }

    fn mem_alloc_host(&self, bytes: usize) -> Result<*mut u8, DriverError> {
        let mut address = std::ptr::null_mut();
        // SAFETY: writes one address.
        let code = unsafe { (self.symbols.mem_alloc_host)(&raw mut address, bytes) };
        self.check("cuMemAllocHost", code, format_args!("{bytes} bytes"))?;
        Ok(address.cast())
    }

    unsafe fn mem_free_host(&self, address: *mut u8) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.mem_free_host)(address.cast()) };
        self.check("cuMemFreeHost", code, format_args!("{address:p}"))
    }

    fn mem_get_info(&self) -> Result<(u64, u64), DriverError> {
        let (mut free, mut total) = (0usize, 0usize);
        // SAFETY: writes two sizes.
        let code = unsafe { (self.symbols.mem_get_info)(&raw mut free, &raw mut total) };
        self.check("cuMemGetInfo", code, "")?;
        Ok((free as u64, total as u64))
    }

    fn mem_pool_create(&self, ordinal: u32, release_threshold_bytes: u64) -> Result<PoolHandle, DriverError> {
        self.create_pool(ordinal, release_threshold_bytes)
    }

    unsafe fn mem_pool_destroy(&self, pool: PoolHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.mem_pool_destroy)(handle(pool.0)) };
        self.check("cuMemPoolDestroy", code, pool)
    }

    unsafe fn mem_pool_usage(&self, pool: PoolHandle) -> Result<PoolUsage, DriverError> {
        // SAFETY: the caller's promise.
        unsafe { self.pool_usage(pool) }
    }

    unsafe fn mem_pool_trim_to(&self, pool: PoolHandle, keep_bytes: usize) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.mem_pool_trim_to)(handle(pool.0), keep_bytes) };
        self.check("cuMemPoolTrimTo", code, format_args!("{pool}, {keep_bytes} bytes"))
    }

    unsafe fn mem_alloc_from_pool_async(
        &self,
        bytes: usize,
        pool: PoolHandle,
        stream: StreamHandle,
    ) -> Result<DevicePointer, DriverError> {
        let mut pointer = 0;
        // SAFETY: the caller's promise; writes one address.
        let code = unsafe {
            (self.symbols.mem_alloc_from_pool_async)(
                &raw mut pointer,
                bytes,
                handle(pool.0),
                handle(stream.0),
            )
        };
        self.check("cuMemAllocFromPoolAsync", code, format_args!("{bytes} bytes, {pool}, {stream}"))?;
        Ok(DevicePointer(pointer))
    }

    unsafe fn mem_free_async(&self, pointer: DevicePointer, stream: StreamHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.mem_free_async)(pointer.0, handle(stream.0)) };
        self.check("cuMemFreeAsync", code, format_args!("{pointer}, {stream}"))
    }

    unsafe fn memcpy_htod(
        &self,
        dst: DevicePointer,
        src: *const u8,
        bytes: usize,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.memcpy_htod)(dst.0, src.cast(), bytes) };
        self.check("cuMemcpyHtoD", code, format_args!("{dst}, {src:p}, {bytes} bytes"))
    }

    unsafe fn memcpy_dtoh(&self, dst: *mut u8, src: DevicePointer, bytes: usize) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.memcpy_dtoh)(dst.cast(), src.0, bytes) };
        self.check("cuMemcpyDtoH", code, format_args!("{dst:p}, {src}, {bytes} bytes"))
    }

    unsafe fn memcpy_dtod(
        &self,
        dst: DevicePointer,
        src: DevicePointer,
        bytes: usize,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.memcpy_dtod)(dst.0, src.0, bytes) };
        self.check("cuMemcpyDtoD", code, format_args!("{dst}, {src}, {bytes} bytes"))
    }

    unsafe fn memcpy_htod_async(
        &self,
        dst: DevicePointer,
        src: *const u8,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.memcpy_htod_async)(dst.0, src.cast(), bytes, handle(stream.0)) };
        self.check("cuMemcpyHtoDAsync", code, format_args!("{dst}, {src:p}, {bytes} bytes, {stream}"))
    }

    unsafe fn memcpy_dtoh_async(
        &self,
        dst: *mut u8,
        src: DevicePointer,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.memcpy_dtoh_async)(dst.cast(), src.0, bytes, handle(stream.0)) };
        self.check("cuMemcpyDtoHAsync", code, format_args!("{dst:p}, {src}, {bytes} bytes, {stream}"))
    }

    unsafe fn memcpy_dtod_async(
        &self,
        dst: DevicePointer,
        src: DevicePointer,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.memcpy_dtod_async)(dst.0, src.0, bytes, handle(stream.0)) };
        self.check("cuMemcpyDtoDAsync", code, format_args!("{dst}, {src}, {bytes} bytes, {stream}"))
    }

    unsafe fn memset_d8(&self, dst: DevicePointer, value: u8, bytes: usize) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.memset_d8)(dst.0, value, bytes) };
        self.check("cuMemsetD8", code, format_args!("{dst}, {value:#x}, {bytes} bytes"))
    }

    unsafe fn memset_d32(&self, dst: DevicePointer, value: u32, words: usize) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.memset_d32)(dst.0, value, words) };
        self.check("cuMemsetD32", code, format_args!("{dst}, {value:#x}, {words} words"))
    }

    unsafe fn memset_d8_async(
        &self,
        dst: DevicePointer,
        value: u8,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.memset_d8_async)(dst.0, value, bytes, handle(stream.0)) };
        self.check("cuMemsetD8Async", code, format_args!("{dst}, {value:#x}, {bytes} bytes, {stream}"))
    }

    unsafe fn memset_d32_async(
        &self,
        dst: DevicePointer,
        value: u32,
        words: usize,
        stream: StreamHandle,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.memset_d32_async)(dst.0, value, words, handle(stream.0)) };
        self.check("cuMemsetD32Async", code, format_args!("{dst}, {value:#x}, {words} words, {stream}"))
    }

    fn mem_allocation_granularity(&self, ordinal: u32) -> Result<usize, DriverError> {
        let (mut bytes, properties) = (0usize, memory::properties(ordinal));
        // SAFETY: reads the properties, writes one size.
        let code = unsafe {
            (self.symbols.mem_allocation_granularity)(&raw mut bytes, &raw const properties, MINIMUM)
        };
        self.check("cuMemGetAllocationGranularity", code, format_args!("ordinal {ordinal}"))?;
        Ok(bytes)
    }

    fn mem_address_reserve(&self, bytes: usize, align_bytes: usize) -> Result<DevicePointer, DriverError> {
        let mut pointer = 0;
        // SAFETY: writes one address.
        let code = unsafe { (self.symbols.mem_address_reserve)(&raw mut pointer, bytes, align_bytes, 0, 0) };
        self.check("cuMemAddressReserve", code, format_args!("{bytes} bytes, aligned to {align_bytes}"))?;
        Ok(DevicePointer(pointer))
    }

    unsafe fn mem_address_free(&self, pointer: DevicePointer, bytes: usize) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.mem_address_free)(pointer.0, bytes) };
        self.check("cuMemAddressFree", code, format_args!("{pointer}, {bytes} bytes"))
    }

    fn mem_create(&self, ordinal: u32, bytes: usize) -> Result<MemoryHandle, DriverError> {
        let (mut memory, properties) = (0, memory::properties(ordinal));
        // SAFETY: reads the properties, writes one handle.
        let code = unsafe { (self.symbols.mem_create)(&raw mut memory, bytes, &raw const properties, 0) };
        self.check("cuMemCreate", code, format_args!("ordinal {ordinal}, {bytes} bytes"))?;
        Ok(MemoryHandle(memory))
    }

    unsafe fn mem_release(&self, memory: MemoryHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.mem_release)(memory.0) };
        self.check("cuMemRelease", code, memory)
    }

    unsafe fn mem_map(
        &self,
        pointer: DevicePointer,
        bytes: usize,
        offset: usize,
        memory: MemoryHandle,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.mem_map)(pointer.0, bytes, offset, memory.0, 0) };
        self.check("cuMemMap", code, format_args!("{pointer}, {bytes} bytes, offset {offset}, {memory}"))
    }

    unsafe fn mem_unmap(&self, pointer: DevicePointer, bytes: usize) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.mem_unmap)(pointer.0, bytes) };
        self.check("cuMemUnmap", code, format_args!("{pointer}, {bytes} bytes"))
    }

    unsafe fn mem_set_access(
        &self,
        pointer: DevicePointer,
        bytes: usize,
        ordinal: u32,
    ) -> Result<(), DriverError> {
        let access = memory::access(ordinal);
        // SAFETY: the caller's promise; reads one description.
        let code = unsafe { (self.symbols.mem_set_access)(pointer.0, bytes, &raw const access, 1) };
        self.check("cuMemSetAccess", code, format_args!("{pointer}, {bytes} bytes, ordinal {ordinal}"))
    }

    fn module_load_data(&self, image: &CStr) -> Result<ModuleHandle, DriverError> {
        self.load_module(image)
    }

    unsafe fn module_unload(&self, module: ModuleHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.module_unload)(handle(module.0)) };
        self.check("cuModuleUnload", code, module)
    }

    unsafe fn module_get_function(
        &self,
        module: ModuleHandle,
        name: &CStr,
    ) -> Result<FunctionHandle, DriverError> {
        let mut function = std::ptr::null_mut();
        // SAFETY: the caller's promise; the name is terminated; writes one handle.
        let code =
            unsafe { (self.symbols.module_get_function)(&raw mut function, handle(module.0), name.as_ptr()) };
        self.check("cuModuleGetFunction", code, name.to_string_lossy())?;
        Ok(FunctionHandle(number(function)))
    }

    unsafe fn module_get_global(
        &self,
        module: ModuleHandle,
        name: &CStr,
    ) -> Result<(DevicePointer, usize), DriverError> {
        let (mut pointer, mut bytes) = (0, 0usize);
        // SAFETY: the caller's promise; the name is terminated; writes one address and one size.
        let code = unsafe {
            (self.symbols.module_get_global)(
                &raw mut pointer,
                &raw mut bytes,
                handle(module.0),
                name.as_ptr(),
            )
        };
        self.check("cuModuleGetGlobal", code, name.to_string_lossy())?;
        Ok((DevicePointer(pointer), bytes))
    }

    unsafe fn function_attribute(
        &self,
        function: FunctionHandle,
        attribute: FunctionAttribute,
    ) -> Result<i32, DriverError> {
        let mut value = 0;
        // SAFETY: the caller's promise; writes one int.
        let code = unsafe {
            (self.symbols.function_attribute)(&raw mut value, attribute.number(), handle(function.0))
        };
        self.check("cuFuncGetAttribute", code, format_args!("{attribute:?}, {function}"))?;
        Ok(value)
    }

    unsafe fn function_set_attribute(
        &self,
        function: FunctionHandle,
        attribute: FunctionAttribute,
        value: i32,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code =
            unsafe { (self.symbols.function_set_attribute)(handle(function.0), attribute.number(), value) };
        self.check("cuFuncSetAttribute", code, format_args!("{function}, {attribute:?}, {value}"))
    }

    unsafe fn occupancy_max_active_blocks(
        &self,
        function: FunctionHandle,
        block_threads: u32,
        shared_bytes: usize,
    ) -> Result<u32, DriverError> {
        let (mut blocks, call): (c_int, _) = (0, "cuOccupancyMaxActiveBlocksPerMultiprocessor");
        // More threads than a number holds are as wrong as that many.
        let threads = c_int::try_from(block_threads).unwrap_or(c_int::MAX);
        // SAFETY: the caller's promise; writes one int.
        let code = unsafe {
            (self.symbols.occupancy_max_active_blocks)(
                &raw mut blocks,
                handle(function.0),
                threads,
                shared_bytes,
            )
        };
        self.check(
            call,
            code,
            format_args!("{function}, {block_threads} threads, {shared_bytes} shared bytes"),
        )?;
        Ok(blocks.unsigned_abs())
    }

    unsafe fn launch_kernel(
        &self,
        function: FunctionHandle,
        config: &LaunchConfig,
        stream: StreamHandle,
        params: &[*mut c_void],
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        unsafe { self.launch(function, config, stream, params) }
    }

    unsafe fn stream_begin_capture(
        &self,
        stream: StreamHandle,
        mode: CaptureMode,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.stream_begin_capture)(handle(stream.0), mode as c_uint) };
        self.check("cuStreamBeginCapture", code, format_args!("{stream}, {mode:?}"))
    }

    unsafe fn stream_end_capture(&self, stream: StreamHandle) -> Result<GraphHandle, DriverError> {
        let mut graph = std::ptr::null_mut();
        // SAFETY: the caller's promise; writes one handle.
        let code = unsafe { (self.symbols.stream_end_capture)(handle(stream.0), &raw mut graph) };
        self.check("cuStreamEndCapture", code, stream)?;
        Ok(GraphHandle(number(graph)))
    }

    unsafe fn stream_capture_status(&self, stream: StreamHandle) -> Result<CaptureStatus, DriverError> {
        // SAFETY: the caller's promise.
        unsafe { self.capture_status(stream) }
    }

    unsafe fn graph_destroy(&self, graph: GraphHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.graph_destroy)(handle(graph.0)) };
        self.check("cuGraphDestroy", code, graph)
    }

    unsafe fn graph_instantiate(&self, graph: GraphHandle) -> Result<GraphExecHandle, DriverError> {
        let mut exec = std::ptr::null_mut();
        // SAFETY: the caller's promise; writes one handle.
        let code = unsafe { (self.symbols.graph_instantiate)(&raw mut exec, handle(graph.0), 0) };
        self.check("cuGraphInstantiate", code, graph)?;
        Ok(GraphExecHandle(number(exec)))
    }

    unsafe fn graph_exec_update(
        &self,
        exec: GraphExecHandle,
        graph: GraphHandle,
    ) -> Result<bool, DriverError> {
        // SAFETY: the caller's promise.
        unsafe { self.update_graph(exec, graph) }
    }

    unsafe fn graph_exec_destroy(&self, exec: GraphExecHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.graph_exec_destroy)(handle(exec.0)) };
        self.check("cuGraphExecDestroy", code, exec)
    }

    unsafe fn graph_launch(&self, exec: GraphExecHandle, stream: StreamHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.graph_launch)(handle(exec.0), handle(stream.0)) };
        self.check("cuGraphLaunch", code, format_args!("{exec}, {stream}"))
    }
}

//! The trait of the driver's calls, grouped as the driver's documentation groups them.

use std::ffi::{CStr, c_void};

use super::{
    CaptureMode, CaptureStatus, ContextHandle, CudaVersion, DeviceAttribute, DeviceHandle, DevicePointer,
    EventHandle, EventTiming, FunctionAttribute, FunctionHandle, GraphExecHandle, GraphHandle, LaunchConfig,
    MemoryHandle, ModuleHandle, PoolHandle, PoolUsage, StreamFlags, StreamHandle,
};
use crate::DriverError;

/// Calls of the driver. Each is one call of the same name in the CUDA driver API, checked. Those about memory, streams,
/// modules and graphs work on the calling thread's current context.
///
/// # Errors
/// Every call fails with the driver's error; specific codes are in the call's documentation. Work fails
/// asynchronously: a later call returns its error, and the context is lost.
///
/// # Safety
/// For callers: every handle came from this driver and lives; work on memory stays within one allocation that lives until
/// the work is done, and two pieces of work on the same bytes are ordered by streams and events, unless both only read.
///
/// An implementation allocates memory that is valid for as many bytes as were asked for, aligned to 256 bytes, and disjoint
/// from every live allocation. Page-locked host memory can be read and written by the
/// processor.
pub unsafe trait DriverApi: Send + Sync + std::fmt::Debug {
    /// `cuDriverGetVersion`: the version of CUDA that the driver supports.
    fn driver_version(&self) -> Result<CudaVersion, DriverError>;

    /// `cuDeviceGetCount`.
    fn device_count(&self) -> Result<u32, DriverError>;

    /// `cuDeviceGet`: the device number `ordinal`, counted from 0.
    fn device_get(&self, ordinal: u32) -> Result<DeviceHandle, DriverError>;

    /// `cuDeviceGetName`.
    fn device_name(&self, device: DeviceHandle) -> Result<String, DriverError>;

    /// `cuDeviceTotalMem`, in bytes.
    fn device_total_mem(&self, device: DeviceHandle) -> Result<u64, DriverError>;

    /// `cuDeviceGetAttribute`.
    fn device_attribute(&self, attribute: DeviceAttribute, device: DeviceHandle) -> Result<i32, DriverError>;

    /// `cuDevicePrimaryCtxRetain`: the context that the whole process shares.
    fn primary_context_retain(&self, device: DeviceHandle) -> Result<ContextHandle, DriverError>;

    /// `cuDevicePrimaryCtxRelease`.
    ///
    /// # Safety
    /// It was retained as often, and nothing of it is used after the last release.
    unsafe fn primary_context_release(&self, device: DeviceHandle) -> Result<(), DriverError>;

    /// `cuCtxSetCurrent`, for the calling thread.
    ///
    /// # Safety
    /// The context came from this driver and lives.
    unsafe fn context_set_current(&self, context: ContextHandle) -> Result<(), DriverError>;

    /// `cuCtxPushCurrent`: makes a context the calling thread's, until [`DriverApi::context_pop_current`].
    ///
    /// # Safety
    /// The context came from this driver and lives.
    unsafe fn context_push_current(&self, context: ContextHandle) -> Result<(), DriverError>;

    /// `cuCtxPopCurrent`: takes the calling thread's context away, so that the one before it is its own again, if there was
    /// one.
    ///
    /// # Errors
    /// Where the thread has none.
    fn context_pop_current(&self) -> Result<ContextHandle, DriverError>;

    /// `cuCtxGetCurrent`: the calling thread's, if it has one.
    fn context_get_current(&self) -> Result<Option<ContextHandle>, DriverError>;

    /// `cuCtxSynchronize`: waits for all work of the current context.
    ///
    /// # Errors
    /// Those of the work too.
    fn context_synchronize(&self) -> Result<(), DriverError>;

    /// `cuStreamCreate`.
    fn stream_create(&self, flags: StreamFlags) -> Result<StreamHandle, DriverError>;

    /// `cuStreamDestroy`. Work that was queued on it still runs.
    ///
    /// # Safety
    /// The stream came from [`DriverApi::stream_create`] and nothing names it afterwards.
    unsafe fn stream_destroy(&self, stream: StreamHandle) -> Result<(), DriverError>;

    /// `cuStreamSynchronize`.
    ///
    /// # Safety
    /// The stream came from this driver and lives.
    ///
    /// # Errors
    /// Those of the work on the stream too.
    unsafe fn stream_synchronize(&self, stream: StreamHandle) -> Result<(), DriverError>;

    /// `cuStreamQuery`: whether all its work is done.
    ///
    /// # Safety
    /// The stream came from this driver and lives.
    ///
    /// # Errors
    /// Those of the work on the stream too; work that is not done is none.
    unsafe fn stream_query(&self, stream: StreamHandle) -> Result<bool, DriverError>;

    /// `cuStreamWaitEvent`: later work of `stream` waits for what `event` recorded.
    ///
    /// # Safety
    /// Both came from this driver and live.
    unsafe fn stream_wait_event(&self, stream: StreamHandle, event: EventHandle) -> Result<(), DriverError>;

    /// `cuEventCreate`.
    fn event_create(&self, timing: EventTiming) -> Result<EventHandle, DriverError>;

    /// `cuEventDestroy`. Who waits for it already still does.
    ///
    /// # Safety
    /// The event came from [`DriverApi::event_create`] and nothing names it afterwards.
    unsafe fn event_destroy(&self, event: EventHandle) -> Result<(), DriverError>;

    /// `cuEventRecord`: the event stands for the work that `stream` has now.
    ///
    /// # Safety
    /// Both came from this driver and live.
    unsafe fn event_record(&self, event: EventHandle, stream: StreamHandle) -> Result<(), DriverError>;

    /// `cuEventQuery`: whether what it recorded is done.
    ///
    /// # Safety
    /// The event came from this driver and lives.
    ///
    /// # Errors
    /// Those of the work too; work that is not done is none.
    unsafe fn event_query(&self, event: EventHandle) -> Result<bool, DriverError>;

    /// `cuEventSynchronize`: waits for what it recorded.
    ///
    /// # Safety
    /// The event came from this driver and lives.
    ///
    /// # Errors
    /// Those of the work too.
    unsafe fn event_synchronize(&self, event: EventHandle) -> Result<(), DriverError>;

    /// `cuEventElapsedTime`: milliseconds from `start` to `end`.
    ///
    /// # Safety
    /// Both came from this driver and live.
    ///
    /// # Errors
    /// `NotReady` where one is not done, `InvalidHandle` where one was not recorded or keeps no time.
    unsafe fn event_elapsed_time(&self, start: EventHandle, end: EventHandle) -> Result<f32, DriverError>;

    /// `cuMemAlloc`.
    fn mem_alloc(&self, bytes: usize) -> Result<DevicePointer, DriverError>;

    /// `cuMemFree`, which waits for the device.
    ///
    /// # Safety
    /// The pointer came from [`DriverApi::mem_alloc`] and nothing uses it.
    unsafe fn mem_free(&self, pointer: DevicePointer) -> Result<(), DriverError>;

    /// `cuMemAllocHost`: page-locked memory of the host.
    fn mem_alloc_host(&self, bytes: usize) -> Result<*mut u8, DriverError>;

    /// `cuMemFreeHost`.
    ///
    /// # Safety
    /// The address came from [`DriverApi::mem_alloc_host`] and nothing uses it.
    unsafe fn mem_free_host(&self, address: *mut u8) -> Result<(), DriverError>;

    /// `cuMemGetInfo`: free and total bytes.
    fn mem_get_info(&self) -> Result<(u64, u64), DriverError>;

    /// `cuMemPoolCreate` on the device number `ordinal`, with `CU_MEMPOOL_ATTR_RELEASE_THRESHOLD` set.
    fn mem_pool_create(&self, ordinal: u32, release_threshold_bytes: u64) -> Result<PoolHandle, DriverError>;

    /// `cuMemPoolDestroy`.
    ///
    /// # Safety
    /// The pool came from [`DriverApi::mem_pool_create`] and nothing of it is allocated.
    unsafe fn mem_pool_destroy(&self, pool: PoolHandle) -> Result<(), DriverError>;

    /// `cuMemPoolGetAttribute`: what the pool holds, and the most that it held.
    ///
    /// # Safety
    /// The pool came from this driver and lives.
    unsafe fn mem_pool_usage(&self, pool: PoolHandle) -> Result<PoolUsage, DriverError>;

    /// `cuMemPoolTrimTo`: releases reserved memory that is not allocated, down to `keep_bytes`.
    ///
    /// # Safety
    /// The pool came from this driver and lives.
    unsafe fn mem_pool_trim_to(&self, pool: PoolHandle, keep_bytes: usize) -> Result<(), DriverError>;

    /// `cuMemAllocFromPoolAsync`: valid on `stream` at once, on others after an event.
    ///
    /// # Safety
    /// Pool and stream came from this driver and live.
    unsafe fn mem_alloc_from_pool_async(
        &self,
        bytes: usize,
        pool: PoolHandle,
        stream: StreamHandle,
    ) -> Result<DevicePointer, DriverError>;

    /// `cuMemFreeAsync`: freed when the work before it on `stream` is done.
    ///
    /// # Safety
    /// The pointer came from [`DriverApi::mem_alloc_from_pool_async`], and no work ordered after this call uses it.
    unsafe fn mem_free_async(&self, pointer: DevicePointer, stream: StreamHandle) -> Result<(), DriverError>;

    /// `cuMemcpyHtoD`.
    ///
    /// # Safety
    /// `bytes` can be read at `src` and written at `dst`, and no other work uses them meanwhile.
    unsafe fn memcpy_htod(&self, dst: DevicePointer, src: *const u8, bytes: usize)
    -> Result<(), DriverError>;

    /// `cuMemcpyDtoH`.
    ///
    /// # Safety
    /// `bytes` can be read at `src` and written at `dst`, and no other work uses them meanwhile.
    unsafe fn memcpy_dtoh(&self, dst: *mut u8, src: DevicePointer, bytes: usize) -> Result<(), DriverError>;

    /// `cuMemcpyDtoD`.
    ///
    /// # Safety
    /// `bytes` can be read at `src` and written at `dst`, do not overlap, and no other work uses them meanwhile.
    unsafe fn memcpy_dtod(
        &self,
        dst: DevicePointer,
        src: DevicePointer,
        bytes: usize,
    ) -> Result<(), DriverError>;

    /// `cuMemcpyHtoDAsync`: copied in the order of `stream`.
    ///
    /// # Safety
    /// As [`DriverApi::memcpy_htod`], until the copy is done.
    unsafe fn memcpy_htod_async(
        &self,
        dst: DevicePointer,
        src: *const u8,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<(), DriverError>;

    /// `cuMemcpyDtoHAsync`.
    ///
    /// # Safety
    /// As [`DriverApi::memcpy_dtoh`], until the copy is done.
    unsafe fn memcpy_dtoh_async(
        &self,
        dst: *mut u8,
        src: DevicePointer,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<(), DriverError>;

    /// `cuMemcpyDtoDAsync`.
    ///
    /// # Safety
    /// As [`DriverApi::memcpy_dtod`], until the copy is done.
    unsafe fn memcpy_dtod_async(
        &self,
        dst: DevicePointer,
        src: DevicePointer,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<(), DriverError>;

    /// `cuMemsetD8`.
    ///
    /// # Safety
    /// `bytes` can be written at `dst`, and no other work uses them meanwhile.
    unsafe fn memset_d8(&self, dst: DevicePointer, value: u8, bytes: usize) -> Result<(), DriverError>;

    /// `cuMemsetD32`.
    ///
    /// # Safety
    /// `words` of 4 bytes can be written at `dst`, and no other work uses them meanwhile.
    ///
    /// # Errors
    /// `InvalidValue` where `dst` is not aligned to 4 bytes.
    unsafe fn memset_d32(&self, dst: DevicePointer, value: u32, words: usize) -> Result<(), DriverError>;

    /// `cuMemsetD8Async`.
    ///
    /// # Safety
    /// As [`DriverApi::memset_d8`], until the work is done.
    unsafe fn memset_d8_async(
        &self,
        dst: DevicePointer,
        value: u8,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<(), DriverError>;

    /// `cuMemsetD32Async`.
    ///
    /// # Safety
    /// As [`DriverApi::memset_d32`], until the work is done.
    unsafe fn memset_d32_async(
        &self,
        dst: DevicePointer,
        value: u32,
        words: usize,
        stream: StreamHandle,
    ) -> Result<(), DriverError>;

    /// A hint, and no call of the driver, which has none for it: the name of these bytes, for implementations that check
    /// accesses and name what was hit. Others ignore it.
    fn name_memory(&self, pointer: DevicePointer, bytes: usize, name: &str) {
        let _ = (pointer, bytes, name);
    }

    /// `cuMemGetAllocationGranularity`, the minimum: sizes and addresses of [`DriverApi::mem_create`]'s memory are multiples
    /// of it.
    fn mem_allocation_granularity(&self, ordinal: u32) -> Result<usize, DriverError>;

    /// `cuMemAddressReserve`: addresses without memory. `align_bytes` is 0 or a power of two.
    fn mem_address_reserve(&self, bytes: usize, align_bytes: usize) -> Result<DevicePointer, DriverError>;

    /// `cuMemAddressFree`.
    ///
    /// # Safety
    /// The range came from [`DriverApi::mem_address_reserve`] and nothing is mapped in it.
    unsafe fn mem_address_free(&self, pointer: DevicePointer, bytes: usize) -> Result<(), DriverError>;

    /// `cuMemCreate`: memory of the device number `ordinal` without an address.
    fn mem_create(&self, ordinal: u32, bytes: usize) -> Result<MemoryHandle, DriverError>;

    /// `cuMemRelease`. The memory goes when nothing maps it any more.
    ///
    /// # Safety
    /// It came from [`DriverApi::mem_create`] and is not named afterwards.
    unsafe fn mem_release(&self, memory: MemoryHandle) -> Result<(), DriverError>;

    /// `cuMemMap`: memory from `offset` on, at reserved addresses. The driver requires an `offset` of 0.
    ///
    /// # Safety
    /// The range is reserved and nothing is mapped in it; the memory came from this driver and lives.
    unsafe fn mem_map(
        &self,
        pointer: DevicePointer,
        bytes: usize,
        offset: usize,
        memory: MemoryHandle,
    ) -> Result<(), DriverError>;

    /// `cuMemUnmap`.
    ///
    /// # Safety
    /// The range was mapped by [`DriverApi::mem_map`], whole, and no work uses it.
    unsafe fn mem_unmap(&self, pointer: DevicePointer, bytes: usize) -> Result<(), DriverError>;

    /// `cuMemSetAccess`: the device number `ordinal` may read and write the range.
    ///
    /// # Safety
    /// The range is mapped.
    unsafe fn mem_set_access(
        &self,
        pointer: DevicePointer,
        bytes: usize,
        ordinal: u32,
    ) -> Result<(), DriverError>;

    /// `cuModuleLoadDataEx`: a module of PTX, compiled for the device of the current context.
    ///
    /// # Errors
    /// With the compiler's log, where it wrote one, as [`DriverError::arguments`].
    fn module_load_data(&self, image: &CStr) -> Result<ModuleHandle, DriverError>;

    /// `cuModuleUnload`.
    ///
    /// # Safety
    /// It came from [`DriverApi::module_load_data`], and nothing of it is used or runs.
    unsafe fn module_unload(&self, module: ModuleHandle) -> Result<(), DriverError>;

    /// `cuModuleGetFunction`.
    ///
    /// # Safety
    /// The module came from this driver and lives.
    ///
    /// # Errors
    /// `NotFound` where there is none of that name.
    unsafe fn module_get_function(
        &self,
        module: ModuleHandle,
        name: &CStr,
    ) -> Result<FunctionHandle, DriverError>;

    /// `cuModuleGetGlobal`: a variable's address and size in bytes.
    ///
    /// # Safety
    /// The module came from this driver and lives.
    ///
    /// # Errors
    /// `NotFound` where there is none of that name.
    unsafe fn module_get_global(
        &self,
        module: ModuleHandle,
        name: &CStr,
    ) -> Result<(DevicePointer, usize), DriverError>;

    /// `cuFuncGetAttribute`.
    ///
    /// # Safety
    /// The function's module came from this driver and lives.
    unsafe fn function_attribute(
        &self,
        function: FunctionHandle,
        attribute: FunctionAttribute,
    ) -> Result<i32, DriverError>;

    /// `cuFuncSetAttribute`.
    ///
    /// # Safety
    /// The function's module came from this driver and lives.
    unsafe fn function_set_attribute(
        &self,
        function: FunctionHandle,
        attribute: FunctionAttribute,
        value: i32,
    ) -> Result<(), DriverError>;

    /// `cuOccupancyMaxActiveBlocksPerMultiprocessor`.
    ///
    /// # Safety
    /// The function's module came from this driver and lives.
    unsafe fn occupancy_max_active_blocks(
        &self,
        function: FunctionHandle,
        block_threads: u32,
        shared_bytes: usize,
    ) -> Result<u32, DriverError>;

    /// `cuLaunchKernel`, or `cuLaunchKernelEx` where the launch is not [plain](LaunchConfig::is_plain). `params` are addresses
    /// of the arguments, which are read before the call returns.
    ///
    /// # Safety
    /// Function and stream came from this driver and live. There are as many `params` as the function has parameters, each
    /// the address of a value of its parameter's size; what the kernel then does with them is within the memory that it is
    /// given.
    unsafe fn launch_kernel(
        &self,
        function: FunctionHandle,
        config: &LaunchConfig,
        stream: StreamHandle,
        params: &[*mut c_void],
    ) -> Result<(), DriverError>;

    /// `cuStreamBeginCapture`: later work of `stream` becomes part of a graph and is not run.
    ///
    /// # Safety
    /// The stream came from this driver and lives.
    unsafe fn stream_begin_capture(&self, stream: StreamHandle, mode: CaptureMode)
    -> Result<(), DriverError>;

    /// `cuStreamEndCapture`.
    ///
    /// # Safety
    /// The stream came from this driver and lives.
    ///
    /// # Errors
    /// One of the `StreamCapture` codes where the capture was spoiled; it is over all the same.
    unsafe fn stream_end_capture(&self, stream: StreamHandle) -> Result<GraphHandle, DriverError>;

    /// `cuStreamIsCapturing`.
    ///
    /// # Safety
    /// The stream came from this driver and lives.
    unsafe fn stream_capture_status(&self, stream: StreamHandle) -> Result<CaptureStatus, DriverError>;

    /// `cuGraphDestroy`.
    ///
    /// # Safety
    /// The graph came from [`DriverApi::stream_end_capture`] and nothing names it afterwards.
    unsafe fn graph_destroy(&self, graph: GraphHandle) -> Result<(), DriverError>;

    /// `cuGraphInstantiate`: a graph that can be launched, independent of `graph` from then on.
    ///
    /// # Safety
    /// The graph came from this driver and lives, and so does what its work names.
    unsafe fn graph_instantiate(&self, graph: GraphHandle) -> Result<GraphExecHandle, DriverError>;

    /// `cuGraphExecUpdate`: gives `exec` the arguments of `graph`. False where the two differ in more: instantiate again.
    ///
    /// # Safety
    /// Both came from this driver and live, and so does what their work names.
    unsafe fn graph_exec_update(
        &self,
        exec: GraphExecHandle,
        graph: GraphHandle,
    ) -> Result<bool, DriverError>;

    /// `cuGraphExecDestroy`. A launch that runs is finished still.
    ///
    /// # Safety
    /// It came from [`DriverApi::graph_instantiate`] and nothing names it afterwards.
    unsafe fn graph_exec_destroy(&self, exec: GraphExecHandle) -> Result<(), DriverError>;

    /// `cuGraphLaunch`.
    ///
    /// # Safety
    /// Both came from this driver and live; so does what the graph's work names, until it is done, and it is used as the
    /// work's own calls promise.
    unsafe fn graph_launch(&self, exec: GraphExecHandle, stream: StreamHandle) -> Result<(), DriverError>;
}

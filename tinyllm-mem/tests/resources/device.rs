//! The resources over the driver table, on a driver made of host memory: a capacity, memory that is not zeroed, and freeing
//! that is ordered on a stream. What is freed on a stream can be had again on it at once, on others only when the stream has
//! been waited for.

use std::{
    alloc::{Layout, alloc, dealloc},
    collections::HashMap,
    ffi::{CStr, c_void},
    sync::{Arc, Mutex},
};

use tinyllm_mem::{
    Buffer, Category, Device, DeviceResource, MemError, MemoryResource, PinnedHostResource, Request,
    StreamOrderedResource,
};
use tinyllm_sys::{
    CaptureMode, CaptureStatus, ContextHandle, CudaVersion, DeviceAttribute, DeviceHandle, DevicePointer,
    DriverApi, DriverCode, DriverError, EventHandle, EventTiming, FunctionAttribute, FunctionHandle,
    GraphExecHandle, GraphHandle, LaunchConfig, MemoryHandle, ModuleHandle, PoolHandle, PoolUsage,
    StreamFlags, StreamHandle,
};

use crate::suite;

/// A driver without a device.
#[derive(Debug)]
pub(crate) struct HostDriver {
    capacity_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used_bytes: u64,
    /// Sizes by address.
    live: HashMap<u64, usize>,
    /// Freed on a stream, and perhaps still in use by work on it.
    pending: Vec<(u64, usize, StreamHandle)>,
    pools: u64,
    /// The next call to free fails with this.
    fail_free: Option<DriverError>,
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 256).unwrap()
}

impl HostDriver {
    pub(crate) fn new(capacity_bytes: u64) -> Arc<Self> {
        Arc::new(HostDriver { capacity_bytes, state: Mutex::default() })
    }

    fn take(&self, call: &'static str, bytes: usize) -> Result<u64, DriverError> {
        let state = &mut *self.state.lock().unwrap();
        if bytes as u64 > self.capacity_bytes - state.used_bytes {
            return Err(error(call, DriverError::OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", bytes));
        }
        // SAFETY: resources ask for no zero bytes.
        let address = unsafe { alloc(layout(bytes)) };
        // Device memory holds anything.
        // SAFETY: as many bytes as were asked for.
        unsafe { address.write_bytes(0xcd, bytes) };
        let address = address.expose_provenance() as u64;
        state.used_bytes += bytes as u64;
        state.live.insert(address, bytes);
        Ok(address)
    }

    fn give(state: &mut State, address: u64, bytes: usize) {
        state.used_bytes -= bytes as u64;
        // SAFETY: it came from `take` with this layout, and leaves the lists now.
        unsafe { dealloc(std::ptr::with_exposed_provenance_mut(address as usize), layout(bytes)) }
    }

    fn free(&self, call: &'static str, address: u64) -> Result<(), DriverError> {
        let state = &mut *self.state.lock().unwrap();
        if let Some(error) = state.fail_free.take() {
            return Err(error);
        }
        let bytes = state.live.remove(&address);
        let bytes = bytes.ok_or_else(|| error(call, 1, "CUDA_ERROR_INVALID_VALUE", address as usize))?;
        Self::give(state, address, bytes);
        Ok(())
    }
}

fn error(call: &'static str, code: u32, name: &'static str, argument: usize) -> DriverError {
    DriverError { call, code, name, arguments: argument.to_string() }
}

/// What this driver has not.
fn absent<T>() -> Result<T, DriverError> {
    Err(DriverError::new("absent", DriverCode::NotSupported, ""))
}

// SAFETY: memory comes from the allocator, aligned to 256 bytes, and leaves the list of what lives before it is freed.
unsafe impl DriverApi for HostDriver {
    fn driver_version(&self) -> Result<CudaVersion, DriverError> {
        Ok(CudaVersion::OLDEST)
    }

    fn device_count(&self) -> Result<u32, DriverError> {
        Ok(1)
    }

    fn device_get(&self, ordinal: u32) -> Result<DeviceHandle, DriverError> {
        Ok(DeviceHandle(ordinal as i32))
    }

    fn device_name(&self, _device: DeviceHandle) -> Result<String, DriverError> {
        Ok("host memory".into())
    }

    fn device_total_mem(&self, _device: DeviceHandle) -> Result<u64, DriverError> {
        Ok(self.capacity_bytes)
    }

    fn device_attribute(
        &self,
        _attribute: DeviceAttribute,
        _device: DeviceHandle,
    ) -> Result<i32, DriverError> {
        Ok(1)
    }

    fn primary_context_retain(&self, _device: DeviceHandle) -> Result<ContextHandle, DriverError> {
        Ok(ContextHandle(1))
    }

    unsafe fn primary_context_release(&self, _device: DeviceHandle) -> Result<(), DriverError> {
        Ok(())
    }

    unsafe fn context_set_current(&self, _context: ContextHandle) -> Result<(), DriverError> {
        Ok(())
    }

    fn mem_alloc(&self, bytes: usize) -> Result<DevicePointer, DriverError> {
        self.take("cuMemAlloc", bytes).map(DevicePointer)
    }

    unsafe fn mem_free(&self, pointer: DevicePointer) -> Result<(), DriverError> {
        self.free("cuMemFree", pointer.0)
    }

    fn mem_alloc_host(&self, bytes: usize) -> Result<*mut u8, DriverError> {
        let address = self.take("cuMemAllocHost", bytes)?;
        Ok(std::ptr::with_exposed_provenance_mut(address as usize))
    }

    unsafe fn mem_free_host(&self, address: *mut u8) -> Result<(), DriverError> {
        self.free("cuMemFreeHost", address.addr() as u64)
    }

    fn mem_pool_create(
        &self,
        _ordinal: u32,
        _release_threshold_bytes: u64,
    ) -> Result<PoolHandle, DriverError> {
        let state = &mut *self.state.lock().unwrap();
        state.pools += 1;
        Ok(PoolHandle(state.pools))
    }

    unsafe fn mem_pool_destroy(&self, _pool: PoolHandle) -> Result<(), DriverError> {
        let state = &mut *self.state.lock().unwrap();
        for (address, bytes, _) in std::mem::take(&mut state.pending) {
            Self::give(state, address, bytes);
        }
        Ok(())
    }

    unsafe fn mem_alloc_from_pool_async(
        &self,
        bytes: usize,
        _pool: PoolHandle,
        stream: StreamHandle,
    ) -> Result<DevicePointer, DriverError> {
        {
            let state = &mut *self.state.lock().unwrap();
            if let Some(index) =
                state.pending.iter().position(|(_, size, on)| *size == bytes && *on == stream)
            {
                let (address, bytes, _) = state.pending.swap_remove(index);
                state.live.insert(address, bytes);
                return Ok(DevicePointer(address));
            }
        }
        self.take("cuMemAllocFromPoolAsync", bytes).map(DevicePointer)
    }

    unsafe fn mem_free_async(&self, pointer: DevicePointer, stream: StreamHandle) -> Result<(), DriverError> {
        let state = &mut *self.state.lock().unwrap();
        let bytes = state.live.remove(&pointer.0);
        let bytes = bytes
            .ok_or_else(|| error("cuMemFreeAsync", 1, "CUDA_ERROR_INVALID_VALUE", pointer.0 as usize))?;
        state.pending.push((pointer.0, bytes, stream));
        Ok(())
    }

    fn mem_get_info(&self) -> Result<(u64, u64), DriverError> {
        Ok((self.capacity_bytes - self.state.lock().unwrap().used_bytes, self.capacity_bytes))
    }

    unsafe fn stream_synchronize(&self, stream: StreamHandle) -> Result<(), DriverError> {
        let state = &mut *self.state.lock().unwrap();
        let (done, pending) =
            std::mem::take(&mut state.pending).into_iter().partition(|(_, _, on)| *on == stream);
        state.pending = pending;
        let done: Vec<(u64, usize, StreamHandle)> = done;
        done.into_iter().for_each(|(address, bytes, _)| Self::give(state, address, bytes));
        Ok(())
    }

    // Resources do nothing of what follows.

    fn context_get_current(&self) -> Result<Option<ContextHandle>, DriverError> {
        absent()
    }

    fn context_synchronize(&self) -> Result<(), DriverError> {
        absent()
    }

    fn stream_create(&self, _flags: StreamFlags) -> Result<StreamHandle, DriverError> {
        absent()
    }

    unsafe fn stream_destroy(&self, _stream: StreamHandle) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn stream_query(&self, _stream: StreamHandle) -> Result<bool, DriverError> {
        absent()
    }

    unsafe fn stream_wait_event(
        &self,
        _stream: StreamHandle,
        _event: EventHandle,
    ) -> Result<(), DriverError> {
        absent()
    }

    fn event_create(&self, _timing: EventTiming) -> Result<EventHandle, DriverError> {
        absent()
    }

    unsafe fn event_destroy(&self, _event: EventHandle) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn event_record(&self, _event: EventHandle, _stream: StreamHandle) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn event_query(&self, _event: EventHandle) -> Result<bool, DriverError> {
        absent()
    }

    unsafe fn event_synchronize(&self, _event: EventHandle) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn event_elapsed_time(&self, _start: EventHandle, _end: EventHandle) -> Result<f32, DriverError> {
        absent()
    }

    unsafe fn mem_pool_usage(&self, _pool: PoolHandle) -> Result<PoolUsage, DriverError> {
        absent()
    }

    unsafe fn mem_pool_trim_to(&self, _pool: PoolHandle, _keep_bytes: usize) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn memcpy_htod(
        &self,
        _dst: DevicePointer,
        _src: *const u8,
        _bytes: usize,
    ) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn memcpy_dtoh(
        &self,
        _dst: *mut u8,
        _src: DevicePointer,
        _bytes: usize,
    ) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn memcpy_dtod(
        &self,
        _dst: DevicePointer,
        _src: DevicePointer,
        _bytes: usize,
    ) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn memcpy_htod_async(
        &self,
        _dst: DevicePointer,
        _src: *const u8,
        _bytes: usize,
        _stream: StreamHandle,
    ) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn memcpy_dtoh_async(
        &self,
        _dst: *mut u8,
        _src: DevicePointer,
        _bytes: usize,
        _stream: StreamHandle,
    ) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn memcpy_dtod_async(
        &self,
        _dst: DevicePointer,
        _src: DevicePointer,
        _bytes: usize,
        _stream: StreamHandle,
    ) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn memset_d8(&self, _dst: DevicePointer, _value: u8, _bytes: usize) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn memset_d32(&self, _dst: DevicePointer, _value: u32, _words: usize) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn memset_d8_async(
        &self,
        _dst: DevicePointer,
        _value: u8,
        _bytes: usize,
        _stream: StreamHandle,
    ) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn memset_d32_async(
        &self,
        _dst: DevicePointer,
        _value: u32,
        _words: usize,
        _stream: StreamHandle,
    ) -> Result<(), DriverError> {
        absent()
    }

    fn mem_allocation_granularity(&self, _ordinal: u32) -> Result<usize, DriverError> {
        absent()
    }

    fn mem_address_reserve(&self, _bytes: usize, _align_bytes: usize) -> Result<DevicePointer, DriverError> {
        absent()
    }

    unsafe fn mem_address_free(&self, _pointer: DevicePointer, _bytes: usize) -> Result<(), DriverError> {
        absent()
    }

    fn mem_create(&self, _ordinal: u32, _bytes: usize) -> Result<MemoryHandle, DriverError> {
        absent()
    }

    unsafe fn mem_release(&self, _memory: MemoryHandle) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn mem_map(
        &self,
        _pointer: DevicePointer,
        _bytes: usize,
        _offset: usize,
        _memory: MemoryHandle,
    ) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn mem_unmap(&self, _pointer: DevicePointer, _bytes: usize) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn mem_set_access(
        &self,
        _pointer: DevicePointer,
        _bytes: usize,
        _ordinal: u32,
    ) -> Result<(), DriverError> {
        absent()
    }

    fn module_load_data(&self, _image: &CStr) -> Result<ModuleHandle, DriverError> {
        absent()
    }

    unsafe fn module_unload(&self, _module: ModuleHandle) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn module_get_function(
        &self,
        _module: ModuleHandle,
        _name: &CStr,
    ) -> Result<FunctionHandle, DriverError> {
        absent()
    }

    unsafe fn module_get_global(
        &self,
        _module: ModuleHandle,
        _name: &CStr,
    ) -> Result<(DevicePointer, usize), DriverError> {
        absent()
    }

    unsafe fn function_attribute(
        &self,
        _function: FunctionHandle,
        _attribute: FunctionAttribute,
    ) -> Result<i32, DriverError> {
        absent()
    }

    unsafe fn function_set_attribute(
        &self,
        _function: FunctionHandle,
        _attribute: FunctionAttribute,
        _value: i32,
    ) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn occupancy_max_active_blocks(
        &self,
        _function: FunctionHandle,
        _block_threads: u32,
        _shared_bytes: usize,
    ) -> Result<u32, DriverError> {
        absent()
    }

    unsafe fn launch_kernel(
        &self,
        _function: FunctionHandle,
        _config: &LaunchConfig,
        _stream: StreamHandle,
        _params: &[*mut c_void],
    ) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn stream_begin_capture(
        &self,
        _stream: StreamHandle,
        _mode: CaptureMode,
    ) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn stream_end_capture(&self, _stream: StreamHandle) -> Result<GraphHandle, DriverError> {
        absent()
    }

    unsafe fn stream_capture_status(&self, _stream: StreamHandle) -> Result<CaptureStatus, DriverError> {
        absent()
    }

    unsafe fn graph_destroy(&self, _graph: GraphHandle) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn graph_instantiate(&self, _graph: GraphHandle) -> Result<GraphExecHandle, DriverError> {
        absent()
    }

    unsafe fn graph_exec_update(
        &self,
        _exec: GraphExecHandle,
        _graph: GraphHandle,
    ) -> Result<bool, DriverError> {
        absent()
    }

    unsafe fn graph_exec_destroy(&self, _exec: GraphExecHandle) -> Result<(), DriverError> {
        absent()
    }

    unsafe fn graph_launch(&self, _exec: GraphExecHandle, _stream: StreamHandle) -> Result<(), DriverError> {
        absent()
    }
}

impl Drop for HostDriver {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap();
        assert!(state.live.is_empty(), "leaked {} allocations", state.live.len());
    }
}

#[test]
fn every_resource_passes_the_suite() {
    suite::run(&|| Arc::new(DeviceResource::new(HostDriver::new(1 << 30))));
    suite::run(&|| Arc::new(PinnedHostResource::new(HostDriver::new(1 << 30))));
    suite::run(&|| Arc::new(StreamOrderedResource::new(HostDriver::new(1 << 30), 0, 1 << 20).unwrap()));
}

#[test]
fn freed_memory_comes_back_on_its_own_stream_first() {
    let resource = Arc::new(StreamOrderedResource::new(HostDriver::new(1000), 0, 0).unwrap());
    let shared: Arc<dyn MemoryResource<Space = Device>> = resource.clone();
    let allocate = |stream| {
        let request = Request::new(Category::Workspace, "w", 1000, 1).on(suite::stream(stream));
        Buffer::<u8, Device>::allocate(&shared, request)
    };
    let first = allocate(1).unwrap();
    let address = first.address();
    drop(first);
    assert!(
        matches!(allocate(2), Err(MemError::OutOfMemory { requested_bytes: 1000, .. })),
        "stream 1 may use it"
    );
    assert_eq!(allocate(1).unwrap().address(), address);
    resource.synchronize(suite::stream(1)).unwrap();
    assert!(allocate(2).is_ok());
}

#[test]
fn page_locked_memory_is_zeroed_host_memory() {
    let resource: tinyllm_mem::HostMemory = Arc::new(PinnedHostResource::new(HostDriver::new(1 << 20)));
    let buffer = Buffer::<u32>::zeroed(&resource, Category::Staging, "staging", 1000).unwrap();
    assert!(buffer.as_slice().iter().all(|value| *value == 0));
}

#[test]
fn what_a_free_fails_with_is_said_by_the_next_call() {
    let driver = HostDriver::new(1 << 20);
    let resource: Arc<dyn MemoryResource<Space = Device>> = Arc::new(DeviceResource::new(driver.clone()));
    let request = || Request::new(Category::Kv, "kv", 512, 4096);
    let buffer = Buffer::<u8, Device>::allocate(&resource, request()).unwrap();
    let pointer = *driver.state.lock().unwrap().live.keys().next().unwrap();
    let failure = error("cuMemFree", 719, "CUDA_ERROR_LAUNCH_FAILED", 0);
    driver.state.lock().unwrap().fail_free = Some(failure);
    drop(buffer);
    let said = Buffer::<u8, Device>::allocate(&resource, request()).unwrap_err().to_string();
    assert_eq!(said, "kv: cuMemFree(0): CUDA_ERROR_LAUNCH_FAILED (719)");
    assert!(Buffer::<u8, Device>::allocate(&resource, request()).is_ok(), "once");
    // SAFETY: the failed call left it with the driver.
    unsafe { driver.mem_free(DevicePointer(pointer)).unwrap() };
    let info = resource.memory_info().unwrap();
    assert_eq!(info.free_bytes, info.total_bytes);
}

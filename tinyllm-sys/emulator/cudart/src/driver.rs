//! The driver's calls, found by name in `libcuda.so.1` when the program first needs one.

use std::{
    ffi::{CStr, CString, OsStr, c_char, c_int, c_void},
    mem::{MaybeUninit, transmute_copy},
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::OnceLock,
};

use crate::outcome::{Error, say};

const LIBRARY: &CStr = c"libcuda.so.1";

/// Gives the address of one of the driver's functions, or null.
pub type Find = fn(&CStr) -> *const c_void;

static FIND: OnceLock<Find> = OnceLock::new();

/// Takes the driver's functions from here instead of from `libcuda.so.1`: for a process that the driver is linked into. The first
/// call of the runtime that needs the driver decides; this is too late afterwards.
///
/// # Safety
/// An address that `find` gives for a name of the CUDA driver's interface is that function's, as long as the process lives.
pub unsafe fn use_driver(find: Find) {
    // The first stays, as the functions do that were found with it.
    let _ = FIND.set(find);
}

/// Declares the table and its calls: method, the driver's name, arguments.
macro_rules! calls {
    ($($call:ident = $name:literal($($argument:ident: $ty:ty),*);)*) => {
        /// Addresses of the driver's functions. A driver need not have all that some program calls.
        #[derive(Debug)]
        pub(crate) struct Driver {
            $($call: Option<unsafe extern "C" fn($($ty),*) -> u32>,)*
        }

        impl Driver {
            /// # Safety
            /// What `find` gives for a name has these arguments.
            unsafe fn found(find: impl Fn(&CStr) -> *const c_void) -> Self {
                Driver {
                    $($call: {
                        let address = CString::new($name).map_or(std::ptr::null(), |name| find(&name));
                        // SAFETY: an address or null is as wide as an optional function, and null is none. Not null, it is
                        // that function's: the caller's promise.
                        unsafe {
                            transmute_copy::<*const c_void, Option<unsafe extern "C" fn($($ty),*) -> u32>>(&address)
                        }
                    },)*
                }
            }

            $(
                /// The driver's call of this name.
                ///
                /// # Safety
                /// As the driver's documentation asks: places can be written, handles are of its own.
                #[allow(clippy::too_many_arguments)] // as many as the driver's call has
                pub(crate) unsafe fn $call(&self $(, $argument: $ty)*) -> Result<(), Error> {
                    let call = self.$call.ok_or(Error::NEWER_DRIVER_NEEDED)?;
                    // SAFETY: the caller's promise.
                    match unsafe { call($($argument),*) } {
                        0 => Ok(()),
                        number => Err(Error(number)),
                    }
                }
            )*
        }
    };
}

calls! {
    init = "cuInit"(flags: u32);
    driver_get_version = "cuDriverGetVersion"(version: *mut c_int);
    get_proc_address = "cuGetProcAddress_v2"(
        name: *const c_char, address: *mut *mut c_void, version: c_int, flags: u64, status: *mut u32
    );
    profiler_start = "cuProfilerStart"();
    profiler_stop = "cuProfilerStop"();

    device_get_count = "cuDeviceGetCount"(count: *mut c_int);
    device_get_name = "cuDeviceGetName"(name: *mut c_char, length: c_int, device: c_int);
    device_get_uuid = "cuDeviceGetUuid_v2"(uuid: *mut [u8; 16], device: c_int);
    device_total_mem = "cuDeviceTotalMem_v2"(bytes: *mut usize, device: c_int);
    device_get_attribute = "cuDeviceGetAttribute"(value: *mut c_int, attribute: c_int, device: c_int);
    device_get_p2p_attribute = "cuDeviceGetP2PAttribute"(
        value: *mut c_int, attribute: c_int, device: c_int, peer: c_int
    );
    device_can_access_peer = "cuDeviceCanAccessPeer"(can: *mut c_int, device: c_int, peer: c_int);
    device_get_pci_bus_id = "cuDeviceGetPCIBusId"(id: *mut c_char, length: c_int, device: c_int);
    device_get_by_pci_bus_id = "cuDeviceGetByPCIBusId"(device: *mut c_int, id: *const c_char);
    device_get_default_mem_pool = "cuDeviceGetDefaultMemPool"(pool: *mut u64, device: c_int);
    device_get_mem_pool = "cuDeviceGetMemPool"(pool: *mut u64, device: c_int);
    device_set_mem_pool = "cuDeviceSetMemPool"(device: c_int, pool: u64);

    primary_ctx_retain = "cuDevicePrimaryCtxRetain"(context: *mut u64, device: c_int);
    primary_ctx_set_flags = "cuDevicePrimaryCtxSetFlags_v2"(device: c_int, flags: u32);
    primary_ctx_get_state = "cuDevicePrimaryCtxGetState"(device: c_int, flags: *mut u32, active: *mut c_int);
    ctx_get_current = "cuCtxGetCurrent"(context: *mut u64);
    ctx_set_current = "cuCtxSetCurrent"(context: u64);
    ctx_push_current = "cuCtxPushCurrent_v2"(context: u64);
    ctx_pop_current = "cuCtxPopCurrent_v2"(context: *mut u64);
    ctx_get_device = "cuCtxGetDevice"(device: *mut c_int);
    ctx_synchronize = "cuCtxSynchronize"();
    ctx_get_limit = "cuCtxGetLimit"(value: *mut usize, limit: u32);
    ctx_set_limit = "cuCtxSetLimit"(limit: u32, value: usize);
    ctx_get_cache_config = "cuCtxGetCacheConfig"(config: *mut u32);
    ctx_set_cache_config = "cuCtxSetCacheConfig"(config: u32);
    ctx_get_shared_mem_config = "cuCtxGetSharedMemConfig"(config: *mut u32);
    ctx_set_shared_mem_config = "cuCtxSetSharedMemConfig"(config: u32);
    ctx_reset_persisting_l2_cache = "cuCtxResetPersistingL2Cache"();
    ctx_get_stream_priority_range = "cuCtxGetStreamPriorityRange"(least: *mut c_int, greatest: *mut c_int);
    ctx_enable_peer_access = "cuCtxEnablePeerAccess"(context: u64, flags: u32);
    ctx_disable_peer_access = "cuCtxDisablePeerAccess"(context: u64);

    module_load_data = "cuModuleLoadData"(module: *mut u64, image: *const c_void);
    module_unload = "cuModuleUnload"(module: u64);
    module_get_function = "cuModuleGetFunction"(function: *mut u64, module: u64, name: *const c_char);
    module_get_global = "cuModuleGetGlobal_v2"(
        address: *mut u64, bytes: *mut usize, module: u64, name: *const c_char
    );

    func_get_attribute = "cuFuncGetAttribute"(value: *mut c_int, attribute: c_int, function: u64);
    func_set_attribute = "cuFuncSetAttribute"(function: u64, attribute: c_int, value: c_int);
    func_set_cache_config = "cuFuncSetCacheConfig"(function: u64, config: u32);
    func_set_shared_mem_config = "cuFuncSetSharedMemConfig"(function: u64, config: u32);
    func_get_param_info = "cuFuncGetParamInfo"(
        function: u64, index: usize, offset: *mut usize, bytes: *mut usize
    );
    occupancy_max_active_blocks = "cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags"(
        count: *mut c_int, function: u64, threads: c_int, shared_bytes: usize, flags: u32
    );
    occupancy_available_dynamic_smem = "cuOccupancyAvailableDynamicSMemPerBlock"(
        bytes: *mut usize, function: u64, blocks: c_int, threads: c_int
    );
    launch_kernel = "cuLaunchKernel"(
        function: u64, grid_x: u32, grid_y: u32, grid_z: u32, block_x: u32, block_y: u32, block_z: u32,
        shared_bytes: u32, stream: u64, arguments: *mut *mut c_void, extra: *mut *mut c_void
    );
    launch_cooperative_kernel = "cuLaunchCooperativeKernel"(
        function: u64, grid_x: u32, grid_y: u32, grid_z: u32, block_x: u32, block_y: u32, block_z: u32,
        shared_bytes: u32, stream: u64, arguments: *mut *mut c_void
    );
    launch_kernel_ex = "cuLaunchKernelEx"(
        config: *const c_void, function: u64, arguments: *mut *mut c_void, extra: *mut *mut c_void
    );
    launch_host_func = "cuLaunchHostFunc"(stream: u64, function: *mut c_void, data: *mut c_void);
    stream_add_callback = "cuStreamAddCallback"(
        stream: u64, function: *mut c_void, data: *mut c_void, flags: u32
    );

    mem_alloc = "cuMemAlloc_v2"(address: *mut u64, bytes: usize);
    mem_alloc_pitch = "cuMemAllocPitch_v2"(
        address: *mut u64, pitch: *mut usize, width_bytes: usize, height: usize, element_bytes: u32
    );
    mem_alloc_managed = "cuMemAllocManaged"(address: *mut u64, bytes: usize, flags: u32);
    mem_free = "cuMemFree_v2"(address: u64);
    mem_host_alloc = "cuMemHostAlloc"(address: *mut *mut c_void, bytes: usize, flags: u32);
    mem_free_host = "cuMemFreeHost"(address: *mut c_void);
    mem_host_register = "cuMemHostRegister_v2"(address: *mut c_void, bytes: usize, flags: u32);
    mem_host_unregister = "cuMemHostUnregister"(address: *mut c_void);
    mem_host_get_device_pointer = "cuMemHostGetDevicePointer_v2"(
        address: *mut u64, host: *mut c_void, flags: u32
    );
    mem_host_get_flags = "cuMemHostGetFlags"(flags: *mut u32, host: *mut c_void);
    mem_get_info = "cuMemGetInfo_v2"(free: *mut usize, total: *mut usize);
    pointer_get_attributes = "cuPointerGetAttributes"(
        count: u32, attributes: *mut c_int, values: *mut *mut c_void, address: u64
    );

    mem_alloc_async = "cuMemAllocAsync"(address: *mut u64, bytes: usize, stream: u64);
    mem_alloc_from_pool_async = "cuMemAllocFromPoolAsync"(
        address: *mut u64, bytes: usize, pool: u64, stream: u64
    );
    mem_free_async = "cuMemFreeAsync"(address: u64, stream: u64);
    mem_pool_create = "cuMemPoolCreate"(pool: *mut u64, properties: *const c_void);
    mem_pool_destroy = "cuMemPoolDestroy"(pool: u64);
    mem_pool_set_attribute = "cuMemPoolSetAttribute"(pool: u64, attribute: u32, value: *mut c_void);
    mem_pool_get_attribute = "cuMemPoolGetAttribute"(pool: u64, attribute: u32, value: *mut c_void);
    mem_pool_trim_to = "cuMemPoolTrimTo"(pool: u64, bytes: usize);

    memcpy = "cuMemcpy"(dst: u64, src: u64, bytes: usize);
    memcpy_async = "cuMemcpyAsync"(dst: u64, src: u64, bytes: usize, stream: u64);
    memcpy_htod = "cuMemcpyHtoD_v2"(dst: u64, src: u64, bytes: usize);
    memcpy_dtoh = "cuMemcpyDtoH_v2"(dst: u64, src: u64, bytes: usize);
    memcpy_dtod = "cuMemcpyDtoD_v2"(dst: u64, src: u64, bytes: usize);
    memcpy_htod_async = "cuMemcpyHtoDAsync_v2"(dst: u64, src: u64, bytes: usize, stream: u64);
    memcpy_dtoh_async = "cuMemcpyDtoHAsync_v2"(dst: u64, src: u64, bytes: usize, stream: u64);
    memcpy_dtod_async = "cuMemcpyDtoDAsync_v2"(dst: u64, src: u64, bytes: usize, stream: u64);
    memcpy_peer = "cuMemcpyPeer"(dst: u64, dst_context: u64, src: u64, src_context: u64, bytes: usize);
    memcpy_peer_async = "cuMemcpyPeerAsync"(
        dst: u64, dst_context: u64, src: u64, src_context: u64, bytes: usize, stream: u64
    );
    memset_d8 = "cuMemsetD8_v2"(dst: u64, value: u8, bytes: usize);
    memset_d8_async = "cuMemsetD8Async"(dst: u64, value: u8, bytes: usize, stream: u64);

    stream_create = "cuStreamCreate"(stream: *mut u64, flags: u32);
    stream_create_with_priority = "cuStreamCreateWithPriority"(stream: *mut u64, flags: u32, priority: c_int);
    stream_destroy = "cuStreamDestroy_v2"(stream: u64);
    stream_synchronize = "cuStreamSynchronize"(stream: u64);
    stream_query = "cuStreamQuery"(stream: u64);
    stream_wait_event = "cuStreamWaitEvent"(stream: u64, event: u64, flags: u32);
    stream_get_flags = "cuStreamGetFlags"(stream: u64, flags: *mut u32);
    stream_get_priority = "cuStreamGetPriority"(stream: u64, priority: *mut c_int);
    stream_get_id = "cuStreamGetId"(stream: u64, id: *mut u64);
    stream_get_device = "cuStreamGetDevice"(stream: u64, device: *mut c_int);

    event_create = "cuEventCreate"(event: *mut u64, flags: u32);
    event_destroy = "cuEventDestroy_v2"(event: u64);
    event_record = "cuEventRecord"(event: u64, stream: u64);
    event_record_with_flags = "cuEventRecordWithFlags"(event: u64, stream: u64, flags: u32);
    event_query = "cuEventQuery"(event: u64);
    event_synchronize = "cuEventSynchronize"(event: u64);
    event_elapsed_time = "cuEventElapsedTime"(milliseconds: *mut f32, start: u64, end: u64);

    stream_begin_capture = "cuStreamBeginCapture_v2"(stream: u64, mode: u32);
    stream_end_capture = "cuStreamEndCapture"(stream: u64, graph: *mut u64);
    stream_is_capturing = "cuStreamIsCapturing"(stream: u64, status: *mut u32);
    stream_get_capture_info_v2 = "cuStreamGetCaptureInfo_v2"(
        stream: u64, status: *mut u32, id: *mut u64, graph: *mut u64, nodes: *mut u64, count: *mut usize
    );
    stream_get_capture_info_v3 = "cuStreamGetCaptureInfo_v3"(
        stream: u64, status: *mut u32, id: *mut u64, graph: *mut u64, nodes: *mut u64, edges: *mut u64,
        count: *mut usize
    );
    graph_instantiate = "cuGraphInstantiateWithFlags"(exec: *mut u64, graph: u64, flags: u64);
    graph_exec_update = "cuGraphExecUpdate_v2"(exec: u64, graph: u64, result: *mut c_void);
    graph_exec_destroy = "cuGraphExecDestroy"(exec: u64);
    graph_destroy = "cuGraphDestroy"(graph: u64);
    graph_launch = "cuGraphLaunch"(exec: u64, stream: u64);
    graph_upload = "cuGraphUpload"(exec: u64, stream: u64);
}

/// The file `libcuda.so.1` beside the library that this code is in, if there is one.
fn beside() -> Option<CString> {
    let mut found = MaybeUninit::<libc::Dl_info>::uninit();
    let here = beside as fn() -> Option<CString>;
    // SAFETY: writes the description of the library that the address lies in, if it gives something other than 0.
    let known = unsafe { libc::dladdr(here as *const c_void, found.as_mut_ptr()) } != 0;
    if !known {
        return None;
    }
    // SAFETY: written, as just seen.
    let name = unsafe { found.assume_init() }.dli_fname;
    if name.is_null() {
        return None;
    }
    // SAFETY: the terminated path of a library that stays loaded while its code runs.
    let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()));
    let library = path.parent()?.join(LIBRARY.to_str().ok()?);
    if library.is_file() { CString::new(library.as_os_str().as_bytes()).ok() } else { None }
}

/// Loads the library for good: the one beside this, else as programs find theirs.
fn library() -> Result<*mut c_void, Error> {
    let beside = beside();
    let name = beside.as_deref().unwrap_or(LIBRARY);
    // SAFETY: a terminated name; a library of this name is a driver, whose initialisers ask for nothing.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
    if library.is_null() {
        say(format_args!("no driver: {} cannot be loaded", name.to_string_lossy()));
        return Err(Error::INSUFFICIENT_DRIVER);
    }
    Ok(library)
}

fn load() -> Result<Driver, Error> {
    if let Some(find) = FIND.get() {
        // SAFETY: the promise made to `use_driver`; the table has the arguments that the driver's header gives.
        return Ok(unsafe { Driver::found(find) });
    }
    let library = library()?;
    // SAFETY: the library stays loaded; each name is terminated. A library of the driver's name has the driver's functions, and
    // the table has the arguments that its header gives.
    Ok(unsafe { Driver::found(|name| libc::dlsym(library, name.as_ptr()).cast_const()) })
}

static DRIVER: OnceLock<Result<Driver, Error>> = OnceLock::new();

/// The driver, if a call needed it already.
pub(crate) fn if_loaded() -> Option<&'static Driver> {
    DRIVER.get()?.as_ref().ok()
}

/// The driver, loaded, before `cuInit`.
///
/// # Errors
/// `INSUFFICIENT_DRIVER` where there is none.
pub(crate) fn loaded() -> Result<&'static Driver, Error> {
    DRIVER.get_or_init(load).as_ref().map_err(|error| *error)
}

/// The driver, ready for calls.
///
/// # Errors
/// As [`loaded`], and what `cuInit` gives.
pub(crate) fn driver() -> Result<&'static Driver, Error> {
    static READY: OnceLock<Result<(), Error>> = OnceLock::new();
    let driver = loaded()?;
    // SAFETY: the driver's rule: once before anything else, flags 0.
    (*READY.get_or_init(|| unsafe { driver.init(0) }))?;
    Ok(driver)
}

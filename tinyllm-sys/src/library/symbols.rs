//! The driver's functions, found by name once. They are declared here to return a plain number: a newer driver may return
//! what no enumeration lists.

use std::ffi::{c_char, c_int, c_uint, c_void};

use cudarc::driver::sys::{
    CUcontext, CUdevice, CUdeviceptr, CUevent, CUfunction, CUgraph, CUgraphExec, CUgraphNode, CUlaunchConfig,
    CUmemAccessDesc, CUmemAllocationProp, CUmemGenericAllocationHandle, CUmemPoolProps, CUmemoryPool,
    CUmodule, CUstream, culib,
};

use crate::CudaVersion;

/// Declares the table and how it is filled: field, the driver's name, arguments.
macro_rules! symbols {
    ($($field:ident = $name:literal($($argument:ty),*);)*) => {
        /// Addresses of the driver's functions.
        #[derive(Debug)]
        pub(super) struct Symbols {
            $(pub(super) $field: unsafe extern "C" fn($($argument),*) -> c_uint,)*
        }

        impl Symbols {
            /// Finds every function, or names the first that is missing.
            ///
            /// # Safety
            /// The library is there ([`cudarc::driver::sys::is_culib_present`]) and is the CUDA driver: its functions
            /// have these arguments.
            pub(super) unsafe fn find() -> Result<Self, &'static str> {
                Ok(Symbols {
                    // SAFETY: the caller's promise.
                    $($field: unsafe { find(concat!($name, "\0").as_bytes()) }.ok_or($name)?,)*
                })
            }

            /// A driver that refuses every call, for tests to put functions of their own into.
            #[cfg(test)]
            pub(super) fn refusing() -> Self {
                $(unsafe extern "C" fn $field($(_: $argument),*) -> c_uint {
                    crate::DriverCode::NotSupported.number()
                })*
                Symbols { $($field,)* }
            }
        }
    };
}

/// `CUgraphExecUpdateResultInfo`, with a plain number for the result.
#[repr(C)]
pub(super) struct UpdateResult {
    pub(super) result: c_uint,
    pub(super) error_node: CUgraphNode,
    pub(super) error_from_node: CUgraphNode,
}

/// The function of a name that ends with 0.
///
/// # Safety
/// The library is there, and the function is an `F`, if it has it.
unsafe fn find<F: Copy>(name: &[u8]) -> Option<F> {
    // SAFETY: the caller's promise; the library is never unloaded.
    unsafe { culib().get::<F>(name).ok().map(|function| *function) }
}

/// The driver's version, from a driver of any age.
///
/// # Safety
/// As [`Symbols::find`].
pub(super) unsafe fn version() -> Option<CudaVersion> {
    let mut version: c_int = 0;
    // SAFETY: the caller's promise; writes one int.
    let code = unsafe {
        find::<unsafe extern "C" fn(*mut c_int) -> c_uint>(b"cuDriverGetVersion\0")?(&raw mut version)
    };
    (code == 0).then_some(CudaVersion(version.unsigned_abs()))
}

symbols! {
    driver_get_version = "cuDriverGetVersion"(*mut c_int);
    init = "cuInit"(c_uint);
    get_error_name = "cuGetErrorName"(c_uint, *mut *const c_char);
    device_get_count = "cuDeviceGetCount"(*mut c_int);
    device_get = "cuDeviceGet"(*mut CUdevice, c_int);
    device_get_name = "cuDeviceGetName"(*mut c_char, c_int, CUdevice);
    device_total_mem = "cuDeviceTotalMem_v2"(*mut usize, CUdevice);
    device_get_attribute = "cuDeviceGetAttribute"(*mut c_int, c_int, CUdevice);
    primary_context_retain = "cuDevicePrimaryCtxRetain"(*mut CUcontext, CUdevice);
    primary_context_release = "cuDevicePrimaryCtxRelease_v2"(CUdevice);
    context_set_current = "cuCtxSetCurrent"(CUcontext);
    context_push_current = "cuCtxPushCurrent_v2"(CUcontext);
    context_pop_current = "cuCtxPopCurrent_v2"(*mut CUcontext);
    context_get_current = "cuCtxGetCurrent"(*mut CUcontext);
    context_synchronize = "cuCtxSynchronize"();
    stream_create = "cuStreamCreate"(*mut CUstream, c_uint);
    stream_destroy = "cuStreamDestroy_v2"(CUstream);
    stream_synchronize = "cuStreamSynchronize"(CUstream);
    stream_query = "cuStreamQuery"(CUstream);
    stream_wait_event = "cuStreamWaitEvent"(CUstream, CUevent, c_uint);
    event_create = "cuEventCreate"(*mut CUevent, c_uint);
    event_destroy = "cuEventDestroy_v2"(CUevent);
    event_record = "cuEventRecord"(CUevent, CUstream);
    event_query = "cuEventQuery"(CUevent);
    event_synchronize = "cuEventSynchronize"(CUevent);
    event_elapsed_time = "cuEventElapsedTime"(*mut f32, CUevent, CUevent);
    mem_alloc = "cuMemAlloc_v2"(*mut CUdeviceptr, usize);
    mem_free = "cuMemFree_v2"(CUdeviceptr);
    mem_alloc_host = "cuMemAllocHost_v2"(*mut *mut c_void, usize);
    mem_free_host = "cuMemFreeHost"(*mut c_void);
    mem_get_info = "cuMemGetInfo_v2"(*mut usize, *mut usize);
    mem_pool_create = "cuMemPoolCreate"(*mut CUmemoryPool, *const CUmemPoolProps);
    mem_pool_destroy = "cuMemPoolDestroy"(CUmemoryPool);
    mem_pool_set_attribute = "cuMemPoolSetAttribute"(CUmemoryPool, c_uint, *mut c_void);
    mem_pool_get_attribute = "cuMemPoolGetAttribute"(CUmemoryPool, c_uint, *mut c_void);
    mem_pool_trim_to = "cuMemPoolTrimTo"(CUmemoryPool, usize);
    mem_alloc_from_pool_async = "cuMemAllocFromPoolAsync"(*mut CUdeviceptr, usize, CUmemoryPool, CUstream);
    mem_free_async = "cuMemFreeAsync"(CUdeviceptr, CUstream);
    memcpy_htod = "cuMemcpyHtoD_v2"(CUdeviceptr, *const c_void, usize);
    memcpy_dtoh = "cuMemcpyDtoH_v2"(*mut c_void, CUdeviceptr, usize);
    memcpy_dtod = "cuMemcpyDtoD_v2"(CUdeviceptr, CUdeviceptr, usize);
    memcpy_htod_async = "cuMemcpyHtoDAsync_v2"(CUdeviceptr, *const c_void, usize, CUstream);
    memcpy_dtoh_async = "cuMemcpyDtoHAsync_v2"(*mut c_void, CUdeviceptr, usize, CUstream);
    memcpy_dtod_async = "cuMemcpyDtoDAsync_v2"(CUdeviceptr, CUdeviceptr, usize, CUstream);
    memset_d8 = "cuMemsetD8_v2"(CUdeviceptr, u8, usize);
    memset_d32 = "cuMemsetD32_v2"(CUdeviceptr, c_uint, usize);
    memset_d8_async = "cuMemsetD8Async"(CUdeviceptr, u8, usize, CUstream);
    memset_d32_async = "cuMemsetD32Async"(CUdeviceptr, c_uint, usize, CUstream);
    mem_allocation_granularity = "cuMemGetAllocationGranularity"(*mut usize, *const CUmemAllocationProp, c_uint);
    mem_address_reserve = "cuMemAddressReserve"(*mut CUdeviceptr, usize, usize, CUdeviceptr, u64);
    mem_address_free = "cuMemAddressFree"(CUdeviceptr, usize);
    mem_create = "cuMemCreate"(*mut CUmemGenericAllocationHandle, usize, *const CUmemAllocationProp, u64);
    mem_release = "cuMemRelease"(CUmemGenericAllocationHandle);
    mem_map = "cuMemMap"(CUdeviceptr, usize, usize, CUmemGenericAllocationHandle, u64);
    mem_unmap = "cuMemUnmap"(CUdeviceptr, usize);
    mem_set_access = "cuMemSetAccess"(CUdeviceptr, usize, *const CUmemAccessDesc, usize);
    module_load_data = "cuModuleLoadDataEx"(*mut CUmodule, *const c_void, c_uint, *mut c_uint, *mut *mut c_void);
    module_unload = "cuModuleUnload"(CUmodule);
    module_get_function = "cuModuleGetFunction"(*mut CUfunction, CUmodule, *const c_char);
    module_get_global = "cuModuleGetGlobal_v2"(*mut CUdeviceptr, *mut usize, CUmodule, *const c_char);
    function_attribute = "cuFuncGetAttribute"(*mut c_int, c_int, CUfunction);
    function_set_attribute = "cuFuncSetAttribute"(CUfunction, c_int, c_int);
    occupancy_max_active_blocks =
        "cuOccupancyMaxActiveBlocksPerMultiprocessor"(*mut c_int, CUfunction, c_int, usize);
    launch_kernel = "cuLaunchKernel"(
        CUfunction, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, CUstream, *mut *mut c_void,
        *mut *mut c_void
    );
    launch_kernel_ex =
        "cuLaunchKernelEx"(*const CUlaunchConfig, CUfunction, *mut *mut c_void, *mut *mut c_void);
    stream_begin_capture = "cuStreamBeginCapture_v2"(CUstream, c_uint);
    stream_end_capture = "cuStreamEndCapture"(CUstream, *mut CUgraph);
    stream_capture_status = "cuStreamIsCapturing"(CUstream, *mut c_uint);
    graph_destroy = "cuGraphDestroy"(CUgraph);
    graph_instantiate = "cuGraphInstantiateWithFlags"(*mut CUgraphExec, CUgraph, u64);
    graph_exec_update = "cuGraphExecUpdate_v2"(CUgraphExec, CUgraph, *mut UpdateResult);
    graph_exec_destroy = "cuGraphExecDestroy"(CUgraphExec);
    graph_launch = "cuGraphLaunch"(CUgraphExec, CUstream);
}

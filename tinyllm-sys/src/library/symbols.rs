//! The driver's functions, found by name once. They are declared here to return a plain number: a newer driver may say
//! what no enumeration lists.

use std::ffi::{c_char, c_int, c_uint, c_void};

use cudarc::driver::sys::{CUcontext, CUdevice, CUdeviceptr, CUmemPoolProps, CUmemoryPool, CUstream, culib};

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
        }
    };
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
    device_get_attribute = "cuDeviceGetAttribute"(*mut c_int, c_uint, CUdevice);
    primary_context_retain = "cuDevicePrimaryCtxRetain"(*mut CUcontext, CUdevice);
    primary_context_release = "cuDevicePrimaryCtxRelease_v2"(CUdevice);
    context_set_current = "cuCtxSetCurrent"(CUcontext);
    mem_alloc = "cuMemAlloc_v2"(*mut CUdeviceptr, usize);
    mem_free = "cuMemFree_v2"(CUdeviceptr);
    mem_alloc_host = "cuMemAllocHost_v2"(*mut *mut c_void, usize);
    mem_free_host = "cuMemFreeHost"(*mut c_void);
    mem_pool_create = "cuMemPoolCreate"(*mut CUmemoryPool, *const CUmemPoolProps);
    mem_pool_destroy = "cuMemPoolDestroy"(CUmemoryPool);
    mem_pool_set_attribute = "cuMemPoolSetAttribute"(CUmemoryPool, c_uint, *mut c_void);
    mem_alloc_from_pool_async = "cuMemAllocFromPoolAsync"(*mut CUdeviceptr, usize, CUmemoryPool, CUstream);
    mem_free_async = "cuMemFreeAsync"(CUdeviceptr, CUstream);
    mem_get_info = "cuMemGetInfo_v2"(*mut usize, *mut usize);
    stream_synchronize = "cuStreamSynchronize"(CUstream);
}

//! The real driver: its library, loaded when asked for.

mod error;
mod symbols;

use std::ffi::{CStr, c_char, c_int, c_uint};

use cudarc::driver::sys::{self, CUmemAllocationHandleType, CUmemAllocationType, CUmemLocationType};

pub use error::LoadError;

use self::symbols::Symbols;
use crate::{
    ContextHandle, CudaVersion, DeviceAttribute, DeviceHandle, DevicePointer, DriverApi, DriverError,
    PoolHandle, StreamHandle,
};

/// `CUDA_ERROR_NO_DEVICE`.
const NO_DEVICE: c_uint = 100;

/// `CU_MEMPOOL_ATTR_RELEASE_THRESHOLD`.
const RELEASE_THRESHOLD: c_uint = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD as c_uint;

/// Room for a device's name.
const NAME_BYTES: usize = 256;

/// The CUDA driver of this machine.
#[derive(Debug)]
pub struct LibCuda {
    symbols: Symbols,
}

impl LibCuda {
    /// Loads the driver and starts it.
    ///
    /// # Errors
    /// What is missing, as [`LoadError`] says.
    pub fn load() -> Result<Self, LoadError> {
        // SAFETY: loads the library under its usual names, which runs only the driver's own initialisers.
        if !unsafe { sys::is_culib_present() } {
            return Err(LoadError::NoLibrary);
        }
        // An old driver lacks functions, and its age says more than the first of them.
        // SAFETY: it is present, and a library of that name is the driver.
        let symbols = unsafe { Symbols::find() }.map_err(|symbol| match unsafe { symbols::version() } {
            Some(found) if found < CudaVersion::OLDEST => LoadError::OldDriver { found },
            _ => LoadError::MissingSymbol { symbol },
        })?;
        let driver = LibCuda { symbols };
        let found = driver.driver_version()?;
        if found < CudaVersion::OLDEST {
            return Err(LoadError::OldDriver { found });
        }
        // SAFETY: the driver's rule: once before anything else, flags 0.
        match unsafe { (driver.symbols.init)(0) } {
            NO_DEVICE => Err(LoadError::NoDevice),
            code => {
                driver.check("cuInit", code, String::new)?;
                Ok(driver)
            }
        }
    }

    /// A code as a result.
    fn check(
        &self,
        call: &'static str,
        code: c_uint,
        arguments: impl FnOnce() -> String,
    ) -> Result<(), DriverError> {
        if code == 0 {
            return Ok(());
        }
        let mut name: *const c_char = std::ptr::null();
        // SAFETY: writes the address of a string that lives as long as the library, or null for a code it does not know.
        let known = unsafe { (self.symbols.get_error_name)(code, &raw mut name) } == 0 && !name.is_null();
        // SAFETY: as above: terminated, and never unloaded.
        let name = known.then(|| unsafe { CStr::from_ptr(name) }.to_str().ok()).flatten();
        Err(DriverError {
            call,
            code,
            name: name.unwrap_or("an error without a name"),
            arguments: arguments(),
        })
    }
}

// SAFETY: the driver's own promises about its memory: valid, aligned to 256 bytes, disjoint until it is freed; page-locked
// memory is the host's.
unsafe impl DriverApi for LibCuda {
    fn driver_version(&self) -> Result<CudaVersion, DriverError> {
        let mut version: c_int = 0;
        // SAFETY: writes one int.
        let code = unsafe { (self.symbols.driver_get_version)(&raw mut version) };
        self.check("cuDriverGetVersion", code, String::new)?;
        Ok(CudaVersion(version.unsigned_abs()))
    }

    fn device_count(&self) -> Result<u32, DriverError> {
        let mut count: c_int = 0;
        // SAFETY: writes one int.
        let code = unsafe { (self.symbols.device_get_count)(&raw mut count) };
        self.check("cuDeviceGetCount", code, String::new)?;
        Ok(count.unsigned_abs())
    }

    fn device_get(&self, ordinal: u32) -> Result<DeviceHandle, DriverError> {
        let mut device = 0;
        let arguments = || format!("ordinal {ordinal}");
        // SAFETY: writes one handle.
        let code = unsafe { (self.symbols.device_get)(&raw mut device, ordinal as c_int) };
        self.check("cuDeviceGet", code, arguments)?;
        Ok(DeviceHandle(device))
    }

    fn device_name(&self, device: DeviceHandle) -> Result<String, DriverError> {
        let mut name = [0u8; NAME_BYTES];
        // SAFETY: writes at most so many bytes, the last of them 0.
        let code = unsafe {
            (self.symbols.device_get_name)(name.as_mut_ptr().cast(), NAME_BYTES as c_int, device.0)
        };
        self.check("cuDeviceGetName", code, || device.to_string())?;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
        Ok(String::from_utf8_lossy(&name[..end]).into_owned())
    }

    fn device_total_mem(&self, device: DeviceHandle) -> Result<u64, DriverError> {
        let mut bytes = 0usize;
        // SAFETY: writes one size.
        let code = unsafe { (self.symbols.device_total_mem)(&raw mut bytes, device.0) };
        self.check("cuDeviceTotalMem", code, || device.to_string())?;
        Ok(bytes as u64)
    }

    fn device_attribute(&self, attribute: DeviceAttribute, device: DeviceHandle) -> Result<i32, DriverError> {
        let mut value: c_int = 0;
        // SAFETY: writes one int.
        let code =
            unsafe { (self.symbols.device_get_attribute)(&raw mut value, attribute as c_uint, device.0) };
        self.check("cuDeviceGetAttribute", code, || format!("{attribute:?}, {device}"))?;
        Ok(value)
    }

    fn primary_context_retain(&self, device: DeviceHandle) -> Result<ContextHandle, DriverError> {
        let mut context = std::ptr::null_mut();
        // SAFETY: writes one handle.
        let code = unsafe { (self.symbols.primary_context_retain)(&raw mut context, device.0) };
        self.check("cuDevicePrimaryCtxRetain", code, || device.to_string())?;
        Ok(ContextHandle(context.expose_provenance() as u64))
    }

    unsafe fn primary_context_release(&self, device: DeviceHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.primary_context_release)(device.0) };
        self.check("cuDevicePrimaryCtxRelease", code, || device.to_string())
    }

    unsafe fn context_set_current(&self, context: ContextHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise: a context of this driver.
        let code = unsafe { (self.symbols.context_set_current)(handle(context.0)) };
        self.check("cuCtxSetCurrent", code, String::new)
    }

    fn mem_alloc(&self, bytes: usize) -> Result<DevicePointer, DriverError> {
        let mut pointer = 0;
        // SAFETY: writes one address.
        let code = unsafe { (self.symbols.mem_alloc)(&raw mut pointer, bytes) };
        self.check("cuMemAlloc", code, || format!("{bytes} bytes"))?;
        Ok(DevicePointer(pointer))
    }

    unsafe fn mem_free(&self, pointer: DevicePointer) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.mem_free)(pointer.0) };
        self.check("cuMemFree", code, || pointer.to_string())
    }

    fn mem_alloc_host(&self, bytes: usize) -> Result<*mut u8, DriverError> {
        let mut address = std::ptr::null_mut();
        // SAFETY: writes one address.
        let code = unsafe { (self.symbols.mem_alloc_host)(&raw mut address, bytes) };
        self.check("cuMemAllocHost", code, || format!("{bytes} bytes"))?;
        Ok(address.cast())
    }

    unsafe fn mem_free_host(&self, address: *mut u8) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.mem_free_host)(address.cast()) };
        self.check("cuMemFreeHost", code, || format!("{address:p}"))
    }

    fn mem_pool_create(&self, ordinal: u32, release_threshold_bytes: u64) -> Result<PoolHandle, DriverError> {
        let arguments = || format!("device {ordinal}, release threshold {release_threshold_bytes} bytes");
        let properties = sys::CUmemPoolProps {
            allocType: CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED,
            handleTypes: CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_NONE,
            location: sys::CUmemLocation {
                type_: CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE,
                id: ordinal as c_int,
            },
            win32SecurityAttributes: std::ptr::null_mut(),
            // What later versions read here means "as before" where it is 0.
            reserved: [0; 64],
        };
        let mut pool = std::ptr::null_mut();
        // SAFETY: reads the properties, writes one handle.
        let code = unsafe { (self.symbols.mem_pool_create)(&raw mut pool, &raw const properties) };
        self.check("cuMemPoolCreate", code, arguments)?;
        let mut threshold = release_threshold_bytes;
        // SAFETY: the pool is this one; the attribute is 64 bits.
        let set = unsafe {
            (self.symbols.mem_pool_set_attribute)(pool, RELEASE_THRESHOLD, (&raw mut threshold).cast())
        };
        let created = PoolHandle(pool.expose_provenance() as u64);
        if let Err(error) = self.check("cuMemPoolSetAttribute", set, arguments) {
            // SAFETY: just created, and nothing of it is allocated. The first error is the one to tell.
            let _ = unsafe { self.mem_pool_destroy(created) };
            return Err(error);
        }
        Ok(created)
    }

    unsafe fn mem_pool_destroy(&self, pool: PoolHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.mem_pool_destroy)(handle(pool.0)) };
        self.check("cuMemPoolDestroy", code, String::new)
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
        self.check("cuMemAllocFromPoolAsync", code, || format!("{bytes} bytes, {stream}"))?;
        Ok(DevicePointer(pointer))
    }

    unsafe fn mem_free_async(&self, pointer: DevicePointer, stream: StreamHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.mem_free_async)(pointer.0, handle(stream.0)) };
        self.check("cuMemFreeAsync", code, || format!("{pointer}, {stream}"))
    }

    fn mem_get_info(&self) -> Result<(u64, u64), DriverError> {
        let (mut free, mut total) = (0usize, 0usize);
        // SAFETY: writes two sizes.
        let code = unsafe { (self.symbols.mem_get_info)(&raw mut free, &raw mut total) };
        self.check("cuMemGetInfo", code, String::new)?;
        Ok((free as u64, total as u64))
    }

    unsafe fn stream_synchronize(&self, stream: StreamHandle) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        let code = unsafe { (self.symbols.stream_synchronize)(handle(stream.0)) };
        self.check("cuStreamSynchronize", code, || stream.to_string())
    }
}

/// A handle as the driver's pointer type.
fn handle<T>(handle: u64) -> *mut T {
    std::ptr::with_exposed_provenance_mut(handle as usize)
}

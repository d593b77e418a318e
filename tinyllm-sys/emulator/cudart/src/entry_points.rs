//! Versions, functions of the driver by name, and the profiler's two calls.

use std::ffi::{c_char, c_int, c_void};

use crate::{
    driver::{driver, loaded},
    export::exports,
    outcome::{Answer, answer, place, put, put_if_wanted},
};

/// The version of the driver's interface where a call names none: the oldest that has all that this library calls.
const OLDEST: c_int = 12_000;

/// `CUDA_ERROR_NOT_FOUND`, and `CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND`.
const NOT_FOUND: u32 = 500;
const NO_SYMBOL: u32 = 1;

/// `cudaRuntimeGetVersion`, whose answer each library has for itself.
///
/// # Safety
/// `out` is null or can be written.
pub unsafe fn runtime_version(out: *mut c_int, version: c_int) -> u32 {
    // SAFETY: the caller's promise.
    answer("cudaRuntimeGetVersion", || unsafe { put(out, version) })
}

/// # Safety
/// The name is terminated; `status` is null or has room.
unsafe fn entry_point(
    name: *const c_char,
    address: *mut *mut c_void,
    version: c_int,
    flags: u64,
    status: *mut u32,
) -> Answer {
    let (address, name) = (place(address)?, place(name.cast_mut())?);
    let mut found = NO_SYMBOL;
    // SAFETY: the caller's promise.
    let done = unsafe { driver()?.get_proc_address(name, address, version, flags, &raw mut found) };
    // SAFETY: as above.
    unsafe { put_if_wanted(status, found) };
    match done {
        // The status says so, where the program asks for it.
        Err(error) if error.0 == NOT_FOUND && !status.is_null() => Ok(()),
        answer => answer,
    }
}

exports! {
    cudaDriverGetVersion(version: *mut c_int) {
        let version = place(version)?;
        match loaded() {
            // SAFETY: the caller gives room for one number.
            Ok(driver) => unsafe { driver.driver_get_version(version) },
            // Without a driver it is 0, and no error.
            // SAFETY: as above.
            Err(_) => unsafe { put(version, 0) },
        }
    }
    cudaGetDriverEntryPoint | cudaGetDriverEntryPoint_ptsz(
        name: *const c_char,
        address: *mut *mut c_void,
        flags: u64,
        status: *mut u32
    ) {
        // SAFETY: the caller gives a terminated name and room for what is written.
        unsafe { entry_point(name, address, OLDEST, flags, status) }
    }
    cudaGetDriverEntryPointByVersion | cudaGetDriverEntryPointByVersion_ptsz(
        name: *const c_char,
        address: *mut *mut c_void,
        version: u32,
        flags: u64,
        status: *mut u32
    ) {
        // SAFETY: as above.
        unsafe { entry_point(name, address, c_int::try_from(version).unwrap_or(OLDEST), flags, status) }
    }
    cudaProfilerStart() {
        // SAFETY: no arguments.
        unsafe { driver()?.profiler_start() }
    }
    cudaProfilerStop() {
        // SAFETY: as above.
        unsafe { driver()?.profiler_stop() }
    }
}

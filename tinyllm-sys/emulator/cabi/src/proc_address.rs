//! `cuGetProcAddress`: the calls of a name as a version of CUDA had it.

use std::ffi::{CStr, c_char, c_int, c_void};

use tinyllm_sys::DriverCode;

use crate::{
    contexts, copies, devices, driver, errors, events,
    export::exports,
    functions, graphs, host_functions, launches, libraries, links, mapped, memory, modules, pools, refused,
    result::{Refusal, put, put_if_wanted},
    streams,
};

/// `CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM`.
const PER_THREAD: u64 = 2;

/// Versions that introduced names with a suffix. Names that are not listed are older than any program of today.
const SINCE: &[(&str, c_int)] = &[
    ("cuMemHostRegister_v2", 6050),
    ("cuLinkCreate_v2", 6050),
    ("cuLinkAddData_v2", 6050),
    ("cuLinkAddFile_v2", 6050),
    ("cuStreamBeginCapture_v2", 10_010),
    ("cuDevicePrimaryCtxRelease_v2", 11_000),
    ("cuDevicePrimaryCtxReset_v2", 11_000),
    ("cuDevicePrimaryCtxSetFlags_v2", 11_000),
    ("cuGraphInstantiate_v2", 11_000),
    ("cuStreamGetCaptureInfo_v2", 11_030),
    ("cuCtxCreate_v3", 11_040),
    ("cuDeviceGetUuid_v2", 11_040),
    ("cuGetProcAddress_v2", 12_000),
    ("cuGraphExecUpdate_v2", 12_000),
    ("cuMemAdvise_v2", 12_020),
    ("cuMemPrefetchAsync_v2", 12_020),
    ("cuStreamGetCaptureInfo_v3", 12_030),
    ("cuCtxCreate_v4", 12_050),
    ("cuStreamGetCtx_v2", 12_050),
    ("cuEventElapsedTime_v2", 12_080),
    ("cuCtxGetDevice_v2", 13_000),
    ("cuCtxSynchronize_v2", 13_000),
];

/// How a search ended, as `CUdriverProcAddressQueryResult` numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Found {
    Yes = 0,
    No = 1,
    Newer = 2,
}

/// The call of exactly this name.
fn named(name: &str) -> Option<*const c_void> {
    let groups = [
        contexts::find,
        copies::find,
        devices::find,
        driver::find,
        errors::find,
        events::find,
        functions::find,
        graphs::find,
        host_functions::find,
        launches::find,
        libraries::find,
        links::find,
        mapped::find,
        memory::find,
        modules::find,
        pools::find,
        self::find,
        streams::find,
        refused::find,
    ];
    groups.iter().find_map(|find| find(name))
}

/// The address of the call of exactly this name, such as `cuMemAlloc_v2`, or null: for a process that this crate is linked into.
pub fn find_by_name(name: &CStr) -> *const c_void {
    name.to_str().ok().and_then(named).unwrap_or(std::ptr::null())
}

/// The newest call of a name that a version has.
fn search(name: &str, version: c_int, flags: u64) -> Result<*const c_void, Found> {
    // The header of CUDA 12 gives this name to another call.
    let name =
        if name == "cuGraphInstantiate" && version >= 12_000 { "cuGraphInstantiateWithFlags" } else { name };
    let mut refused = Found::No;
    for suffix in ["_v4", "_v3", "_v2", ""] {
        let candidate = format!("{name}{suffix}");
        let of_thread = ["_ptsz", "_ptds"].iter().filter(|_| flags & PER_THREAD != 0);
        let of_thread = of_thread.map(|ending| format!("{candidate}{ending}"));
        let Some(address) = of_thread.chain([candidate.clone()]).find_map(|name| named(&name)) else {
            continue;
        };
        if SINCE.iter().any(|(of, since)| *of == candidate && *since > version) {
            refused = Found::Newer;
            continue;
        }
        return Ok(address);
    }
    Err(refused)
}

/// # Safety
/// As the driver's call: a terminated name, room for what is written.
unsafe fn proc_address(
    symbol: *const c_char,
    address: *mut *const c_void,
    version: c_int,
    flags: u64,
    status: *mut u32,
) -> Result<(), Refusal> {
    if symbol.is_null() || address.is_null() {
        return Err(DriverCode::InvalidValue.into());
    }
    // SAFETY: the caller's promise.
    let name = unsafe { CStr::from_ptr(symbol) }.to_string_lossy();
    let found = search(&name, version, flags);
    // SAFETY: as above.
    unsafe {
        put(address, found.unwrap_or(std::ptr::null()))?;
        put_if_wanted(status, found.err().unwrap_or(Found::Yes) as u32);
    }
    found.map(drop).map_err(|_| DriverCode::NotFound.into())
}

exports! {
    cuGetProcAddress(symbol: *const c_char, address: *mut *const c_void, version: c_int, flags: u64) {
        // SAFETY: the caller's promise is the driver's.
        unsafe { proc_address(symbol, address, version, flags, std::ptr::null_mut()) }
    }
    cuGetProcAddress_v2(
        symbol: *const c_char,
        address: *mut *const c_void,
        version: c_int,
        flags: u64,
        status: *mut u32
    ) {
        // SAFETY: as above.
        unsafe { proc_address(symbol, address, version, flags, status) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What `cuda.h` and `cudaTypedefs.h` give to a program that asks for a version.
    #[test]
    fn names_are_those_that_a_version_had() {
        let given = |name, version, flags| search(name, version, flags).ok();
        assert_eq!(given("cuMemAlloc", 12_000, 0), named("cuMemAlloc_v2"));
        assert_eq!(given("cuStreamBeginCapture", 10_000, 0), named("cuStreamBeginCapture"));
        assert_eq!(given("cuStreamBeginCapture", 11_000, 0), named("cuStreamBeginCapture_v2"));
        assert_eq!(given("cuCtxCreate", 11_030, 0), named("cuCtxCreate_v2"));
        assert_eq!(given("cuCtxCreate", 12_000, 0), named("cuCtxCreate_v3"));
        assert_eq!(given("cuCtxSynchronize", 12_000, 0), named("cuCtxSynchronize"));
        assert_eq!(given("cuGraphInstantiate", 12_000, 0), named("cuGraphInstantiateWithFlags"));
        assert_eq!(given("cuLaunchKernel", 12_000, PER_THREAD), named("cuLaunchKernel_ptsz"));
        assert_eq!(given("cuMemcpyHtoD", 12_000, PER_THREAD), named("cuMemcpyHtoD_v2_ptds"));
        assert_eq!(search("cuNothing", 12_000, 0), Err(Found::No));
        assert!(named("cuInit").is_some());
    }
}

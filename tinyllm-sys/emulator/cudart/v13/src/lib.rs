//! `libcudart.so.13`: every call of `tinyllm_emulator_cudart`, and the one in which the versions differ.

#![cfg(target_os = "linux")]

use std::ffi::c_int;

/// What this library calls itself: the first of its major version.
const VERSION: c_int = 13_000;

// SAFETY: no other library of a process that has this one defines the runtime's calls.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
unsafe extern "C" fn cudaRuntimeGetVersion(version: *mut c_int) -> u32 {
    // SAFETY: the caller gives room for one number, or null.
    unsafe { tinyllm_emulator_cudart::runtime_version(version, VERSION) }
}

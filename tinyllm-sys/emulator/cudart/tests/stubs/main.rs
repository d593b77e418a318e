//! Programs as nvcc makes them: a fat binary around PTX of this repository, registered, launched and copied from by the calls that
//! nvcc's stubs make, on the emulated driver, which is linked in.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod calls;
mod fat_binary;
mod launches;
mod refusals;
mod streams;

use std::{
    ffi::{CString, c_int, c_void},
    sync::Once,
};

use calls::{
    __cudaRegisterFatBinary, __cudaRegisterFatBinaryEnd, __cudaRegisterFunction, __cudaRegisterVar,
    __cudaUnregisterFatBinary, cudaFree, cudaGetErrorName, cudaMalloc,
};
use fat_binary::{Compression, FatBinary};

/// A kernel and a variable of the repository's own PTX.
const PTX: &str = include_str!("../../../../../tinyllm-kernels/ptx/rms_norm.ptx");
const KERNEL: &str = "rms_norm_f16";
const VARIABLE: &str = "LARGEST_F16";

/// The driver is the emulated one of this process.
fn start() {
    static STARTED: Once = Once::new();
    // SAFETY: the functions of the emulated driver's interface, by their names.
    STARTED.call_once(|| unsafe { tinyllm_emulator_cudart::use_driver(tinyllm_emulator_cuda::find_by_name) });
}

/// The name of an error's number.
fn name(error: u32) -> String {
    // SAFETY: a terminated text that lives as long as the process.
    unsafe { std::ffi::CStr::from_ptr(cudaGetErrorName(error)) }.to_string_lossy().into_owned()
}

#[track_caller]
fn done(error: u32) {
    assert_eq!(name(error), "cudaSuccess");
}

/// A program with one fat binary, whose kernel and variable stand for bytes of its own.
struct Program {
    handle: *mut *mut c_void,
    /// Addresses that stand for the kernel and the variable.
    places: Box<[u8; 2]>,
    _binary: FatBinary,
}

impl Program {
    fn new(ptx: &str, compression: Compression) -> Self {
        Program::from_binary(FatBinary::of_ptx(ptx, compression))
    }

    fn from_binary(binary: FatBinary) -> Self {
        start();
        let places = Box::new([0; 2]);
        let (kernel, variable) = (CString::new(KERNEL).unwrap(), CString::new(VARIABLE).unwrap());
        // SAFETY: what nvcc's stub passes: a wrapper that outlives the registration, terminated names.
        unsafe {
            let null: *mut c_void = std::ptr::null_mut();
            let handle = __cudaRegisterFatBinary(binary.wrapper());
            let at = |index: usize| (&raw const places[index]).cast_mut().cast::<c_void>();
            __cudaRegisterFunction(
                handle,
                at(0),
                null.cast(),
                kernel.as_ptr(),
                -1,
                null,
                null,
                null,
                null,
                null.cast(),
            );
            __cudaRegisterVar(handle, at(1), null.cast(), variable.as_ptr(), 0, 4, 0, 0);
            __cudaRegisterFatBinaryEnd(handle);
            Program { handle, places, _binary: binary }
        }
    }

    fn kernel(&self) -> *const c_void {
        (&raw const self.places[0]).cast()
    }

    fn variable(&self) -> *const c_void {
        (&raw const self.places[1]).cast()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: registered once, and not used any more.
        unsafe { __cudaUnregisterFatBinary(self.handle) };
    }
}

/// Memory of the device.
struct Memory(*mut c_void);

impl Memory {
    fn new(bytes: usize) -> Self {
        start();
        let mut address = std::ptr::null_mut();
        // SAFETY: room for one address.
        done(unsafe { cudaMalloc(&raw mut address, bytes) });
        Memory(address)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated once, and not used any more.
        done(unsafe { cudaFree(self.0) });
    }
}

/// `cudaMemcpyKind`.
const TO_DEVICE: c_int = 1;
const TO_HOST: c_int = 2;
const ANY: c_int = 4;

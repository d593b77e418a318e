//! Declarations of what a program calls, as the runtime's headers have them.

#![allow(non_snake_case)] // the runtime's names

use std::ffi::{c_char, c_int, c_void};

// The library's exports come with the crate.
use tinyllm_emulator_cudart as _;

/// `dim3`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dim3(pub(crate) u32, pub(crate) u32, pub(crate) u32);

/// `cudaLaunchConfig_t`.
#[repr(C)]
pub(crate) struct Config {
    pub(crate) grid: Dim3,
    pub(crate) block: Dim3,
    pub(crate) shared_bytes: usize,
    pub(crate) stream: *mut c_void,
    pub(crate) attributes: *const c_void,
    pub(crate) attribute_count: u32,
}

unsafe extern "C" {
    pub(crate) fn __cudaRegisterFatBinary(wrapper: *const c_void) -> *mut *mut c_void;
    pub(crate) fn __cudaRegisterFatBinaryEnd(handle: *mut *mut c_void);
    pub(crate) fn __cudaUnregisterFatBinary(handle: *mut *mut c_void);
    pub(crate) fn __cudaInitModule(handle: *mut *mut c_void) -> c_char;
    pub(crate) fn __cudaRegisterFunction(
        handle: *mut *mut c_void,
        host: *const c_void,
        device: *mut c_char,
        name: *const c_char,
        thread_limit: c_int,
        thread: *mut c_void,
        block: *mut c_void,
        block_size: *mut c_void,
        grid_size: *mut c_void,
        warp_size: *mut c_int,
    );
    pub(crate) fn __cudaRegisterVar(
        handle: *mut *mut c_void,
        host: *mut c_void,
        device: *mut c_char,
        name: *const c_char,
        external: c_int,
        bytes: usize,
        constant: c_int,
        global: c_int,
    );
    pub(crate) fn __cudaPushCallConfiguration(
        grid: Dim3,
        block: Dim3,
        shared: usize,
        stream: *mut c_void,
    ) -> u32;
    pub(crate) fn __cudaPopCallConfiguration(
        grid: *mut Dim3,
        block: *mut Dim3,
        shared: *mut usize,
        stream: *mut *mut c_void,
    ) -> u32;
    pub(crate) fn __cudaGetKernel(kernel: *mut *const c_void, host: *const c_void) -> u32;
    pub(crate) fn __cudaLaunchKernel(
        kernel: *const c_void,
        grid: Dim3,
        block: Dim3,
        arguments: *mut *mut c_void,
        shared: usize,
        stream: *mut c_void,
    ) -> u32;
    pub(crate) fn cudaLaunchKernel(
        host: *const c_void,
        grid: Dim3,
        block: Dim3,
        arguments: *mut *mut c_void,
        shared: usize,
        stream: *mut c_void,
    ) -> u32;
    pub(crate) fn cudaLaunchKernelExC(
        config: *const Config,
        host: *const c_void,
        arguments: *mut *mut c_void,
    ) -> u32;
    pub(crate) fn cudaMalloc(address: *mut *mut c_void, bytes: usize) -> u32;
    pub(crate) fn cudaMallocManaged(address: *mut *mut c_void, bytes: usize, flags: u32) -> u32;
    pub(crate) fn cudaFree(address: *mut c_void) -> u32;
    pub(crate) fn cudaMallocHost(address: *mut *mut c_void, bytes: usize) -> u32;
    pub(crate) fn cudaFreeHost(address: *mut c_void) -> u32;
    pub(crate) fn cudaMallocAsync(address: *mut *mut c_void, bytes: usize, stream: *mut c_void) -> u32;
    pub(crate) fn cudaFreeAsync(address: *mut c_void, stream: *mut c_void) -> u32;
    pub(crate) fn cudaMemcpy(dst: *mut c_void, src: *const c_void, bytes: usize, kind: c_int) -> u32;
    pub(crate) fn cudaMemcpy2D(
        dst: *mut c_void,
        dst_pitch: usize,
        src: *const c_void,
        src_pitch: usize,
        width: usize,
        height: usize,
        kind: c_int,
    ) -> u32;
    pub(crate) fn cudaMemcpyAsync(
        dst: *mut c_void,
        src: *const c_void,
        bytes: usize,
        kind: c_int,
        stream: *mut c_void,
    ) -> u32;
    pub(crate) fn cudaMemset(dst: *mut c_void, value: c_int, bytes: usize) -> u32;
    pub(crate) fn cudaMemsetAsync(dst: *mut c_void, value: c_int, bytes: usize, stream: *mut c_void) -> u32;
    pub(crate) fn cudaMemcpyToSymbol(
        symbol: *const c_void,
        src: *const c_void,
        bytes: usize,
        offset: usize,
        kind: c_int,
    ) -> u32;
    pub(crate) fn cudaMemcpyFromSymbol(
        dst: *mut c_void,
        symbol: *const c_void,
        bytes: usize,
        offset: usize,
        kind: c_int,
    ) -> u32;
    pub(crate) fn cudaGetSymbolSize(bytes: *mut usize, symbol: *const c_void) -> u32;
    pub(crate) fn cudaStreamCreate(stream: *mut *mut c_void) -> u32;
    pub(crate) fn cudaStreamDestroy(stream: *mut c_void) -> u32;
    pub(crate) fn cudaStreamSynchronize(stream: *mut c_void) -> u32;
    pub(crate) fn cudaStreamWaitEvent(stream: *mut c_void, event: *mut c_void, flags: u32) -> u32;
    pub(crate) fn cudaStreamBeginCapture(stream: *mut c_void, mode: u32) -> u32;
    pub(crate) fn cudaStreamEndCapture(stream: *mut c_void, graph: *mut *mut c_void) -> u32;
    pub(crate) fn cudaGraphInstantiate(exec: *mut *mut c_void, graph: *mut c_void, flags: u64) -> u32;
    pub(crate) fn cudaGraphLaunch(exec: *mut c_void, stream: *mut c_void) -> u32;
    pub(crate) fn cudaGraphExecDestroy(exec: *mut c_void) -> u32;
    pub(crate) fn cudaGraphDestroy(graph: *mut c_void) -> u32;
    pub(crate) fn cudaEventCreate(event: *mut *mut c_void) -> u32;
    pub(crate) fn cudaEventRecord(event: *mut c_void, stream: *mut c_void) -> u32;
    pub(crate) fn cudaEventElapsedTime(milliseconds: *mut f32, start: *mut c_void, end: *mut c_void) -> u32;
    pub(crate) fn cudaEventDestroy(event: *mut c_void) -> u32;
    pub(crate) fn cudaFuncGetAttributes(out: *mut [u8; 144], host: *const c_void) -> u32;
    pub(crate) fn cudaGetDeviceProperties(out: *mut [u8; 1008], device: c_int) -> u32;
    pub(crate) fn cudaGetDeviceProperties_v2(out: *mut [u8; 1032], device: c_int) -> u32;
    pub(crate) fn cudaSetDevice(device: c_int) -> u32;
    pub(crate) fn cudaGetErrorName(error: u32) -> *const c_char;
    pub(crate) fn cudaGetLastError() -> u32;
}

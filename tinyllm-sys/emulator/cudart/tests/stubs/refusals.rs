//! What a program does wrong, and what it asks for that is not there.

use std::ffi::c_void;

use crate::{
    Memory, PTX, Program, TO_DEVICE, TO_HOST,
    calls::{
        __cudaPopCallConfiguration, __cudaUnregisterFatBinary, Dim3, cudaFree, cudaGetDeviceProperties,
        cudaGetDeviceProperties_v2, cudaGetLastError, cudaLaunchKernel, cudaMallocManaged, cudaMemcpy,
        cudaMemcpy2D, cudaMemcpyFromSymbol, cudaMemcpyToSymbol, cudaSetDevice,
    },
    done,
    fat_binary::{Compression, FatBinary},
    name, start,
};

const ONE: Dim3 = Dim3(1, 1, 1);

fn launch(host: *const c_void, grid: Dim3, block: Dim3, shared_bytes: usize) -> String {
    let mut arguments = [std::ptr::null_mut::<c_void>(); 6];
    let null: *mut c_void = std::ptr::null_mut();
    // SAFETY: refused before an argument is looked at, or for the first, which is null.
    name(unsafe { cudaLaunchKernel(host, grid, block, arguments.as_mut_ptr(), shared_bytes, null) })
}

#[test]
fn a_launch_is_refused_for_what_is_wrong_with_it() {
    let program = Program::new(PTX, Compression::None);
    let stranger = 0u8;
    assert_eq!(launch((&raw const stranger).cast(), ONE, ONE, 0), "cudaErrorInvalidDeviceFunction");
    assert_eq!(launch(program.kernel(), ONE, ONE, 0), "cudaErrorInvalidValue");
    assert_eq!(launch(program.kernel(), ONE, ONE, usize::MAX), "cudaErrorInvalidValue");
    // More threads than its launch bounds, and no block at all.
    assert_eq!(launch(program.kernel(), ONE, Dim3(2048, 1, 1), 0), "cudaErrorInvalidConfiguration");
    assert_eq!(launch(program.kernel(), Dim3(0, 1, 1), ONE, 0), "cudaErrorInvalidConfiguration");
    // SAFETY: no place is written to.
    let popped = unsafe {
        let null: *mut c_void = std::ptr::null_mut();
        __cudaPopCallConfiguration(null.cast(), null.cast(), null.cast(), null.cast())
    };
    assert_eq!(name(popped), "cudaErrorMissingConfiguration");
}

#[test]
fn machine_code_alone_has_nothing_to_run() {
    let program = Program::from_binary(FatBinary::of_machine_code());
    assert_eq!(launch(program.kernel(), ONE, ONE, 0), "cudaErrorNoKernelImageForDevice");
    assert_eq!(launch(program.kernel(), ONE, ONE, 0), "cudaErrorNoKernelImageForDevice");
}

#[test]
fn a_program_that_was_unloaded_is_a_stranger() {
    let program = Program::new(PTX, Compression::Zstd);
    // SAFETY: registered; doing it twice, as the program's end does here, is nothing.
    unsafe { __cudaUnregisterFatBinary(program.handle) };
    assert_eq!(launch(program.kernel(), ONE, ONE, 0), "cudaErrorInvalidDeviceFunction");
}

#[test]
fn copies_check_both_sides() {
    let (memory, mut host) = (Memory::new(8), [0u8; 8]);
    let (here, null) = (host.as_mut_ptr().cast::<c_void>(), std::ptr::null_mut());
    // SAFETY: each of them is refused, or copies what is there.
    let refused = |dst, src: *mut c_void, kind| name(unsafe { cudaMemcpy(dst, src, 8, kind) });
    assert_eq!(refused(memory.0, memory.0, TO_DEVICE), "cudaErrorInvalidValue");
    assert_eq!(refused(memory.0, memory.0, TO_HOST), "cudaErrorInvalidValue");
    assert_eq!(refused(memory.0, null, TO_DEVICE), "cudaErrorInvalidValue");
    assert_eq!(refused(null, memory.0, TO_HOST), "cudaErrorInvalidValue");
    assert_eq!(refused(memory.0, here, 9), "cudaErrorInvalidMemcpyDirection");
    // SAFETY: as above.
    unsafe {
        assert_eq!(name(cudaMemcpy2D(memory.0, 2, here, 4, 4, 2, TO_DEVICE)), "cudaErrorInvalidPitchValue");
        // A call that succeeds leaves the last error, asking for it clears it.
        done(cudaFree(null));
        assert_eq!(name(cudaGetLastError()), "cudaErrorInvalidPitchValue");
        done(cudaGetLastError());
    }
}

#[test]
fn variables_are_checked_against_their_size() {
    let program = Program::new(PTX, Compression::None);
    let mut value = [0u8; 8];
    let here = value.as_mut_ptr().cast::<c_void>();
    // SAFETY: each of them is refused.
    unsafe {
        assert_eq!(name(cudaMemcpyToSymbol(here, here, 4, 0, TO_DEVICE)), "cudaErrorInvalidSymbol");
        let too_far = cudaMemcpyFromSymbol(here, program.variable(), 4, 1, TO_HOST);
        assert_eq!(name(too_far), "cudaErrorInvalidValue");
        let wrapped = cudaMemcpyFromSymbol(here, program.variable(), 4, usize::MAX, TO_HOST);
        assert_eq!(name(wrapped), "cudaErrorInvalidValue");
        let backwards = cudaMemcpyToSymbol(program.variable(), here, 4, 0, TO_HOST);
        assert_eq!(name(backwards), "cudaErrorInvalidMemcpyDirection");
    }
}

#[test]
fn a_driver_without_managed_memory_says_so() {
    start();
    let mut address = std::ptr::null_mut();
    // SAFETY: room for one address.
    assert_eq!(name(unsafe { cudaMallocManaged(&raw mut address, 4, 1) }), "cudaErrorNotSupported");
}

#[test]
fn properties_are_in_the_layout_of_the_version_that_asks() {
    start();
    let (mut in_12, mut in_13) = ([0xaau8; 1032], [0xaau8; 1008]);
    // SAFETY: room for the structures.
    unsafe {
        done(cudaGetDeviceProperties_v2(&raw mut in_12, 0));
        done(cudaGetDeviceProperties(&raw mut in_13, 0));
        assert_eq!(name(cudaGetDeviceProperties(&raw mut in_13, 7)), "cudaErrorInvalidDevice");
        assert_eq!(name(cudaGetDeviceProperties(std::ptr::null_mut(), 0)), "cudaErrorInvalidValue");
        assert_eq!(name(cudaSetDevice(-1)), "cudaErrorInvalidDevice");
    }
    assert!(in_12.starts_with(b"Tiny-LLM emulated GPU") && in_13.starts_with(b"Tiny-LLM emulated GPU"));
    // The compute capability, then the multiprocessors, which CUDA 13 has 4 bytes earlier.
    assert_eq!(in_12[360..368], [8, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(in_13[360..368], in_12[360..368]);
    assert_eq!(in_13[384..388], in_12[388..392]);
    assert_eq!(in_12[388..392], 108i32.to_ne_bytes());
}

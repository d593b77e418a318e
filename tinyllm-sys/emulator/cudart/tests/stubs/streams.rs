//! Streams, events and captures.

use std::ffi::c_void;

use crate::{
    ANY, Memory,
    calls::{
        cudaEventCreate, cudaEventDestroy, cudaEventElapsedTime, cudaEventRecord, cudaFreeAsync,
        cudaFreeHost, cudaGraphDestroy, cudaGraphExecDestroy, cudaGraphInstantiate, cudaGraphLaunch,
        cudaMallocAsync, cudaMallocHost, cudaMemcpyAsync, cudaMemsetAsync, cudaStreamBeginCapture,
        cudaStreamCreate, cudaStreamDestroy, cudaStreamEndCapture, cudaStreamSynchronize,
        cudaStreamWaitEvent,
    },
    done, start,
};

const BYTES: usize = 100;

fn made(create: unsafe extern "C" fn(*mut *mut c_void) -> u32) -> *mut c_void {
    start();
    let mut handle = std::ptr::null_mut();
    // SAFETY: room for one handle.
    done(unsafe { create(&raw mut handle) });
    handle
}

#[test]
fn an_event_orders_two_streams() {
    let (first, second) = (made(cudaStreamCreate), made(cudaStreamCreate));
    let (begin, end) = (made(cudaEventCreate), made(cudaEventCreate));
    let memory = Memory::new(BYTES);
    let (mut host, mut milliseconds) = (std::ptr::null_mut(), -1f32);
    // SAFETY: handles just made, and so many bytes on every side.
    unsafe {
        done(cudaMallocHost(&raw mut host, BYTES));
        done(cudaEventRecord(begin, first));
        done(cudaMemsetAsync(memory.0, 5, BYTES, first));
        done(cudaEventRecord(end, first));
        done(cudaStreamWaitEvent(second, end, 0));
        done(cudaMemcpyAsync(host, memory.0, BYTES, ANY, second));
        done(cudaStreamSynchronize(second));
        assert_eq!(std::slice::from_raw_parts(host.cast::<u8>(), BYTES), [5; BYTES]);
        done(cudaEventElapsedTime(&raw mut milliseconds, begin, end));
        assert!(milliseconds >= 0.0);
        done(cudaFreeHost(host));
        done(cudaEventDestroy(begin));
        done(cudaEventDestroy(end));
        done(cudaStreamDestroy(first));
        done(cudaStreamDestroy(second));
    }
}

#[test]
fn a_captured_graph_runs_as_often_as_it_is_launched() {
    let stream = made(cudaStreamCreate);
    let memory = Memory::new(BYTES);
    let (mut graph, mut exec, mut out) = (std::ptr::null_mut(), std::ptr::null_mut(), [0u8; BYTES]);
    // SAFETY: as above.
    unsafe {
        // Relaxed: other tests allocate meanwhile, which spoils a capture of the global mode.
        done(cudaStreamBeginCapture(stream, 2));
        done(cudaMemsetAsync(memory.0, 7, BYTES, stream));
        done(cudaStreamEndCapture(stream, &raw mut graph));
        done(cudaGraphInstantiate(&raw mut exec, graph, 0));
        for before in [1, 2] {
            done(cudaMemsetAsync(memory.0, before, BYTES, stream));
            done(cudaGraphLaunch(exec, stream));
            done(cudaMemcpyAsync(out.as_mut_ptr().cast(), memory.0, BYTES, 2, stream));
            done(cudaStreamSynchronize(stream));
            assert_eq!(out, [7; BYTES]);
        }
        done(cudaGraphExecDestroy(exec));
        done(cudaGraphDestroy(graph));
        done(cudaStreamDestroy(stream));
    }
}

#[test]
fn memory_comes_and_goes_in_the_order_of_a_stream() {
    let stream = made(cudaStreamCreate);
    let mut address = std::ptr::null_mut();
    // SAFETY: as above.
    unsafe {
        done(cudaMallocAsync(&raw mut address, BYTES, stream));
        done(cudaMemsetAsync(address, 1, BYTES, stream));
        done(cudaFreeAsync(address, stream));
        done(cudaStreamSynchronize(stream));
        done(cudaStreamDestroy(stream));
    }
}

//! Captures of streams, and graphs made from them.

use std::ffi::c_void;

use crate::{contexts::on_device, driver::driver, export::exports, outcome::place, streams::Stream};

exports! {
    cudaStreamBeginCapture; stream => cudaStreamBeginCapture_ptsz (stream: Stream, mode: u32) {
        // SAFETY: what is no stream the driver refuses.
        unsafe { on_device()?.stream_begin_capture(stream, mode) }
    }
    cudaStreamEndCapture; stream => cudaStreamEndCapture_ptsz (stream: Stream, graph: *mut u64) {
        // SAFETY: as above, and room for one handle.
        unsafe { on_device()?.stream_end_capture(stream, place(graph)?) }
    }
    cudaStreamIsCapturing; stream => cudaStreamIsCapturing_ptsz (stream: Stream, status: *mut u32) {
        // SAFETY: as above, for one number.
        unsafe { on_device()?.stream_is_capturing(stream, place(status)?) }
    }
    cudaStreamGetCaptureInfo_v2; stream => cudaStreamGetCaptureInfo_v2_ptsz (
        stream: Stream,
        status: *mut u32,
        id: *mut u64,
        graph: *mut u64,
        nodes: *mut u64,
        count: *mut usize
    ) {
        // SAFETY: as above; the caller gives room for what it wants.
        unsafe { on_device()?.stream_get_capture_info_v2(stream, place(status)?, id, graph, nodes, count) }
    }
    // In CUDA 13 the plain name is that call; programs of CUDA 12 never call by the plain name.
    cudaStreamGetCaptureInfo | cudaStreamGetCaptureInfo_v3; stream => cudaStreamGetCaptureInfo_ptsz (
        stream: Stream,
        status: *mut u32,
        id: *mut u64,
        graph: *mut u64,
        nodes: *mut u64,
        edges: *mut u64,
        count: *mut usize
    ) {
        // SAFETY: as above.
        unsafe { on_device()?.stream_get_capture_info_v3(stream, place(status)?, id, graph, nodes, edges, count) }
    }
    cudaGraphInstantiate | cudaGraphInstantiateWithFlags(exec: *mut u64, graph: u64, flags: u64) {
        // SAFETY: what is no graph the driver refuses; room for one handle.
        unsafe { on_device()?.graph_instantiate(place(exec)?, graph, flags) }
    }
    cudaGraphExecUpdate(exec: u64, graph: u64, result: *mut c_void) {
        // SAFETY: as above; the result has the driver's layout, and null is none.
        unsafe { driver()?.graph_exec_update(exec, graph, result) }
    }
    cudaGraphExecDestroy(exec: u64) {
        // SAFETY: what is no graph the driver refuses.
        unsafe { driver()?.graph_exec_destroy(exec) }
    }
    cudaGraphDestroy(graph: u64) {
        // SAFETY: as above.
        unsafe { driver()?.graph_destroy(graph) }
    }
    cudaGraphLaunch; stream => cudaGraphLaunch_ptsz (exec: u64, stream: Stream) {
        // SAFETY: as above, and what is no stream.
        unsafe { on_device()?.graph_launch(exec, stream) }
    }
    cudaGraphUpload; stream => cudaGraphUpload_ptsz (exec: u64, stream: Stream) {
        // SAFETY: as above.
        unsafe { on_device()?.graph_upload(exec, stream) }
    }
}

//! Captures, and graphs made from them. Graphs that are built node by node are not supported.

use tinyllm_sys::{
    CaptureMode, CaptureStatus, DriverApi, DriverCode, GraphExecHandle, GraphHandle, StreamHandle,
};

use crate::{
    contexts::on_context,
    driver::driver,
    export::exports,
    result::{Answer, Refusal, put, put_if_wanted},
    streams::Stream,
    structs::{InstantiateParams, UpdateResult},
};

/// `CUgraphInstantiate_flags` that change nothing here: memory nodes cannot be captured, an upload is for speed, priorities are
/// accepted.
const HARMLESS: u64 = 1 | 2 | 8;
/// `CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH`, which stands alone or with the upload.
const DEVICE_LAUNCH: u64 = 4;
const WITH_DEVICE_LAUNCH: u64 = DEVICE_LAUNCH | 2;

/// `CU_GRAPH_EXEC_UPDATE_ERROR`.
const UPDATE_ERROR: u32 = 1;

fn begin(stream: Stream, mode: u32) -> Answer {
    let mode = match mode {
        0 => CaptureMode::Global,
        1 => CaptureMode::ThreadLocal,
        2 => CaptureMode::Relaxed,
        _ => return Err(DriverCode::InvalidValue.into()),
    };
    // SAFETY: what is no stream is refused.
    Ok(unsafe { on_context()?.stream_begin_capture(StreamHandle(stream), mode) }?)
}

fn status(stream: Stream) -> Result<CaptureStatus, Refusal> {
    // SAFETY: what is no stream is refused.
    Ok(unsafe { on_context()?.stream_capture_status(StreamHandle(stream)) }?)
}

fn instantiate(graph: u64, flags: u64) -> Result<u64, Refusal> {
    let on_device = flags & DEVICE_LAUNCH != 0;
    if flags & !(HARMLESS | DEVICE_LAUNCH) != 0 || (on_device && flags & !WITH_DEVICE_LAUNCH != 0) {
        return Err(DriverCode::InvalidValue.into());
    }
    if on_device {
        return Err(DriverCode::NotSupported.into());
    }
    // SAFETY: what is no graph is refused.
    Ok(unsafe { driver()?.graph_instantiate(GraphHandle(graph)) }?.0)
}

fn update(exec: u64, graph: u64) -> Result<bool, Refusal> {
    // SAFETY: what is no graph is refused.
    Ok(unsafe { driver()?.graph_exec_update(GraphExecHandle(exec), GraphHandle(graph)) }?)
}

/// Status and number of a capture; its graph and its nodes cannot be had.
///
/// # Safety
/// Every place is null or has room.
unsafe fn capture_info(stream: Stream, out: *mut u32, id: *mut u64, wanted: [*mut u64; 3]) -> Answer {
    let found = status(stream)?;
    if found == CaptureStatus::Active && wanted.iter().any(|place| !place.is_null()) {
        return Err(DriverCode::NotSupported.into());
    }
    // SAFETY: the caller's promise.
    unsafe {
        put(out, found as u32)?;
        if found == CaptureStatus::Active {
            put_if_wanted(id, stream);
        }
    }
    Ok(())
}

exports! {
    cuStreamBeginCapture; stream => cuStreamBeginCapture_ptsz (stream: Stream) {
        begin(stream, CaptureMode::Global as u32)
    }
    cuStreamBeginCapture_v2; stream => cuStreamBeginCapture_v2_ptsz (stream: Stream, mode: u32) {
        begin(stream, mode)
    }
    cuStreamEndCapture; stream => cuStreamEndCapture_ptsz (stream: Stream, graph: *mut u64) {
        // SAFETY: what is no stream is refused.
        match unsafe { on_context()?.stream_end_capture(StreamHandle(stream)) } {
            // SAFETY: the caller gives room for one handle.
            Ok(captured) => unsafe { put(graph, captured.0) },
            Err(error) => {
                // SAFETY: as above: null for a capture that was spoiled.
                unsafe { put_if_wanted(graph, 0) };
                Err(error.into())
            }
        }
    }
    cuStreamIsCapturing; stream => cuStreamIsCapturing_ptsz (stream: Stream, out: *mut u32) {
        let found = status(stream)?;
        // SAFETY: the caller gives room for one number.
        unsafe { put(out, found as u32) }
    }
    cuStreamGetCaptureInfo; stream => cuStreamGetCaptureInfo_ptsz (stream: Stream, out: *mut u32, id: *mut u64) {
        // SAFETY: as above.
        unsafe { capture_info(stream, out, id, [std::ptr::null_mut(); 3]) }
    }
    cuStreamGetCaptureInfo_v2; stream => cuStreamGetCaptureInfo_v2_ptsz (
        stream: Stream,
        out: *mut u32,
        id: *mut u64,
        graph: *mut u64,
        nodes: *mut u64,
        count: *mut u64
    ) {
        // SAFETY: as above.
        unsafe { capture_info(stream, out, id, [graph, nodes, count]) }
    }
    cuStreamGetCaptureInfo_v3; stream => cuStreamGetCaptureInfo_v3_ptsz (
        stream: Stream,
        out: *mut u32,
        id: *mut u64,
        graph: *mut u64,
        nodes: *mut u64,
        _edges: *mut u64,
        count: *mut u64
    ) {
        // SAFETY: as above.
        unsafe { capture_info(stream, out, id, [graph, nodes, count]) }
    }
    cuGraphDestroy(graph: u64) {
        // SAFETY: what is no graph is refused.
        Ok(unsafe { driver()?.graph_destroy(GraphHandle(graph)) }?)
    }
    cuGraphInstantiateWithFlags(exec: *mut u64, graph: u64, flags: u64) {
        let made = instantiate(graph, flags)?;
        // SAFETY: the caller gives room for one handle.
        unsafe { put(exec, made) }
    }
    cuGraphInstantiate | cuGraphInstantiate_v2(
        exec: *mut u64,
        graph: u64,
        node: *mut u64,
        _log: *mut u8,
        _log_bytes: usize
    ) {
        let made = instantiate(graph, 0)?;
        // SAFETY: as above.
        unsafe {
            put_if_wanted(node, 0);
            put(exec, made)
        }
    }
    cuGraphInstantiateWithParams | cuGraphInstantiateWithParams_ptsz(
        exec: *mut u64,
        graph: u64,
        params: *mut InstantiateParams
    ) {
        if params.is_null() {
            return Err(DriverCode::InvalidValue.into());
        }
        // SAFETY: the caller gives one description.
        let given = unsafe { params.read() };
        let made = instantiate(graph, given.flags)?;
        // SAFETY: as above, and room for one handle.
        unsafe {
            params.write(InstantiateParams { error_node: 0, result: 0, ..given });
            put(exec, made)
        }
    }
    cuGraphExecUpdate(exec: u64, graph: u64, node: *mut u64, result: *mut u32) {
        let done = update(exec, graph)?;
        // SAFETY: the caller gives room for what it wants.
        unsafe {
            put_if_wanted(node, 0);
            put_if_wanted(result, if done { 0 } else { UPDATE_ERROR });
        }
        if done { Ok(()) } else { Err(DriverCode::GraphExecUpdateFailure.into()) }
    }
    cuGraphExecUpdate_v2(exec: u64, graph: u64, result: *mut UpdateResult) {
        let done = update(exec, graph)?;
        let code = if done { 0 } else { UPDATE_ERROR };
        // SAFETY: as above.
        unsafe { put_if_wanted(result, UpdateResult { result: code, error_node: 0, error_from_node: 0 }) };
        if done { Ok(()) } else { Err(DriverCode::GraphExecUpdateFailure.into()) }
    }
    cuGraphExecDestroy(exec: u64) {
        // SAFETY: what is no graph is refused.
        Ok(unsafe { driver()?.graph_exec_destroy(GraphExecHandle(exec)) }?)
    }
    cuGraphLaunch; stream => cuGraphLaunch_ptsz (exec: u64, stream: Stream) {
        // SAFETY: what is no graph or stream is refused.
        Ok(unsafe { on_context()?.graph_launch(GraphExecHandle(exec), StreamHandle(stream)) }?)
    }
    cuGraphUpload; stream => cuGraphUpload_ptsz (_exec: u64, stream: Stream) {
        // For speed alone.
        status(stream).map(drop)
    }
}

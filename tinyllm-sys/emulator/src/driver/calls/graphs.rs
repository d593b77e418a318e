//! Captures and graphs.

use std::thread::{self, ThreadId};

use tinyllm_sys::{
    CaptureMode, CaptureStatus, DriverCode, DriverError, GraphExecHandle, GraphHandle, StreamHandle,
};

use crate::driver::{emulator::Emulator, failure::Failure, state::State};

impl Emulator {
    pub(in crate::driver) unsafe fn stream_begin_capture(
        &self,
        stream: StreamHandle,
        mode: CaptureMode,
    ) -> Result<(), DriverError> {
        let thread = thread::current().id();
        self.on_stream(
            "cuStreamBeginCapture",
            stream,
            || format!("{stream}, {mode:?}"),
            |state, key| begin(state, key, mode, thread),
        )
    }

    pub(in crate::driver) unsafe fn stream_end_capture(
        &self,
        stream: StreamHandle,
    ) -> Result<GraphHandle, DriverError> {
        let thread = thread::current().id();
        self.on_stream(
            "cuStreamEndCapture",
            stream,
            || stream.to_string(),
            |state, key| end(state, key, thread).map(GraphHandle),
        )
    }

    pub(in crate::driver) unsafe fn stream_capture_status(
        &self,
        stream: StreamHandle,
    ) -> Result<CaptureStatus, DriverError> {
        self.on_stream(
            "cuStreamIsCapturing",
            stream,
            || stream.to_string(),
            |state, key| {
                let capture = state.streams.get(key)?.capture;
                Ok(capture.map_or(CaptureStatus::None, |id| state.captures.status(id)))
            },
        )
    }

    pub(in crate::driver) unsafe fn graph_destroy(&self, graph: GraphHandle) -> Result<(), DriverError> {
        self.call(
            "cuGraphDestroy",
            || graph.to_string(),
            |state| state.graphs.remove(&graph.0).map(|_| ()).ok_or(DriverCode::InvalidHandle.into()),
        )
    }

    pub(in crate::driver) unsafe fn graph_instantiate(
        &self,
        graph: GraphHandle,
    ) -> Result<GraphExecHandle, DriverError> {
        self.call(
            "cuGraphInstantiate",
            || graph.to_string(),
            |state| {
                let graph = state.graphs.get(&graph.0).ok_or(DriverCode::InvalidHandle)?;
                let exec = graph.instantiate(&mut state.handles);
                let handle = state.handles.next();
                state.execs.insert(handle, exec);
                Ok(GraphExecHandle(handle))
            },
        )
    }

    pub(in crate::driver) unsafe fn graph_exec_update(
        &self,
        exec: GraphExecHandle,
        graph: GraphHandle,
    ) -> Result<bool, DriverError> {
        self.call(
            "cuGraphExecUpdate",
            || format!("{exec}, {graph}"),
            |state| {
                let graph = state.graphs.get(&graph.0).ok_or(DriverCode::InvalidHandle)?;
                let exec = state.execs.get_mut(&exec.0).ok_or(DriverCode::InvalidHandle)?;
                Ok(exec.update(graph))
            },
        )
    }

    pub(in crate::driver) unsafe fn graph_exec_destroy(
        &self,
        exec: GraphExecHandle,
    ) -> Result<(), DriverError> {
        self.call(
            "cuGraphExecDestroy",
            || exec.to_string(),
            |state| state.execs.remove(&exec.0).map(|_| ()).ok_or(DriverCode::InvalidHandle.into()),
        )
    }

    pub(in crate::driver) unsafe fn graph_launch(
        &self,
        exec: GraphExecHandle,
        stream: StreamHandle,
    ) -> Result<(), DriverError> {
        self.on_stream(
            "cuGraphLaunch",
            stream,
            || format!("{exec}, {stream}"),
            |state, key| launch(state, exec.0, key),
        )
    }
}

/// Begins a capture with a stream.
fn begin(state: &mut State, key: u64, mode: CaptureMode, thread: ThreadId) -> Result<(), Failure> {
    if state.streams.is_default(key) {
        return Err(DriverCode::StreamCaptureUnsupported.into());
    }
    let stream = state.streams.get_mut(key)?;
    if stream.capture.is_some() {
        return Err(DriverCode::IllegalState.into());
    }
    let id = state.handles.next();
    stream.capture = Some(id);
    state.captures.begin(id, key, stream.device, mode, thread);
    Ok(())
}

/// Ends a stream's capture; the graph is the caller's.
fn end(state: &mut State, key: u64, thread: ThreadId) -> Result<u64, Failure> {
    let id = state.streams.get(key)?.capture.ok_or(DriverCode::IllegalState)?;
    let capture = state.captures.end(id, key, thread)?;
    state.streams.end_capture(id);
    for event in state.events.values_mut() {
        event.captured = event.captured.filter(|(of, _)| *of != id);
    }
    let graph = capture.into_graph()?;
    let handle = state.handles.next();
    state.graphs.insert(handle, graph);
    Ok(handle)
}

/// Launches a graph: its work comes after the stream's, and after the graph's own last launch.
fn launch(state: &mut State, exec: u64, key: u64) -> Result<(), Failure> {
    let exec = state.execs.get_mut(&exec).ok_or(DriverCode::InvalidHandle)?;
    if state.streams.get(key)?.capture.is_some() {
        return Err(DriverCode::StreamCaptureUnsupported.into());
    }
    let before = state.streams.before(key)?;
    let stream = state.streams.get_mut(key)?;
    let first = state.schedule.next();
    stream.last = Some(exec.launch(&mut state.schedule, before, stream.lane, &stream.name));
    state.staging.watch(state.schedule.since(first));
    state.host_functions.poke();
    Ok(())
}

//! Captures and graphs.

use std::thread;

use tinyllm_sys::{
    CaptureMode, CaptureStatus, DriverCode, DriverError, GraphExecHandle, GraphHandle, StreamHandle,
};

use crate::driver::Emulator;

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
            |state, key| state.begin_capture(key, mode, thread),
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
            |state, key| state.end_capture(key, thread).map(GraphHandle),
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
            |state, key| state.capture_status(key),
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
            |state| state.instantiate(graph.0).map(GraphExecHandle),
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
            |state| state.update_exec(exec.0, graph.0),
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
            |state, key| state.launch_graph(exec.0, key),
        )
    }
}

//! What a capture is in, and what became of a graph's update.

use std::ptr::null_mut;

use super::{LibCuda, handle, symbols::UpdateResult};
use crate::{CaptureStatus, DriverCode, DriverError, GraphExecHandle, GraphHandle, StreamHandle};

impl LibCuda {
    /// Whether a stream is being captured.
    ///
    /// # Safety
    /// The stream came from this driver and lives.
    pub(super) unsafe fn capture_status(&self, stream: StreamHandle) -> Result<CaptureStatus, DriverError> {
        let mut status = 0;
        // SAFETY: the caller's promise; writes one number.
        let code = unsafe { (self.symbols.stream_capture_status)(handle(stream.0), &raw mut status) };
        self.check("cuStreamIsCapturing", code, stream)?;
        Ok(match status {
            0 => CaptureStatus::None,
            1 => CaptureStatus::Active,
            _ => CaptureStatus::Invalidated,
        })
    }

    /// Gives an executable graph another one's arguments, if that is all they differ in.
    ///
    /// # Safety
    /// As [`crate::DriverApi::graph_exec_update`].
    pub(super) unsafe fn update_graph(
        &self,
        exec: GraphExecHandle,
        graph: GraphHandle,
    ) -> Result<bool, DriverError> {
        let mut result = UpdateResult { result: 0, error_node: null_mut(), error_from_node: null_mut() };
        // SAFETY: the caller's promise; writes one result.
        let code =
            unsafe { (self.symbols.graph_exec_update)(handle(exec.0), handle(graph.0), &raw mut result) };
        // Every reason under this code is one for a new executable graph.
        if code == DriverCode::GraphExecUpdateFailure.number() {
            return Ok(false);
        }
        self.check("cuGraphExecUpdate", code, format_args!("{exec}, {graph}, result {}", result.result))?;
        Ok(true)
    }
}

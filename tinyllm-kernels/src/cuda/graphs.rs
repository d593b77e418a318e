//! Decoding steps as captured graphs: one for each shape, whose launches never change, because what varies between steps is in
//! the step's data. A shape is captured when it comes for the second time: kernels are loaded by then.

use std::{collections::BTreeMap, ops::Range};

use tinyllm_mem::{Context, MemError, Stream};
use tinyllm_sys::{CaptureMode, DriverError, GraphExecHandle};

use super::step_data::StepShape;
use crate::KernelError;

/// Graphs at most: each takes memory of the driver's. Steps of further shapes are launched one kernel after another.
const MOST_GRAPHS: usize = 64;

/// A step's shape, and the passes that it runs.
type Key = (StepShape, usize, usize);

/// The graphs of a session.
pub(super) struct Graphs {
    context: Context,
    /// `None` for shapes that came once.
    known: BTreeMap<Key, Option<GraphExecHandle>>,
}

impl Graphs {
    pub(super) fn new(context: &Context) -> Self {
        Graphs { context: context.clone(), known: BTreeMap::new() }
    }

    /// Queues the work of a step: `enqueue` itself, or the graph of what it queued before for the same shape and passes.
    ///
    /// # Errors
    /// The driver's.
    ///
    /// # Safety
    /// What `enqueue` queues depends on the shape and the passes alone, and names memory that lives as long as this.
    pub(super) unsafe fn run(
        &mut self,
        stream: &Stream,
        shape: StepShape,
        passes: Range<usize>,
        enqueue: impl Fn() -> Result<(), KernelError>,
    ) -> Result<(), KernelError> {
        let key = (shape, passes.start, passes.end);
        let has_room = self.known.len() < MOST_GRAPHS;
        match self.known.get(&key) {
            Some(Some(exec)) => self.launch(stream, *exec),
            Some(None) => {
                let exec = self.capture(stream, enqueue)?;
                self.known.insert(key, Some(exec));
                self.launch(stream, exec)
            }
            None => {
                enqueue()?;
                if has_room {
                    self.known.insert(key, None);
                }
                Ok(())
            }
        }
    }

    fn launch(&self, stream: &Stream, exec: GraphExecHandle) -> Result<(), KernelError> {
        // SAFETY: both are this driver's and live; the graph's memory lives as long as this (`run`).
        let launched = self.context.call(|driver| unsafe { driver.graph_launch(exec, stream.handle()) });
        launched.map_err(failed)
    }

    fn capture(
        &self,
        stream: &Stream,
        enqueue: impl Fn() -> Result<(), KernelError>,
    ) -> Result<GraphExecHandle, KernelError> {
        let handle = stream.handle();
        // SAFETY: the stream lives, and is this session's alone.
        let begun = self
            .context
            .call(|driver| unsafe { driver.stream_begin_capture(handle, CaptureMode::ThreadLocal) });
        begun.map_err(failed)?;
        let queued = enqueue();
        // SAFETY: as above.
        let end = || self.context.call(|driver| unsafe { driver.stream_end_capture(handle) });
        let graph = end();
        let spoiled = match (&queued, &graph) {
            (Ok(()), Ok(_)) => None,
            (Err(_), Ok(graph)) => Some(*graph),
            // A call that failed before it reached the stream leaves it capturing.
            (_, Err(_)) => end().ok(),
        };
        if let Some(graph) = spoiled {
            // SAFETY: it was captured just now, and nothing else names it.
            let _ = self.context.call(|driver| unsafe { driver.graph_destroy(graph) });
        }
        queued?;
        let graph = graph.map_err(failed)?;
        // SAFETY: captured just now; its memory lives as long as this (`run`).
        let exec = self.context.call(|driver| unsafe { driver.graph_instantiate(graph) });
        // SAFETY: what is instantiated does not need its source.
        let destroyed = self.context.call(|driver| unsafe { driver.graph_destroy(graph) });
        let exec = exec.map_err(failed)?;
        if let Err(error) = destroyed {
            self.destroy(exec);
            return Err(failed(error));
        }
        Ok(exec)
    }

    fn destroy(&self, exec: GraphExecHandle) {
        // SAFETY: instantiated here, and named nowhere else. What the driver refuses here would be refused by its next call.
        let _ = self.context.call(|driver| unsafe { driver.graph_exec_destroy(exec) });
    }
}

fn failed(error: DriverError) -> KernelError {
    MemError::Driver { name: "graph".into(), error }.into()
}

impl Drop for Graphs {
    fn drop(&mut self) {
        for exec in std::mem::take(&mut self.known).into_values().flatten() {
            self.destroy(exec);
        }
    }
}

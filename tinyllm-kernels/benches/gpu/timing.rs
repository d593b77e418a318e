//! Timing of kernel launches: CUDA events around replays of a CUDA graph with many launches.
//!
//! Timing single launches would include the host's launch overhead. In a graph launches follow each other as closely as
//! the device can, and replays are queued ahead, so that the device is never idle.

use tinyllm_mem::Event;
use tinyllm_sys::{CaptureMode, EventTiming, GraphExecHandle};

use crate::device::{Device, Outcome};

/// Warm-up replays: the first uploads the graph, and clocks rise.
const WARM_UP: usize = 3;
/// Timed replays.
const SAMPLES: usize = 20;

/// Microseconds of one launch.
#[derive(Clone, Copy)]
pub(crate) struct Timing {
    /// The median.
    pub(crate) microseconds: f64,
    /// The interquartile range.
    pub(crate) spread_microseconds: f64,
}

/// Times `run`, which enqueues `launches` launches; `None` on the emulated device, whose times are meaningless.
pub(crate) fn time(device: &Device, launches: usize, run: impl Fn() -> Outcome) -> Outcome<Option<Timing>> {
    if device.is_emulated() {
        return Ok(None);
    }
    let event = || Event::new(&device.context, EventTiming::Enabled);
    let events = (0..=WARM_UP + SAMPLES).map(|_| event()).collect::<Result<Vec<Event>, _>>()?;
    events[0].record(&device.stream)?;
    for event in &events[1..] {
        run()?;
        event.record(&device.stream)?;
    }
    device.synchronize()?;
    let mut samples = (WARM_UP..WARM_UP + SAMPLES)
        .map(|index| {
            let milliseconds = events[index + 1].milliseconds_since(&events[index])?;
            Ok(f64::from(milliseconds) * 1e3 / launches as f64)
        })
        .collect::<Outcome<Vec<f64>>>()?;
    samples.sort_by(f64::total_cmp);
    let quantile =
        |quarters: usize| (samples[SAMPLES * quarters / 4 - 1] + samples[SAMPLES * quarters / 4]) / 2.0;
    Ok(Some(Timing { microseconds: quantile(2), spread_microseconds: quantile(3) - quantile(1) }))
}

/// Launches that were captured, to be replayed.
pub(crate) struct Graph<'device> {
    device: &'device Device,
    exec: GraphExecHandle,
}

impl<'device> Graph<'device> {
    /// Captures the launches that `enqueue` makes for 0, 1, ... `launches` - 1.
    pub(crate) fn capture(
        device: &'device Device,
        launches: usize,
        enqueue: impl Fn(usize) -> Outcome,
    ) -> Outcome<Self> {
        let (driver, stream) = (&device.driver, device.stream.handle());
        // SAFETY: the stream is the device's and nothing else is put on it.
        unsafe { driver.stream_begin_capture(stream, CaptureMode::ThreadLocal) }?;
        let captured = (0..launches).try_for_each(enqueue);
        // SAFETY: as above.
        let graph = unsafe { driver.stream_end_capture(stream) };
        captured?;
        let graph = graph?;
        // SAFETY: the graph was just captured, and the kernels and memory it refers to live until the bench's last
        // synchronisation.
        let exec = unsafe { driver.graph_instantiate(graph) };
        // SAFETY: an instantiated graph does not need its source graph.
        unsafe { driver.graph_destroy(graph) }?;
        Ok(Graph { device, exec: exec? })
    }

    /// Enqueues the graph on the stream.
    pub(crate) fn replay(&self) -> Outcome {
        // SAFETY: both live, and so does what the launches name until they are done.
        Ok(unsafe { self.device.driver.graph_launch(self.exec, self.device.stream.handle()) }?)
    }
}

impl Drop for Graph<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is not used afterwards. Errors were reported by earlier calls.
        let _ = unsafe { self.device.driver.graph_exec_destroy(self.exec) };
    }
}

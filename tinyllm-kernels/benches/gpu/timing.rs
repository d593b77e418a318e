//! How long launches take: CUDA events between replays of a graph that has many of them.
//!
//! A launch by itself would be timed with the processor's way to it. In a graph launches follow each other as close as the
//! device can, and replays are queued ahead, so that the device is never without work.

use tinyllm_sys::{CaptureMode, EventHandle, EventTiming, GraphExecHandle};

use crate::device::{Device, Outcome};

/// Replays before those that count: the first brings the graph to the device, and clocks rise.
const WARM_UP: usize = 3;
/// Replays that count.
const SAMPLES: usize = 20;

/// Microseconds of one launch.
#[derive(Clone, Copy)]
pub(crate) struct Timing {
    /// The median.
    pub(crate) microseconds: f64,
    /// From the first quartile to the third.
    pub(crate) spread_microseconds: f64,
}

/// Times `run`, which puts `launches` on the stream; none on the emulated device, whose time says nothing.
pub(crate) fn time(device: &Device, launches: usize, run: impl Fn() -> Outcome) -> Outcome<Option<Timing>> {
    if device.is_emulated() {
        return Ok(None);
    }
    let events = Events::new(device, WARM_UP + SAMPLES + 1)?;
    events.record(0)?;
    for index in 1..=WARM_UP + SAMPLES {
        run()?;
        events.record(index)?;
    }
    device.synchronize()?;
    let mut samples = (WARM_UP..WARM_UP + SAMPLES)
        .map(|index| Ok(events.milliseconds_from(index)? * 1e3 / launches as f64))
        .collect::<Outcome<Vec<f64>>>()?;
    samples.sort_by(f64::total_cmp);
    let quantile =
        |quarters: usize| (samples[SAMPLES * quarters / 4 - 1] + samples[SAMPLES * quarters / 4]) / 2.0;
    Ok(Some(Timing { microseconds: quantile(2), spread_microseconds: quantile(3) - quantile(1) }))
}

/// Events that keep the time.
struct Events<'device> {
    device: &'device Device,
    handles: Vec<EventHandle>,
}

impl<'device> Events<'device> {
    fn new(device: &'device Device, count: usize) -> Outcome<Self> {
        let mut events = Events { device, handles: Vec::new() };
        for _ in 0..count {
            events.handles.push(device.driver.event_create(EventTiming::Enabled)?);
        }
        Ok(events)
    }

    fn record(&self, index: usize) -> Outcome {
        // SAFETY: both live as long as the device is borrowed.
        Ok(unsafe { self.device.driver.event_record(self.handles[index], self.device.stream) }?)
    }

    /// From an event to the next.
    fn milliseconds_from(&self, index: usize) -> Outcome<f64> {
        let (start, end) = (self.handles[index], self.handles[index + 1]);
        // SAFETY: both live.
        Ok(unsafe { self.device.driver.event_elapsed_time(start, end) }?.into())
    }
}

impl Drop for Events<'_> {
    fn drop(&mut self) {
        for event in &self.handles {
            // SAFETY: nothing names it afterwards. An error was told by the calls before.
            let _ = unsafe { self.device.driver.event_destroy(*event) };
        }
    }
}

/// Launches that were captured, to be replayed.
pub(crate) struct Graph<'device> {
    device: &'device Device,
    exec: GraphExecHandle,
}

impl<'device> Graph<'device> {
    /// What `enqueue` puts on the stream for 0, 1, ... `launches` - 1.
    pub(crate) fn capture(
        device: &'device Device,
        launches: usize,
        enqueue: impl Fn(usize) -> Outcome,
    ) -> Outcome<Self> {
        let Device { driver, stream, .. } = device;
        // SAFETY: the stream is the device's and nothing else is put on it.
        unsafe { driver.stream_begin_capture(*stream, CaptureMode::ThreadLocal) }?;
        let captured = (0..launches).try_for_each(enqueue);
        // SAFETY: as above.
        let graph = unsafe { driver.stream_end_capture(*stream) };
        captured?;
        let graph = graph?;
        // SAFETY: the graph was just captured, and what it names outlives the bench's last synchronisation.
        let exec = unsafe { driver.graph_instantiate(graph) };
        // SAFETY: an instance does without it.
        unsafe { driver.graph_destroy(graph) }?;
        Ok(Graph { device, exec: exec? })
    }

    /// Puts all of it on the stream.
    pub(crate) fn replay(&self) -> Outcome {
        // SAFETY: both live, and so does what the launches name until they are done.
        Ok(unsafe { self.device.driver.graph_launch(self.exec, self.device.stream) }?)
    }
}

impl Drop for Graph<'_> {
    fn drop(&mut self) {
        // SAFETY: nothing names it afterwards. An error was told by the calls before.
        let _ = unsafe { self.device.driver.graph_exec_destroy(self.exec) };
    }
}

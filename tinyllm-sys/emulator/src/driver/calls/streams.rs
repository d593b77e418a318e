//! Streams and events.

use std::thread;

use tinyllm_sys::{DriverCode, DriverError, EventHandle, EventTiming, StreamFlags, StreamHandle};

use crate::driver::{
    emulator::Emulator,
    event::Event,
    failure::Failure,
    state::State,
    work::{Stamp, Work},
};

impl Emulator {
    pub(in crate::driver) fn stream_create(&self, flags: StreamFlags) -> Result<StreamHandle, DriverError> {
        self.on_device(
            "cuStreamCreate",
            || format!("{flags:?}"),
            |state, device, _| Ok(StreamHandle(state.streams.create(device, flags, &mut state.handles))),
        )
    }

    pub(in crate::driver) unsafe fn stream_destroy(&self, stream: StreamHandle) -> Result<(), DriverError> {
        self.on_stream(
            "cuStreamDestroy",
            stream,
            || stream.to_string(),
            |state, key| state.streams.destroy(key),
        )
    }

    pub(in crate::driver) unsafe fn stream_synchronize(
        &self,
        stream: StreamHandle,
    ) -> Result<(), DriverError> {
        let thread = thread::current().id();
        self.await_host_functions(|state| {
            let key = state.stream_key(stream, thread);
            key.and_then(|key| state.streams.before(key)).unwrap_or_default()
        });
        self.on_stream(
            "cuStreamSynchronize",
            stream,
            || stream.to_string(),
            |state, key| {
                state.refuse_captured(key)?;
                for last in state.streams.before(key)? {
                    state.wait(&last);
                }
                state.check_context(state.streams.get(key)?.device)
            },
        )
    }

    pub(in crate::driver) unsafe fn stream_query(&self, stream: StreamHandle) -> Result<bool, DriverError> {
        self.on_stream(
            "cuStreamQuery",
            stream,
            || stream.to_string(),
            |state, key| {
                state.refuse_captured(key)?;
                let device = state.streams.get(key)?.device;
                let mut done = true;
                for last in state.streams.before(key)? {
                    done &= state.query(&last);
                }
                state.check_context(device)?;
                Ok(done)
            },
        )
    }

    pub(in crate::driver) unsafe fn stream_wait_event(
        &self,
        stream: StreamHandle,
        event: EventHandle,
    ) -> Result<(), DriverError> {
        self.on_stream(
            "cuStreamWaitEvent",
            stream,
            || format!("{stream}, {event}"),
            |state, key| {
                if let Some((capture, node)) = state.event(event)?.captured {
                    return join_capture(state, key, capture, node);
                }
                let Some(issued) = state.recorded(event)? else { return Ok(()) };
                if state.streams.get(key)?.capture.is_some() {
                    return Err(DriverCode::StreamCaptureIsolation.into());
                }
                let mut before = state.streams.before(key)?;
                before.push(issued);
                let stream = state.streams.get_mut(key)?;
                let name = format!("wait on {}", stream.name);
                let waits = state.schedule.add(stream.device, stream.lane, Work::Nothing, name, &before);
                stream.last = Some(waits);
                Ok(())
            },
        )
    }

    pub(in crate::driver) fn event_create(&self, timing: EventTiming) -> Result<EventHandle, DriverError> {
        self.on_device(
            "cuEventCreate",
            || format!("{timing:?}"),
            |state, _, _| {
                let handle = state.handles.next();
                state.events.insert(handle, Event { timing, recorded: None, captured: None });
                Ok(EventHandle(handle))
            },
        )
    }

    pub(in crate::driver) unsafe fn event_destroy(&self, event: EventHandle) -> Result<(), DriverError> {
        self.call(
            "cuEventDestroy",
            || event.to_string(),
            |state| state.events.remove(&event.0).map(|_| ()).ok_or(DriverCode::InvalidHandle.into()),
        )
    }

    pub(in crate::driver) unsafe fn event_record(
        &self,
        event: EventHandle,
        stream: StreamHandle,
    ) -> Result<(), DriverError> {
        self.on_stream(
            "cuEventRecord",
            stream,
            || format!("{event}, {stream}"),
            |state, key| {
                state.event(event)?;
                if let Some(capture) = state.streams.get(key)?.capture {
                    let node = state.captures.add_event(capture, key)?;
                    if let Some(found) = state.events.get_mut(&event.0) {
                        found.captured = Some((capture, node));
                    }
                    return Ok(());
                }
                let stamp = Stamp::default();
                let issued = state.issue(key, Work::Event(stamp.clone()))?;
                if let Some(found) = state.events.get_mut(&event.0) {
                    found.recorded = issued.map(|issued| (issued, stamp));
                    found.captured = None;
                }
                Ok(())
            },
        )
    }

    pub(in crate::driver) unsafe fn event_query(&self, event: EventHandle) -> Result<bool, DriverError> {
        self.on_device(
            "cuEventQuery",
            || event.to_string(),
            |state, device, _| {
                let Some(issued) = state.recorded(event)? else { return Ok(true) };
                let done = state.query(&issued);
                state.check_context(device)?;
                Ok(done)
            },
        )
    }

    pub(in crate::driver) unsafe fn event_synchronize(&self, event: EventHandle) -> Result<(), DriverError> {
        self.await_host_functions(|state| state.recorded(event).ok().flatten().into_iter().collect());
        self.on_device(
            "cuEventSynchronize",
            || event.to_string(),
            |state, device, _| {
                if let Some(issued) = state.recorded(event)? {
                    state.wait(&issued);
                }
                state.check_context(device)
            },
        )
    }

    pub(in crate::driver) unsafe fn event_elapsed_time(
        &self,
        start: EventHandle,
        end: EventHandle,
    ) -> Result<f32, DriverError> {
        self.on_device(
            "cuEventElapsedTime",
            || format!("{start}, {end}"),
            |state, _, _| {
                let stamp = |event: &Event| match (&event.recorded, event.timing) {
                    (Some((issued, stamp)), EventTiming::Enabled) => Ok((issued.clone(), stamp.clone())),
                    _ => Err(Failure::from(DriverCode::InvalidHandle)),
                };
                let ((first, begun), (last, ended)) =
                    (stamp(state.event(start)?)?, stamp(state.event(end)?)?);
                let done = state.query(&first) & state.query(&last);
                match (begun.get(), ended.get()) {
                    (Some(begun), Some(ended)) if done => {
                        let after = ended.saturating_duration_since(begun).as_secs_f32();
                        let before = begun.saturating_duration_since(ended).as_secs_f32();
                        Ok((after - before) * 1000.0)
                    }
                    _ => Err(DriverCode::NotReady.into()),
                }
            },
        )
    }
}

/// A stream waits for an event of a capture: it joins the capture.
fn join_capture(state: &mut State, key: u64, id: u64, node: usize) -> Result<(), Failure> {
    let is_default = state.streams.is_default(key);
    let stream = state.streams.get_mut(key)?;
    match stream.capture {
        Some(other) if other != id => return Err(DriverCode::StreamCaptureMerge.into()),
        Some(_) => {}
        None if is_default => return Err(DriverCode::StreamCaptureImplicit.into()),
        None => stream.capture = Some(id),
    }
    state.captures.join(id, key, node)
}

//! Answers to the driver's calls, in the groups of its documentation.

mod abi;
mod contexts;
mod graphs;
mod mapped;
mod memory;
mod modules;
mod streams;

use std::thread::{self, ThreadId};

pub use abi::Allocated;
use tinyllm_sys::{DeviceHandle, DriverCode, DriverError, EventHandle, StreamHandle};

use super::{
    Emulator,
    state::{Event, Failure, State},
    work::Issued,
};

impl Emulator {
    /// Runs a call that needs no context.
    pub(super) fn call<T>(
        &self,
        name: &'static str,
        arguments: impl FnOnce() -> String,
        run: impl FnOnce(&mut State) -> Result<T, Failure>,
    ) -> Result<T, DriverError> {
        let mut state = self.lock();
        state.advance();
        let result = run(&mut state);
        // What was asked for may run before the caller's next line, or after it.
        state.advance();
        result.map_err(|failure| {
            let mut arguments = arguments();
            if !failure.note.is_empty() {
                let separator = if arguments.is_empty() { "" } else { ": " };
                arguments = format!("{arguments}{separator}{}", failure.note);
            }
            DriverError::new(name, failure.code, arguments)
        })
    }

    /// Runs a call on the calling thread's context.
    pub(super) fn on_device<T>(
        &self,
        name: &'static str,
        arguments: impl FnOnce() -> String,
        run: impl FnOnce(&mut State, usize, ThreadId) -> Result<T, Failure>,
    ) -> Result<T, DriverError> {
        let thread = thread::current().id();
        self.call(name, arguments, |state| {
            let device = state.current_device(thread)?;
            run(state, device, thread)
        })
    }

    /// Runs a call about a stream.
    pub(super) fn on_stream<T>(
        &self,
        name: &'static str,
        stream: StreamHandle,
        arguments: impl FnOnce() -> String,
        run: impl FnOnce(&mut State, u64) -> Result<T, Failure>,
    ) -> Result<T, DriverError> {
        self.on_device(name, arguments, |state, _, thread| {
            let key = state.stream_key(stream, thread)?;
            run(state, key)
        })
    }
}

impl State {
    pub(super) fn device_of(&self, device: DeviceHandle) -> Result<usize, Failure> {
        let ordinal = usize::try_from(device.0).ok().filter(|ordinal| *ordinal < self.devices.len());
        ordinal.ok_or(DriverCode::InvalidDevice.into())
    }

    pub(super) fn event(&self, event: EventHandle) -> Result<&Event, Failure> {
        self.events.get(&event.0).ok_or(DriverCode::InvalidHandle.into())
    }

    /// The work that an event stands for, if it was recorded.
    pub(super) fn recorded(&self, event: EventHandle) -> Result<Option<Issued>, Failure> {
        let event = self.event(event)?;
        if event.captured.is_some() {
            return Err(DriverCode::CapturedEvent.into());
        }
        Ok(event.recorded.as_ref().map(|(issued, _)| issued.clone()))
    }

    /// Fails where work that was waited for lost the context.
    pub(super) fn still_there(&self, device: usize) -> Result<(), Failure> {
        match self.devices[device].lost {
            Some(code) => Err(code.into()),
            None => Ok(()),
        }
    }

    /// Whether work is done; where it is, the host knows it.
    pub(super) fn query(&mut self, issued: &Issued) -> bool {
        // Whoever asks again and again gets there.
        self.run_any();
        let done = self.schedule.is_done(issued.id);
        if done {
            self.wait(issued);
        }
        done
    }
}

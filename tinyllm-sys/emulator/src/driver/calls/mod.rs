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
use tinyllm_sys::{DriverCode, DriverError, StreamHandle};

use super::{emulator::Emulator, failure::Failure, host_functions, schedule::Issued, state::State};

impl Emulator {
    /// Runs a call that needs no context.
    pub(super) fn call<T>(
        &self,
        name: &'static str,
        arguments: impl FnOnce() -> String,
        run: impl FnOnce(&mut State) -> Result<T, Failure>,
    ) -> Result<T, DriverError> {
        if host_functions::is_calling() {
            return Err(DriverError::new(name, DriverCode::NotPermitted, "a host function calls it"));
        }
        let mut state = self.lock();
        state.advance();
        let result = run(&mut state);
        // Work may run before the caller's next line, or after it.
        state.advance();
        drop(state);
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

    /// Waits for work as a call is about to, but lets other threads' calls be answered while a host function runs: it may be waiting
    /// for such a thread.
    pub(super) fn await_host_functions(&self, target: impl Fn(&mut State) -> Vec<Issued>) {
        if host_functions::is_calling() {
            return;
        }
        let mut state = self.lock();
        if !state.host_functions.is_used() {
            return;
        }
        let target = target(&mut state);
        let is_done = |state: &State| target.iter().all(|issued| state.schedule.is_done(issued.id));
        loop {
            let progress = state.host_functions.progress();
            let mut count = progress.count();
            while !is_done(&state) && state.run_any() {
                count = progress.count();
            }
            if is_done(&state) || !state.host_functions.is_running() {
                return;
            }
            drop(state);
            progress.wait_beyond(count);
            state = self.lock();
        }
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

//! The driver as programs hold it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{execute::KernelCounters, injection::Injection, state::State};
use crate::report::Finding;

/// A CUDA driver with emulated devices. Clones are the same driver; two that are built apart have nothing in common.
#[derive(Clone)]
pub struct Emulator {
    state: Arc<Mutex<State>>,
    pub(super) injection: Arc<Injection>,
}

impl fmt::Debug for Emulator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        formatter
            .debug_struct("Emulator")
            .field("devices", &state.devices.len())
            .field("findings", &state.findings.list().len())
            .finish_non_exhaustive()
    }
}

impl Emulator {
    pub(super) fn new(state: State, injection: Injection) -> Self {
        Emulator { state: Arc::new(Mutex::new(state)), injection: Arc::new(injection) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What runs work until no host function waits for some, as long as the driver is there.
    pub(super) fn work_before_host_functions(&self) -> impl Fn() + Send + use<> {
        let state = Arc::downgrade(&self.state);
        move || {
            let run = |state: Arc<Mutex<State>>| {
                state.lock().unwrap_or_else(PoisonError::into_inner).run_before_host_functions()
            };
            // The lock is left after each piece of work, so that calls are answered.
            while state.upgrade().is_some_and(run) {}
        }
    }

    /// Runs all queued work and writes the report and the summary that were asked for, as the end of the last clone would. A thread
    /// of the driver may hold the last one for a moment, and a program that ends does not wait for it.
    pub fn close(self) {
        self.lock().write_results();
    }

    /// The findings so far, of work that has run.
    pub fn findings(&self) -> Vec<Finding> {
        self.lock().findings()
    }

    /// Runs all queued work, and returns all findings, leaks included.
    pub fn finish(&self) -> Vec<Finding> {
        self.lock().finish()
    }

    /// How many calls there have been.
    pub fn calls(&self) -> u64 {
        self.injection.calls()
    }

    /// The first call that failed as [`crate::Builder::inject`] asked, by its name in [`tinyllm_sys::DriverApi`].
    pub fn injected_call(&self) -> Option<&'static str> {
        self.injection.failed()
    }

    /// What kernels did, by name, in launches that have run.
    pub fn counters(&self) -> BTreeMap<String, KernelCounters> {
        self.lock().counters.clone()
    }
}

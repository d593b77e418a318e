//! The driver as programs hold it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{execute::KernelCounters, state::State};
use crate::report::Finding;

/// A CUDA driver with emulated devices. Clones are the same driver; two that are built apart have nothing in common.
#[derive(Clone)]
pub struct Emulator {
    state: Arc<Mutex<State>>,
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
    pub(super) fn new(state: State) -> Self {
        Emulator { state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The findings so far, of work that has run.
    pub fn findings(&self) -> Vec<Finding> {
        self.lock().findings()
    }

    /// Runs all queued work, and returns all findings, leaks included.
    pub fn finish(&self) -> Vec<Finding> {
        self.lock().finish()
    }

    /// What kernels did, by name, in launches that have run.
    pub fn counters(&self) -> BTreeMap<String, KernelCounters> {
        self.lock().counters.clone()
    }
}

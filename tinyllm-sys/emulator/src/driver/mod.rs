//! The driver: calls, the work they ask for, and the memory it is done in.

mod api;
mod builder;
mod calls;
mod capture;
mod clock;
mod device;
mod execute;
mod findings;
mod footprint;
mod heap;
mod history;
mod leaks;
mod limits;
mod memory;
mod module;
mod pool;
mod schedule;
mod state;
mod virtual_memory;
mod work;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use builder::{BadSetting, Builder};
pub use calls::Allocated;
pub use state::KernelCounters;

use self::state::State;
use crate::report::Finding;

/// A CUDA driver with devices that the processor stands in for. Clones are the same driver; two that are built apart share
/// nothing.
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

impl Default for Emulator {
    fn default() -> Self {
        Self::builder().build()
    }
}

impl Emulator {
    /// One device of 8 GiB with all checks, unless said otherwise.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the checks have found so far, in work that has run.
    pub fn findings(&self) -> Vec<Finding> {
        self.lock().findings.list().to_vec()
    }

    /// Lets all work run that was asked for, and gives everything found, with what the program has not given back.
    pub fn finish(&self) -> Vec<Finding> {
        self.lock().finish()
    }

    /// What kernels did, by name, in launches that have run.
    pub fn counters(&self) -> BTreeMap<String, KernelCounters> {
        self.lock().counters.clone()
    }
}

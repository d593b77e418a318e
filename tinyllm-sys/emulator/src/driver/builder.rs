//! How an emulator is made.

use std::sync::{Arc, Mutex};

use super::{
    Emulator,
    state::{Config, State},
};
use crate::Check;

/// Settings of an [`Emulator`].
#[derive(Clone, Copy, Debug)]
pub struct Builder {
    devices: usize,
    memory_bytes: u64,
    seed: u64,
    check: Check,
    threads: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Builder { devices: 1, memory_bytes: 8 << 30, seed: 0, check: Check::all(), threads: 0 }
    }
}

impl Builder {
    /// How many devices; 1 unless said.
    #[must_use]
    pub fn devices(self, devices: usize) -> Self {
        Builder { devices, ..self }
    }

    /// Memory of each device in bytes; 8 GiB unless said. It costs nothing until it is written.
    #[must_use]
    pub fn memory(self, bytes: u64) -> Self {
        Builder { memory_bytes: bytes, ..self }
    }

    /// What decides which of the work that may run runs next; 0 unless said.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Builder { seed, ..self }
    }

    /// Which checks run; all unless said.
    #[must_use]
    pub fn check(self, check: Check) -> Self {
        Builder { check, ..self }
    }

    /// Threads that run blocks; as many as the machine has unless said. No result depends on it.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        Builder { threads, ..self }
    }

    /// The emulator.
    pub fn build(self) -> Emulator {
        let pool =
            (self.threads > 0).then(|| rayon::ThreadPoolBuilder::new().num_threads(self.threads).build());
        // Where no threads can be had, those of the whole program do it.
        let threads = pool.and_then(Result::ok);
        let config = Config { check: self.check, threads };
        let state = State::new(self.devices, self.memory_bytes, self.seed, config);
        Emulator { state: Arc::new(Mutex::new(state)) }
    }
}

//! The CPU backend: kernels for three instruction sets that give the same bits, on a thread pool.

mod attention;
mod bandwidth;
mod bound;
mod compile;
mod fill;
mod kv;
mod lanes;
mod layout;
mod math;
mod matmul;
mod norm;
mod passes;
mod peak;
mod raw_bytes;
mod rope;
mod session;
mod threads;
mod vector;
mod weights;

use std::{fmt, sync::Arc};

use tinyllm_mem::{HostMemory, HostResource};

pub use bandwidth::Reading;
pub use threads::DecodeThreads;

use self::threads::Pool;
use crate::{Backend, Capabilities, Compiled, Isa, KernelError, Program};

/// The CPU backend: an instruction set, a thread pool, and the memory resource that `bind` allocates from. Clones share
/// them.
#[derive(Clone)]
pub struct Cpu {
    isa: Isa,
    pool: Arc<Pool>,
    decode_threads: DecodeThreads,
    memory: HostMemory,
}

impl fmt::Debug for Cpu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cpu").field("isa", &self.isa).field("threads", &self.threads()).finish()
    }
}

impl Cpu {
    /// A backend that runs the kernels of `isa` on `threads` threads, the calling thread included, in host memory.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] if the processor lacks the instruction set or threads cannot be started.
    pub fn new(isa: Isa, threads: usize) -> Result<Self, KernelError> {
        if !isa.is_available() {
            return Err(KernelError::Invalid {
                what: "instruction set",
                problem: format!("this processor has no {isa}"),
            });
        }
        let (pool, memory) = (Arc::new(Pool::new(threads)?), HostResource::shared());
        Ok(Cpu { isa, pool, decode_threads: DecodeThreads::default(), memory })
    }

    /// The same backend with this policy for the threads of a step of one token.
    pub fn with_decode_threads(self, decode_threads: DecodeThreads) -> Self {
        Cpu { decode_threads, ..self }
    }

    /// The same backend with programs bound to memory of this resource.
    pub fn with_memory(self, memory: HostMemory) -> Self {
        Cpu { memory, ..self }
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.pool.workers()
    }

    fn pool(&self) -> &Pool {
        &self.pool
    }

    fn decode_threads(&self) -> DecodeThreads {
        self.decode_threads
    }

    fn memory(&self) -> &HostMemory {
        &self.memory
    }
}

impl Backend for Cpu {
    fn name(&self) -> &str {
        "cpu"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_mapped_weights(true)
    }

    fn compile(&self, program: Arc<Program>) -> Result<Box<dyn Compiled>, KernelError> {
        Ok(Box::new(compile::compile(self.clone(), program)?))
    }
}

//! A loaded model: weights, cache and arena bound to a backend, and what can be asked of it.

mod batch;
mod dequantize;
mod formats;
mod kv_cache;
mod lazy;
mod llama;
mod loader;
mod options;
pub mod plan;
mod single;

use std::{path::PathBuf, time::Instant};

use tinyllm_kernels::{Backend, Cpu, Limits};
use tinyllm_mem::{Buffer, Category, Host, HostMemory, Request};

pub use batch::SequenceInput;
pub use kv_cache::SequenceId;
pub use loader::LoadProgress;
pub use options::{EmbeddingsMode, EngineOptions, GroupSizeChoice, KvCacheConfig, WeightsMode};
pub use plan::EnginePlan;

use self::{batch::StepTables, kv_cache::KvCache, lazy::Lazy};
use crate::{ModelConfig, ModelError, Result, checkpoint::Checkpoint};

/// A model ready to run: sequences over one paged cache, several in a step ([`Engine::forward`]), or one at a time
/// ([`Engine::prefill`], [`Engine::decode`]).
pub struct Engine<B: Backend = Cpu> {
    config: ModelConfig,
    backend: B,
    prepared: B::Prepared,
    cache: KvCache,
    tables: StepTables,
    /// Whose logits the last step gave, in their order.
    sampled: Vec<SequenceId>,
    /// The sequence of those who run one at a time.
    single: Option<SequenceId>,
    limits: Limits,
    load_time: std::time::Duration,
    lazy: Lazy,
    /// The checkpoint's, for errors.
    path: PathBuf,
}

impl Engine<Cpu> {
    /// The processor as `options` say.
    ///
    /// # Errors
    /// An instruction set that this processor lacks; threads that cannot be started.
    pub fn backend(options: &EngineOptions) -> Result<Cpu> {
        let threads = options.threads.unwrap_or_else(available_threads);
        Ok(Cpu::new(options.isa, threads)?)
    }

    /// Loads a model onto the processor: plans its memory, allocates it from `memory`, reads the weights.
    ///
    /// # Errors
    /// Whatever is wrong with the checkpoint or the options, naming file and field; memory that cannot be had. Nothing
    /// stays allocated then.
    pub fn load(
        checkpoint: &dyn Checkpoint,
        options: &EngineOptions,
        memory: &HostMemory,
        progress: &(dyn Fn(LoadProgress<'_>) + Sync),
    ) -> Result<Self> {
        Engine::load_on(Self::backend(options)?, checkpoint, options, memory, progress)
    }
}

/// One a core this process may use.
fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl<B: Backend<Space = Host>> Engine<B> {
    /// Loads a model onto `backend`.
    ///
    /// # Errors
    /// As [`Engine::load`].
    pub fn load_on(
        backend: B,
        checkpoint: &dyn Checkpoint,
        options: &EngineOptions,
        memory: &HostMemory,
        progress: &(dyn Fn(LoadProgress<'_>) + Sync),
    ) -> Result<Self> {
        Self::load_some(backend, checkpoint, options, memory, false, progress)
    }

    fn load_some(
        backend: B,
        checkpoint: &dyn Checkpoint,
        options: &EngineOptions,
        memory: &HostMemory,
        lazily: bool,
        progress: &(dyn Fn(LoadProgress<'_>) + Sync),
    ) -> Result<Self> {
        let start = Instant::now();
        let plan = EnginePlan::of_checkpoint(&backend, checkpoint, options)?;
        plan.check_budget(options, &|options| EnginePlan::of_checkpoint(&backend, checkpoint, options))?;
        let EnginePlan { program, weights, kv_bytes, arena: arena_plan, align_bytes, cache, limits } = plan;

        let slab = allocate(memory, Request::slab("weights", weights, align_bytes))?;
        let kv = allocate(memory, Request::new(Category::Kv, "kv", kv_bytes, align_bytes))?;
        let arena = allocate(memory, Request::slab("activations", arena_plan.parts(), align_bytes))?;

        let mut weights = backend.weights(&program, slab).map_err(ModelError::Kernel)?;
        loader::load(&backend, &mut weights, &program, checkpoint, lazily, progress)?;
        let prepared =
            backend.prepare(program, weights, kv, arena, arena_plan.offsets()).map_err(ModelError::Kernel)?;
        let cache = KvCache::new(cache);
        Ok(Engine {
            tables: StepTables::new(&cache, limits),
            sampled: Vec::with_capacity(limits.max_sequences),
            cache,
            config: checkpoint.config().clone(),
            backend,
            prepared,
            single: None,
            limits,
            load_time: start.elapsed(),
            lazy: Lazy::new(lazily),
            path: checkpoint.path().to_owned(),
        })
    }

    /// The backend it runs on.
    pub fn running_on(&self) -> &B {
        &self.backend
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Tokens a sequence has room for.
    pub fn context_size(&self) -> usize {
        self.cache.max_seq_len()
    }

    /// How long loading took.
    pub fn load_time(&self) -> std::time::Duration {
        self.load_time
    }
}

fn allocate(memory: &HostMemory, request: Request) -> Result<Buffer<u8, Host>> {
    Ok(Buffer::allocate(memory, request)?)
}

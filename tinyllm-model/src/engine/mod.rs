//! A loaded model: weights, cache and arena bound to a backend, and what can be asked of it.

mod batch;
mod dequantize;
mod kv_cache;
mod lazy;
mod loader;
mod options;
mod pipeline;
pub mod plan;
mod sequence;
mod split;

use std::{path::PathBuf, sync::Arc, time::Instant};

use tinyllm_kernels::{Cpu, Limits};
use tinyllm_mem::{Buffer, HostMemory, Request};

pub use batch::SequenceInput;
pub use kv_cache::SequenceId;
pub use loader::LoadProgress;
pub use options::{EngineOptions, KvCacheConfig};
pub use plan::EnginePlan;
pub use split::{DeviceLayers, DeviceRoom, LayerSplit};

pub use crate::llama::{EmbeddingsMode, GroupSizeChoice, WeightsMode};

use self::{
    batch::{RowPlace, StepTables},
    kv_cache::KvCache,
    lazy::Lazy,
    pipeline::Pipeline,
    plan::PlanSource,
};
use crate::{ModelConfig, Result, checkpoint::Checkpoint};

/// A model ready to run: sequences over one paged cache, several in a step ([`Engine::forward`]), or one at a time
/// ([`Engine::prefill`], [`Engine::decode`], [`Engine::score`]).
pub struct Engine {
    config: ModelConfig,
    layers: Pipeline,
    cache: KvCache,
    tables: StepTables,
    /// The rows whose logits the last step gave, in their order.
    sampled: Vec<RowPlace>,
    limits: Limits,
    load_time: std::time::Duration,
    lazy: Lazy,
    /// The checkpoint's, for errors.
    path: PathBuf,
}

/// Alignment of the sequences' slots: a cache line.
const SLOTS_ALIGN_BYTES: usize = 64;

/// One a core this process may use.
fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Engine {
    /// The processor as `options` say, with programs in `memory`.
    ///
    /// # Errors
    /// An instruction set that this processor lacks; threads that cannot be started.
    pub fn cpu(options: &EngineOptions, memory: &HostMemory) -> Result<Cpu> {
        let threads = options.threads.unwrap_or_else(available_threads);
        Ok(Cpu::new(options.isa, threads)?.with_memory(Arc::clone(memory)))
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
        Engine::load_on(&Self::cpu(options, memory)?, checkpoint, options, memory, progress)
    }

    /// Loads a model onto one backend, or its layers onto several, which have their own memory; `memory` is the host's, for
    /// the sequences' slots.
    ///
    /// # Errors
    /// As [`Engine::load`].
    pub fn load_on<'a>(
        split: impl Into<LayerSplit<'a>>,
        checkpoint: &dyn Checkpoint,
        options: &EngineOptions,
        memory: &HostMemory,
        progress: &(dyn Fn(LoadProgress<'_>) + Sync),
    ) -> Result<Self> {
        Self::load_some(&split.into(), checkpoint, options, memory, false, progress)
    }

    fn load_some(
        split: &LayerSplit<'_>,
        checkpoint: &dyn Checkpoint,
        options: &EngineOptions,
        memory: &HostMemory,
        lazily: bool,
        progress: &(dyn Fn(LoadProgress<'_>) + Sync),
    ) -> Result<Self> {
        let start = Instant::now();
        let source = PlanSource::Checkpoint(checkpoint);
        let (plan, compiled) = EnginePlan::compile(split, source, options)?;
        plan.check_budget(options, &|options| EnginePlan::new(split.clone(), source, options))?;
        let EnginePlan { stages, slots, cache, limits } = plan;
        let mut layers = Pipeline::bind(&stages, compiled)?;
        let slots = Buffer::allocate(memory, Request::slab("slots", slots.into(), SLOTS_ALIGN_BYTES))?;
        loader::load(&mut layers, &stages, checkpoint, lazily, progress)?;
        let cache = KvCache::new(cache, slots);
        Ok(Engine {
            tables: StepTables::new(&cache, limits),
            sampled: Vec::with_capacity(limits.max_sampled_rows),
            cache,
            config: checkpoint.config().clone(),
            layers,
            limits,
            load_time: start.elapsed(),
            lazy: Lazy::new(lazily),
            path: checkpoint.path().to_owned(),
        })
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

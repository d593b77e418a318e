//! How a model is loaded: the options that `run`, `plan`, `bench`, `logits` and `perplexity` share.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use tinyllm_kernels::{Isa, KvFormat};
use tinyllm_mem::{Category, Host, HostMemory, HostResource, Tracking};
use tinyllm_model::{
    Engine, ModelError, ModelFiles,
    engine::{
        EmbeddingsMode, EngineOptions, GroupSizeChoice, KvCacheConfig, LoadProgress, WeightsMode,
        plan::{PlanSource, largest_context},
    },
};

use super::values::{ContextSize, category_budget, context_size, group_size};
use crate::{
    device::{
        DeviceChoice, Devices, GpuLayers, MemoryBudget, Wanted, device_choice, gpu_layers, memory_budget,
    },
    models,
    output::{self, progress, warnings},
};

/// How a model is loaded.
#[derive(Args, Clone)]
#[command(next_help_heading = "Model options")]
pub(crate) struct LoadOptions {
    /// Storage of the weights in memory (f32: the comparison mode, activations and KV cache included)
    #[arg(long, value_enum, default_value = "w8a16", env = "TINYLLM_WEIGHTS")]
    weights: Weights,
    /// Storage of the embedding table and of an lm_head left in floating point [default: int8 where tied, else f16]
    #[arg(long, value_enum)]
    embeddings: Option<Embeddings>,
    /// Storage of the KV cache [default: f16; f32 with --weights f32]
    #[arg(long, value_enum, visible_alias = "kv-format")]
    kv: Option<Kv>,
    /// Weights that share a scale: auto, 32, 64, 128, 256 or channel
    #[arg(long, default_value = "auto", value_parser = group_size)]
    group_size: GroupSizeChoice,
    /// Tokens of context, or auto: what --memory-budget leaves [default: the model's own, at most 4096]
    #[arg(short = 'c', long, visible_aliases = ["num-ctx", "ctx"], env = "TINYLLM_CTX_SIZE", value_parser = context_size)]
    ctx_size: Option<ContextSize>,
    /// The most memory that weights, cache and activations may take (8GiB, 500MB, a number of bytes), or those of single
    /// devices (cuda:0=6GiB,cpu=8GiB); more is refused before loading
    #[arg(long, env = "TINYLLM_MEMORY_BUDGET", value_parser = memory_budget)]
    memory_budget: Option<MemoryBudget>,
    /// The same for one category, such as kv=2GiB (may be given again)
    #[arg(long, value_name = "CATEGORY=SIZE", value_parser = category_budget)]
    memory_limit: Vec<(Category, usize)>,
    /// Tokens of a block of the KV cache, a multiple of 16
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(16..=4096))]
    block_size: u32,
    /// Tokens of a prefill step
    #[arg(long, visible_alias = "ubatch-size", default_value_t = EngineOptions::DEFAULT_PREFILL_CHUNK as u32, value_parser = clap::value_parser!(u32).range(1..=65536))]
    prefill_chunk: u32,
    /// Threads; `bench` takes a list [default: one a core]
    #[arg(short = 't', long, env = "TINYLLM_THREADS", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Vec<u32>,
    /// Use a W8A16 file's weights where they are mapped, instead of repacking them
    #[arg(long)]
    mmap: bool,
    /// Where to run: auto (a GPU that the model fits, else the processor), cpu, cuda, cuda:N, emulated or emulated@24GiB; or
    /// several, which share its layers in this order (cuda:0,cuda:1,cpu)
    #[arg(long, default_value = "auto", env = "TINYLLM_DEVICE", value_delimiter = ',', value_parser = device_choice)]
    device: Vec<DeviceChoice>,
    /// The last layers that run on GPUs, the others run on the processor: a number, all, or auto (as many as fit)
    #[arg(long, visible_alias = "n-gpu-layers", value_parser = gpu_layers)]
    gpu_layers: Option<GpuLayers>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Weights {
    W8a16,
    F16,
    F32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Embeddings {
    Int8,
    F16,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kv {
    F16,
    // llama.cpp's name.
    #[value(alias = "q8_0")]
    Int8,
    F32,
}

impl LoadOptions {
    /// The thread counts of --threads; `None` is the default.
    pub(crate) fn thread_counts(&self) -> Vec<Option<u32>> {
        if self.threads.is_empty() { vec![None] } else { self.threads.iter().copied().map(Some).collect() }
    }

    /// A copy with one thread count.
    pub(crate) fn with_threads(&self, threads: Option<u32>) -> Self {
        LoadOptions { threads: threads.into_iter().collect(), ..self.clone() }
    }

    /// A copy with another weight storage, for a second model.
    pub(crate) fn with_weights(&self, weights: Option<&str>) -> Self {
        let named = weights.and_then(|name| Weights::from_str(name, true).ok());
        LoadOptions { weights: named.unwrap_or(self.weights), ..self.clone() }
    }

    /// The engine's options; `tokens` is the context where --ctx-size is not given.
    pub(crate) fn engine_options(
        &self,
        tokens: Option<usize>,
        sampled_rows: usize,
    ) -> anyhow::Result<EngineOptions> {
        if self.threads.len() > 1 {
            bail!("--threads: one number; only bench takes a list");
        }
        Ok(EngineOptions::default()
            .with_weights(match self.weights {
                Weights::W8a16 => WeightsMode::W8A16,
                Weights::F16 => WeightsMode::F16,
                Weights::F32 => WeightsMode::F32,
            })
            .with_embeddings(self.embeddings.map(|embeddings| match embeddings {
                Embeddings::Int8 => EmbeddingsMode::Int8,
                Embeddings::F16 => EmbeddingsMode::F16,
            }))
            .with_kv(
                KvCacheConfig::default()
                    .with_max_seq_len(match self.ctx_size {
                        Some(ContextSize::Tokens(tokens)) => Some(tokens as usize),
                        Some(ContextSize::Auto) | None => tokens,
                    })
                    .with_block_size(self.block_size as usize)
                    .with_format(self.kv.map(|kv| match kv {
                        Kv::F16 => KvFormat::F16,
                        Kv::Int8 => KvFormat::Int8,
                        Kv::F32 => KvFormat::F32,
                    })),
            )
            .with_group_size(self.group_size)
            .with_prefill_chunk(self.prefill_chunk as usize)
            .with_sampled_rows(sampled_rows)
            .with_threads(self.threads.first().map(|threads| *threads as usize))
            .with_mmap(self.mmap)
            .with_isa(Isa::from_environment()?)
            .with_memory_budget_bytes(match self.memory_budget {
                Some(MemoryBudget::Total(bytes)) => Some(bytes),
                Some(MemoryBudget::Devices(_)) | None => None,
            })
            .with_category_budget_bytes(self.memory_limit.iter().copied().collect()))
    }

    /// The devices of `--device`.
    pub(crate) fn devices(
        &self,
        options: &EngineOptions,
        tracking: &Arc<Tracking<Host>>,
        source: PlanSource<'_>,
    ) -> anyhow::Result<Devices> {
        let budgets = match &self.memory_budget {
            Some(MemoryBudget::Devices(budgets)) => &budgets[..],
            Some(MemoryBudget::Total(_)) | None => &[],
        };
        let wanted = Wanted { devices: &self.device, gpu_layers: self.gpu_layers, budgets };
        Devices::open(&wanted, options, tracking, source)
    }

    /// `--ctx-size auto`: sets the largest context that fits the budgets.
    pub(crate) fn fit_context(
        &self,
        options: &mut EngineOptions,
        source: PlanSource<'_>,
        devices: &Devices,
    ) -> anyhow::Result<()> {
        if self.ctx_size != Some(ContextSize::Auto) {
            return Ok(());
        }
        let budget = options.memory_budget_bytes;
        if budget.is_none() && !devices.has_budgets() {
            bail!("--ctx-size auto needs --memory-budget");
        }
        let longest = source.config().max_position_embeddings;
        let plan = |options: &EngineOptions| devices.plan(source, options);
        // The error over the budget says what is missing.
        options.kv.max_seq_len = Some(largest_context(options, budget, longest, &plan).unwrap_or(1));
        Ok(())
    }

    /// Loads a model; also returns the tracking resource that its memory comes from.
    pub(crate) fn load(
        &self,
        model: &ModelFiles,
        tokens: Option<usize>,
        sampled_rows: usize,
    ) -> anyhow::Result<(Engine, Arc<Tracking<Host>>)> {
        self.load_by(false, model, tokens, sampled_rows)
    }

    /// As [`LoadOptions::load`], for a short time to first token.
    pub(crate) fn load_lazily(&self, model: &ModelFiles) -> anyhow::Result<(Engine, Arc<Tracking<Host>>)> {
        self.load_by(true, model, None, 1)
    }

    fn load_by(
        &self,
        lazily: bool,
        model: &ModelFiles,
        tokens: Option<usize>,
        sampled_rows: usize,
    ) -> anyhow::Result<(Engine, Arc<Tracking<Host>>)> {
        if let Some(ContextSize::Tokens(asked)) = self.ctx_size
            && let Some(tokens) = tokens
            && tokens > asked as usize
        {
            let context = asked as usize;
            return Err(ModelError::ContextExceeded { tokens, context, rope_limit: None }.into());
        }
        let checkpoint = model.checkpoint();
        let mut options = self.engine_options(tokens, sampled_rows)?;
        let tracking = Arc::new(Tracking::with_history(HostResource::shared()));
        let memory: HostMemory = tracking.clone();
        let source = PlanSource::Checkpoint(checkpoint);
        let devices = self.devices(&options, &tracking, source)?;
        self.fit_context(&mut options, source, &devices)?;
        warnings::context(checkpoint.config(), options.kv.max_seq_len);
        let split = devices.split(source, &options)?;
        warnings::memory_of(&split, checkpoint, &options);
        let bar = progress::bytes(models::name(model));
        let advance = |done: LoadProgress<'_>| progress::advance(&bar, done.done_bytes, done.total_bytes);
        let engine = match lazily {
            true => Engine::load_lazily_on(split, checkpoint, &options, &memory, &advance),
            false => Engine::load_on(split, checkpoint, &options, &memory, &advance),
        };
        let engine = engine.context("loading the model")?;
        bar.finish_and_clear();
        for note in engine.notes() {
            output::note(&format!("note: {note}; --weights f16 or f32 keeps them"));
        }
        Ok((engine, tracking))
    }
}

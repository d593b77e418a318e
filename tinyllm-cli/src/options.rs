//! Options that several verbs share.

use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use tinyllm_kernels::{Cpu, GroupSize, Isa, KvFormat};
use tinyllm_mem::{Category, Host, HostMemory, HostResource, Tracking};
use tinyllm_model::{
    Engine, ModelConfig,
    checkpoint::Checkpoint,
    engine::{
        EmbeddingsMode, EngineOptions, EnginePlan, GroupSizeChoice, KvCacheConfig, LoadProgress, WeightsMode,
        plan::largest_context,
    },
};

use crate::{models::Model, warnings};

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
    /// The most memory that weights, cache and activations may take (8GiB, 500MB, a number of bytes); more is refused
    /// before loading
    #[arg(long, env = "TINYLLM_MEMORY_BUDGET", value_parser = byte_size)]
    memory_budget: Option<usize>,
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
    /// Where to run
    #[arg(long, value_enum, default_value = "auto", env = "TINYLLM_DEVICE")]
    device: Device,
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

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Device {
    Auto,
    Cpu,
}

pub(crate) fn group_size(text: &str) -> Result<GroupSizeChoice, String> {
    match text {
        "auto" => Ok(GroupSizeChoice::Auto),
        "channel" => Ok(GroupSizeChoice::Fixed(GroupSize::Channel)),
        "32" | "64" | "128" | "256" => text
            .parse()
            .map(|elements| GroupSizeChoice::Fixed(GroupSize::Elements(elements)))
            .map_err(|_| text.into()),
        _ => Err("one of auto, 32, 64, 128, 256, channel".into()),
    }
}

impl LoadOptions {
    /// The numbers of threads that were named; without any, the default.
    pub(crate) fn thread_counts(&self) -> Vec<Option<u32>> {
        if self.threads.is_empty() { vec![None] } else { self.threads.iter().copied().map(Some).collect() }
    }

    /// The same with one number of threads.
    pub(crate) fn with_threads(&self, threads: Option<u32>) -> Self {
        LoadOptions { threads: threads.into_iter().collect(), ..self.clone() }
    }

    /// The same with other weights, for a second model.
    pub(crate) fn with_weights(&self, weights: Option<&str>) -> Self {
        let named = weights.and_then(|name| Weights::from_str(name, true).ok());
        LoadOptions { weights: named.unwrap_or(self.weights), ..self.clone() }
    }

    /// The engine's options; `tokens` is how many the cache must hold where no context is asked for.
    pub(crate) fn engine_options(
        &self,
        tokens: Option<usize>,
        sampled_rows: usize,
    ) -> anyhow::Result<EngineOptions> {
        if self.threads.len() > 1 {
            bail!("--threads: one number; only bench takes a list");
        }
        // The processor is the only device so far, and so what `auto` finds.
        let (Device::Auto | Device::Cpu) = self.device;
        Ok(EngineOptions {
            weights: match self.weights {
                Weights::W8a16 => WeightsMode::W8A16,
                Weights::F16 => WeightsMode::F16,
                Weights::F32 => WeightsMode::F32,
            },
            embeddings: self.embeddings.map(|embeddings| match embeddings {
                Embeddings::Int8 => EmbeddingsMode::Int8,
                Embeddings::F16 => EmbeddingsMode::F16,
            }),
            kv: KvCacheConfig {
                max_seq_len: match self.ctx_size {
                    Some(ContextSize::Tokens(tokens)) => Some(tokens as usize),
                    Some(ContextSize::Auto) | None => tokens,
                },
                block_size: self.block_size as usize,
                format: self.kv.map(|kv| match kv {
                    Kv::F16 => KvFormat::F16,
                    Kv::Int8 => KvFormat::Int8,
                    Kv::F32 => KvFormat::F32,
                }),
                ..KvCacheConfig::default()
            },
            group_size: self.group_size,
            prefill_chunk: self.prefill_chunk as usize,
            sampled_rows,
            threads: self.threads.first().map(|threads| *threads as usize),
            mmap: self.mmap,
            isa: Isa::from_environment()?,
            memory_budget_bytes: self.memory_budget,
            category_budget_bytes: self.memory_limit.iter().copied().collect(),
        })
    }

    /// `--ctx-size auto`: the largest context that the budget leaves room for.
    pub(crate) fn fit_context(
        &self,
        options: &mut EngineOptions,
        config: &ModelConfig,
        plan: &dyn Fn(&EngineOptions) -> tinyllm_model::Result<EnginePlan>,
    ) -> anyhow::Result<()> {
        if self.ctx_size != Some(ContextSize::Auto) {
            return Ok(());
        }
        let budget = self.memory_budget.context("--ctx-size auto needs --memory-budget")?;
        let longest = config.max_position_embeddings;
        let Some(tokens) = largest_context(options, budget, longest, plan) else {
            // The refusal says what is missing.
            options.kv.max_seq_len = Some(1);
            return Ok(());
        };
        options.kv.max_seq_len = Some(tokens);
        Ok(())
    }

    /// Loads a model, and the record of its memory.
    pub(crate) fn load(
        &self,
        model: &Model,
        tokens: Option<usize>,
        sampled_rows: usize,
    ) -> anyhow::Result<(Engine, Arc<Tracking<Host>>)> {
        self.load_by(Engine::load_on, model, tokens, sampled_rows)
    }

    /// As [`LoadOptions::load`], for who wants a first token soon.
    pub(crate) fn load_lazily(&self, model: &Model) -> anyhow::Result<(Engine, Arc<Tracking<Host>>)> {
        self.load_by(Engine::load_lazily_on, model, None, 1)
    }

    fn load_by(
        &self,
        load: LoadOn,
        model: &Model,
        tokens: Option<usize>,
        sampled_rows: usize,
    ) -> anyhow::Result<(Engine, Arc<Tracking<Host>>)> {
        if let Some(ContextSize::Tokens(asked)) = self.ctx_size
            && let Some(tokens) = tokens
            && tokens > asked as usize
        {
            bail!("{tokens} tokens do not fit the context of {asked}; --ctx-size makes room for more");
        }
        let checkpoint = model.checkpoint()?;
        let mut options = self.engine_options(tokens, sampled_rows)?;
        let backend = Engine::backend(&options)?;
        self.fit_context(&mut options, checkpoint.config(), &|options| {
            EnginePlan::of_checkpoint(&backend, checkpoint, options)
        })?;
        warnings::context(checkpoint.config(), options.kv.max_seq_len);
        warnings::memory_of(&backend, checkpoint, &options);
        let tracking = Arc::new(Tracking::with_history(HostResource::shared()));
        let memory: HostMemory = tracking.clone();
        let progress = crate::models::progress(model.name());
        let engine = load(backend, checkpoint, &options, &memory, &|done| {
            crate::progress::advance(&progress, done.done_bytes, done.total_bytes);
        })
        .context("loading the model")?;
        progress.finish_and_clear();
        for note in engine.notes() {
            crate::output::note(&format!("note: {note}; --weights f16 or f32 keeps them"));
        }
        Ok((engine, tracking))
    }
}

/// A way to load.
type LoadOn = fn(
    Cpu,
    &dyn Checkpoint,
    &EngineOptions,
    &HostMemory,
    &(dyn Fn(LoadProgress<'_>) + Sync),
) -> tinyllm_model::Result<Engine>;

/// Loads a model while another thread does something else; what goes wrong there is told first.
pub(crate) fn beside<T: Send, L>(
    other: impl FnOnce() -> anyhow::Result<T> + Send,
    load: impl FnOnce() -> anyhow::Result<L>,
) -> anyhow::Result<(T, L)> {
    std::thread::scope(|scope| {
        let other = scope.spawn(other);
        let loaded = load();
        let other = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((other, loaded?))
    })
}

/// What `--ctx-size` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContextSize {
    Auto,
    Tokens(u32),
}

fn context_size(text: &str) -> Result<ContextSize, String> {
    match text {
        "auto" => Ok(ContextSize::Auto),
        _ => match text.parse() {
            Ok(tokens) if tokens > 0 => Ok(ContextSize::Tokens(tokens)),
            _ => Err("auto, or a number of tokens above 0".into()),
        },
    }
}

/// Reads `8GiB`, `500MB`, `1.5GB` or a number of bytes.
pub(crate) fn byte_size(text: &str) -> Result<usize, String> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" | "k" => 1e3,
        "mb" | "m" => 1e6,
        "gb" | "g" => 1e9,
        "tb" | "t" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(format!("{unit:?} is no unit: B, KB, MB, GB, TB, KiB, MiB, GiB or TiB")),
    };
    let bytes = number.parse::<f64>().map_err(|_| "a number with a unit, such as 8GiB".to_owned())? * factor;
    if (1.0..=2f64.powi(53)).contains(&bytes) {
        Ok(bytes as usize)
    } else {
        Err("from 1 byte to 8 PiB".into())
    }
}

/// Reads `kv=2GiB`.
fn category_budget(text: &str) -> Result<(Category, usize), String> {
    let (name, size) = text.split_once('=').ok_or("a category and a size, such as kv=2GiB")?;
    let category = Category::ALL.into_iter().find(|category| category.name() == name);
    let names = || Category::ALL.map(Category::name).join(", ");
    let category = category.ok_or_else(|| format!("{name:?} is no category: {}", names()))?;
    Ok((category, byte_size(size)?))
}

/// Token ids on the command line: `1,2,3`.
#[derive(Clone)]
pub(crate) struct TokenIds(pub(crate) Vec<u32>);

/// Reads [`TokenIds`].
pub(crate) fn token_ids(text: &str) -> Result<TokenIds, String> {
    text.split([',', ' '])
        .filter(|id| !id.is_empty())
        .map(|id| id.trim().parse().map_err(|_| format!("{id:?} is not a token id")))
        .collect::<Result<_, _>>()
        .map(TokenIds)
}

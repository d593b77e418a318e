//! Options that several verbs share.

use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use tinyllm_kernels::{GroupSize, Isa, KvFormat};
use tinyllm_mem::{Host, HostMemory, HostResource, Tracking};
use tinyllm_model::{
    Engine,
    engine::{EmbeddingsMode, EngineOptions, GroupSizeChoice, WeightsMode},
};

use crate::models::Model;

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
    /// Tokens of context [default: the model's own, at most 4096]
    #[arg(short = 'c', long, visible_aliases = ["num-ctx", "ctx"], env = "TINYLLM_CTX_SIZE", value_parser = clap::value_parser!(u32).range(1..))]
    ctx_size: Option<u32>,
    /// Tokens of a prefill step
    #[arg(long, visible_alias = "ubatch-size", default_value_t = EngineOptions::DEFAULT_PREFILL_CHUNK as u32, value_parser = clap::value_parser!(u32).range(1..=65536))]
    prefill_chunk: u32,
    /// Threads [default: one a core]
    #[arg(short = 't', long, env = "TINYLLM_THREADS", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
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
    /// The same with other weights, for a second model.
    pub(crate) fn with_weights(&self, weights: Option<&str>) -> Self {
        let named = weights.and_then(|name| Weights::from_str(name, true).ok());
        LoadOptions { weights: named.unwrap_or(self.weights), ..self.clone() }
    }

    /// The engine's options; `tokens` is how many the cache must hold where no context is asked for.
    fn engine_options(&self, tokens: Option<usize>, sampled_rows: usize) -> anyhow::Result<EngineOptions> {
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
            kv: self.kv.map(|kv| match kv {
                Kv::F16 => KvFormat::F16,
                Kv::Int8 => KvFormat::Int8,
                Kv::F32 => KvFormat::F32,
            }),
            group_size: self.group_size,
            context_size: self.ctx_size.map(|tokens| tokens as usize).or(tokens),
            prefill_chunk: self.prefill_chunk as usize,
            sampled_rows,
            threads: self.threads.map(|threads| threads as usize),
            mmap: self.mmap,
            isa: Isa::from_environment()?,
        })
    }

    /// Loads a model, and the record of its memory.
    pub(crate) fn load(
        &self,
        model: &Model,
        tokens: Option<usize>,
        sampled_rows: usize,
    ) -> anyhow::Result<(Engine, Arc<Tracking<Host>>)> {
        if let Some(asked) = self.ctx_size
            && let Some(tokens) = tokens
            && tokens > asked as usize
        {
            bail!("{tokens} tokens do not fit the context of {asked}; --ctx-size makes room for more");
        }
        let options = self.engine_options(tokens, sampled_rows)?;
        let tracking = Arc::new(Tracking::new(HostResource::shared()));
        let memory: HostMemory = tracking.clone();
        let progress = crate::models::progress(model.name());
        let engine = Engine::load(model.checkpoint()?, &options, &memory, &|done| {
            crate::models::advance(&progress, done.done_bytes, done.total_bytes);
        })
        .context("loading the model")?;
        progress.finish_and_clear();
        Ok((engine, tracking))
    }
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

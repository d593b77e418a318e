//! The plan of a model's layers on one device, and what all of them are planned from.

use std::{ops::Range, path::Path, sync::Arc};

use tinyllm_kernels::{Backend, Compiled, KvShape, Limits, Program, Requirements};

use super::super::{kv_cache::CacheShape, loader::TensorIndex, options::EngineOptions};
use crate::{
    ModelConfig, ModelError, Result,
    checkpoint::{Checkpoint, Storage},
    llama::{self, Formats},
};

/// What a plan is of: a checkpoint, or a configuration whose weights are in floating point.
#[derive(Clone, Copy)]
pub enum PlanSource<'a> {
    /// A checkpoint.
    Checkpoint(&'a dyn Checkpoint),
    /// A configuration without weights.
    Config(&'a ModelConfig),
}

impl<'a> PlanSource<'a> {
    /// The configuration.
    pub fn config(&self) -> &'a ModelConfig {
        match self {
            PlanSource::Checkpoint(checkpoint) => checkpoint.config(),
            PlanSource::Config(config) => config,
        }
    }

    fn path(&self) -> &'a Path {
        match self {
            PlanSource::Checkpoint(checkpoint) => checkpoint.path(),
            PlanSource::Config(_) => Path::new("config.json"),
        }
    }
}

/// Some of a model's layers on one device.
#[derive(Clone, Debug)]
pub(crate) struct StagePlan {
    /// The device's name.
    pub(crate) device: String,
    pub(crate) layers: Range<usize>,
    pub(crate) budget_bytes: Option<usize>,
    pub(crate) program: Arc<Program>,
    pub(crate) requirements: Requirements,
}

impl StagePlan {
    /// Bytes of the weights slab.
    pub(crate) fn weights_bytes(&self) -> usize {
        self.requirements.weights.iter().map(|part| part.bytes).sum()
    }

    /// Bytes that the device allocates.
    pub(crate) fn device_bytes(&self) -> usize {
        self.weights_bytes() + self.requirements.kv_bytes + self.requirements.arena.total_bytes()
    }
}

/// A model with the options it is loaded with: what the plans of its stages have in common.
pub(crate) struct Blueprint<'a> {
    config: &'a ModelConfig,
    mmap: bool,
    tensors: Option<TensorIndex<'a>>,
    formats: Formats,
    /// Of all layers.
    kv: KvShape,
    rotary: (Vec<f64>, f64),
    pub(super) cache: CacheShape,
    pub(super) limits: Limits,
}

impl<'a> Blueprint<'a> {
    /// # Errors
    /// Whatever is wrong with the options.
    pub(crate) fn new(source: PlanSource<'a>, options: &EngineOptions) -> Result<Self> {
        let config = source.config();
        let formats = Formats::new(config, options.formats());
        let kv = KvShape::new(
            config.num_hidden_layers,
            config.num_key_value_heads,
            config.head_dim,
            options.kv.block_size,
            formats.kv,
        )
        .map_err(ModelError::from)?;
        let cache = cache_shape(source.path(), config, options, &kv)?;
        // More than every sequence at its longest never comes; one token of each must fit.
        let max_tokens = options
            .prefill_chunk
            .clamp(1, cache.max_seq_len.saturating_mul(cache.max_sequences))
            .max(cache.max_sequences);
        let limits = Limits::of_tokens(max_tokens)
            .with_sampled_rows(options.sampled_rows.max(cache.max_sequences))
            .with_sequences(cache.max_sequences, cache.blocks)
            .with_sequence_blocks(cache.blocks_per_sequence());
        let rotary = config.rope.inverse_frequencies(config.head_dim, cache.max_seq_len)?;
        let (blocks, block_tokens) = (cache.blocks, cache.block_tokens);
        if blocks.checked_mul(kv.block_bytes()).is_none() {
            return Err(ModelError::TooManyBlocks { blocks, block_tokens });
        }
        let tensors = match source {
            PlanSource::Checkpoint(checkpoint) => Some(TensorIndex::new(checkpoint)),
            PlanSource::Config(_) => None,
        };
        Ok(Blueprint { config, mmap: options.mmap, tensors, formats, kv, rotary, cache, limits })
    }

    /// Layers of the model.
    pub(crate) fn layers(&self) -> usize {
        self.config.num_hidden_layers
    }

    /// The plan of some layers on a device, and what it is of: ready to be bound.
    ///
    /// # Errors
    /// Whatever is wrong with the checkpoint or the options, or what the device cannot run.
    pub(crate) fn stage(
        &self,
        backend: &dyn Backend,
        layers: Range<usize>,
    ) -> Result<(StagePlan, Box<dyn Compiled>)> {
        if self.mmap && !backend.capabilities().mapped_weights {
            return Err(ModelError::MappedWeights);
        }
        let storage_of = |name: &str| match &self.tensors {
            Some(tensors) => tensors.storage(name),
            None => Ok(Storage::Float),
        };
        let kv = self.kv.with_layers(layers.len())?;
        let rotary = self.rotary.clone();
        let program =
            llama::program(self.config, &self.formats, self.limits, kv, rotary, &storage_of, &layers)?;
        let program = Arc::new(program);
        let compiled = backend.compile(Arc::clone(&program))?;
        let requirements = compiled.requirements().clone();
        let device = backend.name().to_owned();
        Ok((StagePlan { device, layers, budget_bytes: None, program, requirements }, compiled))
    }
}

/// The cache asked for, or the model's own context up to the default.
fn cache_shape(
    path: &Path,
    config: &ModelConfig,
    options: &EngineOptions,
    kv: &KvShape,
) -> Result<CacheShape> {
    let asked = options.kv;
    let longest = config.rope.longest_context();
    if let (Some(tokens), Some(rope_limit)) = (asked.max_seq_len, longest)
        && tokens > rope_limit
    {
        let path = Some(path.to_owned());
        return Err(ModelError::ContextBeyondRope { path, tokens, rope_limit });
    }
    let own = longest.unwrap_or(config.max_position_embeddings);
    let block_tokens = asked.block_size;
    let max_sequences = asked.max_batch_size.max(1);
    let (blocks, max_seq_len) = match asked.budget_bytes {
        None => {
            let tokens = asked.max_seq_len.unwrap_or(own.min(EngineOptions::DEFAULT_CONTEXT_TOKENS)).max(1);
            let blocks = max_sequences.checked_mul(tokens.div_ceil(block_tokens));
            let overflow = ModelError::SizeOverflow { sequences: max_sequences, tokens };
            (blocks.ok_or(overflow)?, tokens)
        }
        Some(bytes) => {
            let blocks = bytes / kv.block_bytes();
            if blocks == 0 {
                let block_bytes = kv.block_bytes();
                return Err(ModelError::CacheBelowBlock { budget_bytes: bytes, block_bytes });
            }
            (blocks, asked.max_seq_len.unwrap_or(own).clamp(1, blocks.saturating_mul(block_tokens)))
        }
    };
    if u32::try_from(blocks).is_err() || u32::try_from(max_seq_len).is_err() {
        return Err(ModelError::TooManyBlocks { blocks, block_tokens });
    }
    let windows = &config.sliding_windows;
    let all = windows.len() == config.num_hidden_layers && windows.iter().all(Option::is_some);
    let window = if all { windows.iter().copied().flatten().max() } else { None };
    let vocab_size = config.vocab_size;
    Ok(CacheShape { blocks, block_tokens, max_seq_len, max_sequences, vocab_size, window })
}

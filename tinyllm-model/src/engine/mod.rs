//! A loaded model: weights, cache and arena bound to a backend, and what can be asked of it.

mod cache;
mod dequantize;
mod formats;
mod llama;
mod loader;
mod options;

use std::time::Instant;

use tinyllm_kernels::{Backend, Cpu, KvLayout, Limits, Program, Step};
use tinyllm_mem::{Buffer, Category, Host, HostMemory, MemoryResource, Plan, Request};

pub use loader::LoadProgress;
pub use options::{EmbeddingsMode, EngineOptions, GroupSizeChoice, WeightsMode};

use self::{cache::SequenceCache, formats::Formats};
use crate::{ModelConfig, ModelError, Result, checkpoint::Checkpoint, config::RopeScaling};

/// Tokens of a KV block.
const BLOCK_TOKENS: usize = 16;

/// A model ready to run. One sequence at a time: its tokens stay in the cache, and a prompt that begins with them
/// begins where they end.
pub struct Engine<B: Backend = Cpu> {
    config: ModelConfig,
    backend: B,
    prepared: B::Prepared,
    cache: SequenceCache,
    limits: Limits,
    load_time: std::time::Duration,
}

impl Engine<Cpu> {
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
        let threads = options.threads.unwrap_or_else(available_threads);
        let backend = Cpu::new(options.isa, threads)?;
        Engine::load_on(backend, checkpoint, options, memory, progress)
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
        let start = Instant::now();
        let config = checkpoint.config().clone();
        let context_tokens = context_tokens(checkpoint, options)?;
        let limits = Limits {
            max_tokens: options.prefill_chunk.clamp(1, context_tokens),
            max_sampled_rows: options.sampled_rows.max(1),
            max_sequences: 1,
        };
        let program = build_program(checkpoint, options, context_tokens, limits)?;
        let kv_blocks = context_tokens.div_ceil(BLOCK_TOKENS);
        let requirements = backend.requirements(&program);
        let align_bytes = requirements.align_bytes;

        let slab = allocate(memory, Request::slab("weights", requirements.weights.clone(), align_bytes))?;
        let kv_bytes = program.kv().bytes(kv_blocks);
        let kv = allocate(memory, Request::new(Category::Kv, "kv", kv_bytes, align_bytes))?;
        let arena_plan = Plan::pack(requirements.regions)?;
        let arena = allocate(memory, Request::slab("activations", arena_plan.parts(), align_bytes))?;

        let mut weights = backend.weights(&program, slab).map_err(ModelError::Kernel)?;
        loader::load(&backend, &mut weights, &program, checkpoint, progress)?;
        let prepared =
            backend.prepare(program, weights, kv, arena, arena_plan.offsets()).map_err(ModelError::Kernel)?;
        Ok(Engine {
            cache: SequenceCache::new(kv_blocks, BLOCK_TOKENS, context_tokens),
            config,
            backend,
            prepared,
            limits,
            load_time: start.elapsed(),
        })
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Tokens the cache has room for.
    pub fn context_size(&self) -> usize {
        self.cache.capacity()
    }

    /// Tokens in the cache now.
    pub fn cached_tokens(&self) -> &[u32] {
        self.cache.tokens()
    }

    /// How long loading took.
    pub fn load_time(&self) -> std::time::Duration {
        self.load_time
    }

    /// The logits of every position of `ids`, in order, from an empty cache: `each(position, logits)`.
    ///
    /// # Errors
    /// [`ModelError::Request`] for tokens outside the vocabulary or more than the context holds.
    pub fn logits(&mut self, ids: &[u32], each: &mut dyn FnMut(usize, &mut [f32])) -> Result<()> {
        self.clear();
        self.extend(ids, each)
    }

    /// Forgets every token.
    pub fn clear(&mut self) {
        self.cache.truncate(0);
    }

    /// Appends `ids` to the cache and hands out the logits of each: `each(position, logits)`.
    ///
    /// # Errors
    /// As [`Engine::logits`].
    pub fn extend(&mut self, ids: &[u32], each: &mut dyn FnMut(usize, &mut [f32])) -> Result<()> {
        self.check_tokens(ids, self.cache.tokens().len() + ids.len())?;
        for chunk in ids.chunks(self.limits.max_tokens) {
            let first = self.cache.tokens().len();
            let rows: Vec<u32> = (0..chunk.len() as u32).collect();
            for (batch, sampled) in rows.chunks(self.limits.max_sampled_rows).enumerate() {
                if batch == 0 {
                    self.step(chunk, sampled)?;
                } else {
                    self.head(chunk, sampled)?;
                }
                for (index, row) in sampled.iter().enumerate() {
                    each(first + *row as usize, self.backend.logits(&mut self.prepared, index));
                }
            }
        }
        Ok(())
    }

    /// Brings the cache to hold exactly `prompt`, keeping the longest common prefix, and returns the last position's
    /// logits. `continue_prefill` is asked between chunks; `None` is returned where it says no.
    ///
    /// # Errors
    /// As [`Engine::logits`].
    pub fn prefill(
        &mut self,
        prompt: &[u32],
        continue_prefill: &mut dyn FnMut() -> bool,
    ) -> Result<Option<&mut [f32]>> {
        self.check_tokens(prompt, prompt.len())?;
        // The last token runs in any case: its logits are wanted.
        let common = self.cache.common_prefix(prompt).min(prompt.len() - 1);
        self.cache.truncate(common);
        let mut rest = &prompt[common..];
        while !rest.is_empty() {
            if !continue_prefill() {
                return Ok(None);
            }
            let (chunk, later) = rest.split_at(rest.len().min(self.limits.max_tokens));
            let last = [chunk.len() as u32 - 1];
            self.step(chunk, if later.is_empty() { &last } else { &[] })?;
            rest = later;
        }
        Ok(Some(self.backend.logits(&mut self.prepared, 0)))
    }

    /// Appends one token to the cache and returns its logits.
    ///
    /// # Errors
    /// As [`Engine::logits`].
    pub fn decode(&mut self, token: u32) -> Result<&mut [f32]> {
        self.check_tokens(&[token], self.cache.tokens().len() + 1)?;
        self.step(&[token], &[0])?;
        Ok(self.backend.logits(&mut self.prepared, 0))
    }

    fn check_tokens(&self, ids: &[u32], length: usize) -> Result<()> {
        let vocab_size = self.config.vocab_size;
        if ids.is_empty() {
            return Err(ModelError::Request("no tokens to run: the prompt is empty".into()));
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocab_size) {
            return Err(ModelError::Request(format!(
                "token {id} is outside the model's vocabulary of {vocab_size}"
            )));
        }
        if length > self.context_size() {
            let rope = match self.config.rope.scaling {
                RopeScaling::Dynamic { .. } => {
                    "; dynamic-NTK RoPE is supported within the original context only"
                }
                _ => "; --ctx-size makes room for more",
            };
            return Err(ModelError::Request(format!(
                "{length} tokens do not fit the context of {}{rope}",
                self.context_size()
            )));
        }
        Ok(())
    }

    fn step(&mut self, tokens: &[u32], sampled_rows: &[u32]) -> Result<()> {
        let length = self.cache.tokens().len() + tokens.len();
        let step = Step {
            token_ids: tokens,
            query_starts: &[0, tokens.len() as u32],
            kv_lengths: &[length as u32],
            block_tables: self.cache.block_table(),
            block_table_stride: self.cache.block_table().len(),
            sampled_rows,
        };
        self.backend.run(&mut self.prepared, &step).map_err(ModelError::Kernel)?;
        self.cache.append(tokens);
        Ok(())
    }

    /// Logits of other rows of the chunk that ran last.
    fn head(&mut self, tokens: &[u32], sampled_rows: &[u32]) -> Result<()> {
        let step = Step {
            token_ids: tokens,
            query_starts: &[0, tokens.len() as u32],
            kv_lengths: &[self.cache.tokens().len() as u32],
            block_tables: self.cache.block_table(),
            block_table_stride: self.cache.block_table().len(),
            sampled_rows,
        };
        self.backend.run_head(&mut self.prepared, &step).map_err(ModelError::Kernel)
    }
}

fn allocate(
    memory: &std::sync::Arc<dyn MemoryResource<Space = Host>>,
    request: Request,
) -> Result<Buffer<u8, Host>> {
    Ok(Buffer::allocate(memory, request)?)
}

/// The context asked for, or the model's own up to the default.
fn context_tokens(checkpoint: &dyn Checkpoint, options: &EngineOptions) -> Result<usize> {
    let config = checkpoint.config();
    let longest = match config.rope.scaling {
        RopeScaling::Dynamic { original_max_position_embeddings, .. } => {
            Some(original_max_position_embeddings)
        }
        _ => None,
    };
    match (options.context_size, longest) {
        (Some(asked), Some(longest)) if asked > longest => Err(ModelError::unsupported(
            checkpoint.path(),
            "rope_scaling",
            format!("dynamic-NTK RoPE over a context of {asked} tokens"),
            format!("it runs within the original context of {longest}: pass --ctx-size {longest} or less"),
        )),
        (Some(asked), _) => Ok(asked.max(1)),
        (None, longest) => Ok(longest
            .unwrap_or(config.max_position_embeddings)
            .clamp(1, EngineOptions::DEFAULT_CONTEXT_TOKENS)),
    }
}

fn build_program(
    checkpoint: &dyn Checkpoint,
    options: &EngineOptions,
    context_tokens: usize,
    limits: Limits,
) -> Result<Program> {
    let config = checkpoint.config();
    let formats = Formats::new(config, options);
    let kv = KvLayout::new(
        config.num_hidden_layers,
        config.num_key_value_heads,
        config.head_dim,
        BLOCK_TOKENS,
        formats.kv,
    )
    .map_err(ModelError::Kernel)?;
    let rotary = config.rope.inverse_frequencies(config.head_dim, context_tokens)?;
    let tensors = loader::TensorIndex::new(checkpoint);
    llama::program(config, &formats, limits, kv, rotary, &|name| tensors.storage(name))
}

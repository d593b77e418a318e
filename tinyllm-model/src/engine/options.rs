//! What a user may choose when a model is loaded.

use std::collections::BTreeMap;

use tinyllm_kernels::{Isa, KvFormat};
use tinyllm_mem::Category;

use crate::llama::{EmbeddingsMode, FormatChoices, GroupSizeChoice, WeightsMode};

/// What a user may choose when a model is loaded.
///
/// ```
/// use tinyllm_model::engine::{EngineOptions, KvCacheConfig, WeightsMode};
/// let kv = KvCacheConfig::of_tokens(2048).with_max_batch_size(8);
/// let options = EngineOptions::default().with_weights(WeightsMode::F16).with_kv(kv).with_threads(2);
/// assert_eq!((options.kv.max_batch_size, options.threads), (8, Some(2)));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EngineOptions {
    /// Storage of weight matrices.
    pub weights: WeightsMode,
    /// Storage of the embedding table; `None`: int8 where it is tied to lm_head, else f16 (f32 in f32 mode).
    pub embeddings: Option<EmbeddingsMode>,
    /// The KV cache: its format and how much of it.
    pub kv: KvCacheConfig,
    /// Group size of weights quantised while loading.
    pub group_size: GroupSizeChoice,
    /// Tokens a prefill step takes at most.
    pub prefill_chunk: usize,
    /// Rows whose logits are computed at once: 1 for each sequence in generation, more where every position's are wanted.
    pub sampled_rows: usize,
    /// Threads; `None`: one a core.
    pub threads: Option<usize>,
    /// Use a W8A16 file's weights where they are mapped, instead of repacking them into memory.
    pub mmap: bool,
    /// The instruction set.
    pub isa: Isa,
    /// The most bytes that everything planned may take; more is refused before loading.
    pub memory_budget_bytes: Option<usize>,
    /// The same for single categories.
    pub category_budget_bytes: BTreeMap<Category, usize>,
}

/// How much the KV cache holds: by counts, or by bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KvCacheConfig {
    /// Sequences at once.
    pub max_batch_size: usize,
    /// Tokens of a sequence; `None`: the model's own, at most [`EngineOptions::DEFAULT_CONTEXT_TOKENS`].
    pub max_seq_len: Option<usize>,
    /// Tokens of a block, a multiple of 16.
    pub block_size: usize,
    /// `None`: f16 (f32 in f32 mode).
    pub format: Option<KvFormat>,
    /// `None`: room for every sequence at its longest. `Some`: as many blocks as fit these bytes, shared by all.
    pub budget_bytes: Option<usize>,
}

impl Default for KvCacheConfig {
    fn default() -> Self {
        KvCacheConfig {
            max_batch_size: 1,
            max_seq_len: None,
            block_size: 16,
            format: None,
            budget_bytes: None,
        }
    }
}

impl KvCacheConfig {
    /// One sequence of this many tokens.
    pub fn of_tokens(max_seq_len: usize) -> Self {
        KvCacheConfig { max_seq_len: Some(max_seq_len), ..Self::default() }
    }
}

impl EngineOptions {
    /// What decides the formats of weights and cache.
    pub(super) fn formats(&self) -> FormatChoices {
        FormatChoices {
            weights: self.weights,
            embeddings: self.embeddings,
            group_size: self.group_size,
            kv: self.kv.format,
            mmap: self.mmap,
        }
    }

    /// Context where none is asked for.
    pub const DEFAULT_CONTEXT_TOKENS: usize = 4096;
    /// Prefill chunk where none is asked for.
    pub const DEFAULT_PREFILL_CHUNK: usize = 512;
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            weights: WeightsMode::default(),
            embeddings: None,
            kv: KvCacheConfig::default(),
            group_size: GroupSizeChoice::default(),
            prefill_chunk: Self::DEFAULT_PREFILL_CHUNK,
            sampled_rows: 1,
            threads: None,
            mmap: false,
            isa: Isa::best(),
            memory_budget_bytes: None,
            category_budget_bytes: BTreeMap::new(),
        }
    }
}

/// Setters, for a chain that begins with a default.
impl EngineOptions {
    /// Sets [`Self::weights`].
    pub fn with_weights(mut self, weights: WeightsMode) -> Self {
        self.weights = weights;
        self
    }

    /// Sets [`Self::embeddings`].
    pub fn with_embeddings(mut self, embeddings: impl Into<Option<EmbeddingsMode>>) -> Self {
        self.embeddings = embeddings.into();
        self
    }

    /// Sets [`Self::kv`].
    pub fn with_kv(mut self, kv: KvCacheConfig) -> Self {
        self.kv = kv;
        self
    }

    /// Sets [`Self::group_size`].
    pub fn with_group_size(mut self, group_size: GroupSizeChoice) -> Self {
        self.group_size = group_size;
        self
    }

    /// Sets [`Self::prefill_chunk`].
    pub fn with_prefill_chunk(mut self, prefill_chunk: usize) -> Self {
        self.prefill_chunk = prefill_chunk;
        self
    }

    /// Sets [`Self::sampled_rows`].
    pub fn with_sampled_rows(mut self, sampled_rows: usize) -> Self {
        self.sampled_rows = sampled_rows;
        self
    }

    /// Sets [`Self::threads`].
    pub fn with_threads(mut self, threads: impl Into<Option<usize>>) -> Self {
        self.threads = threads.into();
        self
    }

    /// Sets [`Self::mmap`].
    pub fn with_mmap(mut self, mmap: bool) -> Self {
        self.mmap = mmap;
        self
    }

    /// Sets [`Self::isa`].
    pub fn with_isa(mut self, isa: Isa) -> Self {
        self.isa = isa;
        self
    }

    /// Sets [`Self::memory_budget_bytes`].
    pub fn with_memory_budget_bytes(mut self, memory_budget_bytes: impl Into<Option<usize>>) -> Self {
        self.memory_budget_bytes = memory_budget_bytes.into();
        self
    }

    /// Sets [`Self::category_budget_bytes`].
    pub fn with_category_budget_bytes(mut self, category_budget_bytes: BTreeMap<Category, usize>) -> Self {
        self.category_budget_bytes = category_budget_bytes;
        self
    }
}

/// Setters, for a chain that begins with a default.
impl KvCacheConfig {
    /// Sets [`Self::max_batch_size`].
    pub fn with_max_batch_size(mut self, max_batch_size: usize) -> Self {
        self.max_batch_size = max_batch_size;
        self
    }

    /// Sets [`Self::max_seq_len`].
    pub fn with_max_seq_len(mut self, max_seq_len: impl Into<Option<usize>>) -> Self {
        self.max_seq_len = max_seq_len.into();
        self
    }

    /// Sets [`Self::block_size`].
    pub fn with_block_size(mut self, block_size: usize) -> Self {
        self.block_size = block_size;
        self
    }

    /// Sets [`Self::format`].
    pub fn with_format(mut self, format: impl Into<Option<KvFormat>>) -> Self {
        self.format = format.into();
        self
    }

    /// Sets [`Self::budget_bytes`].
    pub fn with_budget_bytes(mut self, budget_bytes: impl Into<Option<usize>>) -> Self {
        self.budget_bytes = budget_bytes.into();
        self
    }
}

//! What a user may choose when a model is loaded.

use std::collections::BTreeMap;

use tinyllm_kernels::{GroupSize, Isa, KvFormat};
use tinyllm_mem::Category;

/// How weight matrices are stored in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightsMode {
    /// int8 with per-group scales, 16-bit activations.
    #[default]
    W8A16,
    /// IEEE half, f32 activations.
    F16,
    /// IEEE single everywhere, the KV cache included: the comparison mode.
    F32,
}

/// How the embedding table (and an lm_head that the file left in floating point) is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddingsMode {
    /// int8 with per-group scales.
    Int8,
    /// IEEE half.
    F16,
}

/// The group size of weights that are quantised while loading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupSizeChoice {
    /// 128 where it divides every input width, else the largest power of two from 32 that does, else 32.
    #[default]
    Auto,
    /// This one.
    Fixed(GroupSize),
}

/// What a user may choose when a model is loaded.
#[derive(Clone, Debug, PartialEq)]
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

//! What a user may choose when a model is loaded.

use tinyllm_kernels::{GroupSize, Isa, KvFormat};

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
    /// Storage of the KV cache; `None`: f16 (f32 in f32 mode).
    pub kv: Option<KvFormat>,
    /// Group size of weights quantised while loading.
    pub group_size: GroupSizeChoice,
    /// Tokens of context; `None`: the model's own, at most [`EngineOptions::DEFAULT_CONTEXT_TOKENS`].
    pub context_size: Option<usize>,
    /// Tokens a prefill step takes at most.
    pub prefill_chunk: usize,
    /// Rows whose logits are computed at once: 1 for generation, more where every position's are wanted.
    pub sampled_rows: usize,
    /// Threads; `None`: one a core.
    pub threads: Option<usize>,
    /// Use a W8A16 file's weights where they are mapped, instead of repacking them into memory.
    pub mmap: bool,
    /// The instruction set.
    pub isa: Isa,
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
            kv: None,
            group_size: GroupSizeChoice::default(),
            context_size: None,
            prefill_chunk: Self::DEFAULT_PREFILL_CHUNK,
            sampled_rows: 1,
            threads: None,
            mmap: false,
            isa: Isa::best(),
        }
    }
}

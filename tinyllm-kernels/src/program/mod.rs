//! A forward pass as data: operations over named regions, weights and a KV cache. No backend lives here.
//!
//! The model builds a [`Program`] once; a [`crate::Backend`] says what memory it needs, and runs it for one
//! [`Step`] after another. What varies from step to step is in the step, never in the program.

mod access;
mod builder;
mod check;
mod ids;
mod lifetimes;
mod step;

use std::sync::Arc;

use tinyllm_mem::Category;

pub use builder::ProgramBuilder;
pub(crate) use ids::ProgramId;
pub use ids::{RegionId, VectorId, WeightId};
pub use step::Step;

use crate::{KvLayout, Pieces, WeightFormat};

/// A weight matrix: `[n, k]`, n outputs and k inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightSpec {
    /// The tensor's name, for errors and reports.
    pub name: String,
    /// Outputs.
    pub n: usize,
    /// Inputs.
    pub k: usize,
    /// Format in memory.
    pub format: WeightFormat,
    /// Whether the values count as `weights` or `embeddings`.
    pub category: Category,
    /// Whether the file's own bytes are used in place (W8A16 only), or a copy in the weights slab.
    pub placement: Placement,
}

/// Where a weight's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// In the weights slab, packed as the backend likes.
    Slab,
    /// In a mapped file, row-major, as they are.
    Mapped,
}

/// A vector's element type in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VectorFormat {
    /// IEEE half.
    F16,
    /// IEEE single.
    F32,
}

impl VectorFormat {
    /// Size of an element in bytes.
    pub const fn size_bytes(self) -> usize {
        match self {
            VectorFormat::F16 => 2,
            VectorFormat::F32 => 4,
        }
    }

    /// The element type in reports.
    pub const fn name(self) -> &'static str {
        match self {
            VectorFormat::F16 => "f16",
            VectorFormat::F32 => "f32",
        }
    }
}

/// A norm's weight or a bias.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSpec {
    /// The tensor's name, for errors and reports.
    pub name: String,
    /// Elements.
    pub len: usize,
    /// Format in memory.
    pub format: VectorFormat,
    /// Whether it counts as `norms` or `weights`.
    pub category: Category,
}

/// How many rows a region has in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// One for each token of the step.
    Tokens,
    /// One for each sampled row.
    Sampled,
}

/// What a product reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputFormat {
    /// The values themselves (f32 on a CPU), for 16- and 32-bit weights.
    Float,
    /// 16-bit integers with one scale for each token and piece of inputs (f16 on a GPU).
    Int16 {
        /// Which inputs share a scale.
        pieces: Pieces,
    },
}

/// A region of the activation arena: `[rows, columns]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionSpec {
    /// The name reports show.
    pub name: String,
    /// Rows in a step.
    pub rows: Rows,
    /// Columns.
    pub columns: usize,
    /// `None`: f32 values. `Some`: a product's input in that format, no wider than it needs.
    pub input_format: Option<InputFormat>,
    /// `activations` or `logits`.
    pub category: Category,
}

/// `input · weightᵀ + bias`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Product {
    /// `[rows, k]` in the format the weight reads (see [`WeightFormat::input_format`]).
    pub input: RegionId,
    /// The matrix, `[n, k]`.
    pub weight: WeightId,
    /// `[n]`, added to each row.
    pub bias: Option<VectorId>,
}

/// One product of a fused group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearPart {
    /// What is computed.
    pub product: Product,
    /// `[rows, n]` f32.
    pub out: RegionId,
    /// Whether the product is added to `out` (the residual stream) or replaces it.
    pub accumulate: bool,
}

/// An operation. Shapes are `[rows, columns]`; rows are the step's tokens unless the region says sampled rows.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// cos and sin of each token's position: `out` is `[tokens, head_dim]`, cos in the first half, sin in the second.
    RotaryTable {
        /// `head_dim / 2` frequencies.
        inverse_frequencies: Arc<[f64]>,
        /// What cos and sin are multiplied with (YaRN's attention factor, else 1).
        scale: f64,
        /// f32.
        out: RegionId,
    },
    /// `out[t] = table[token_ids[t]]`.
    Embed {
        /// `[vocab, hidden]`.
        table: WeightId,
        /// `[tokens, hidden]` f32.
        out: RegionId,
    },
    /// `out` becomes the sampled rows of `input`.
    Gather {
        /// `[tokens, columns]` f32.
        input: RegionId,
        /// `[sampled, columns]` f32.
        out: RegionId,
    },
    /// `out = input / rms(input) * weight`. Where `out` has sampled rows and `input` has tokens, only the sampled
    /// rows are read.
    RmsNorm {
        /// f32.
        input: RegionId,
        /// `[columns]`.
        weight: VectorId,
        /// Added to the mean square.
        eps: f32,
        /// f32, or a product's input.
        out: RegionId,
    },
    /// `out` becomes `input` in a product's format.
    ConvertInput {
        /// f32.
        input: RegionId,
        /// A product's input.
        out: RegionId,
    },
    /// `region`'s f32 rows become a product's input, in place: each row keeps its stride.
    ConvertInPlace {
        /// f32 before, `format` after.
        region: RegionId,
        /// The format after.
        format: InputFormat,
    },
    /// `part.out (+)= part.product` for each part: q, k and v in one pass, or one matrix.
    Linear {
        /// At least one. Their inputs have the same rows, and are one region where they are in one format; each output is
        /// a region of its own, and no part's input.
        parts: Vec<LinearPart>,
    },
    /// `out = silu(gate) * up`. Inputs in one format are one region.
    GatedLinear {
        /// `[rows, n]`.
        gate: Product,
        /// `[rows, n]`.
        up: Product,
        /// `[rows, n]` f32.
        out: RegionId,
    },
    /// Normalises the heads of q and k where asked, rotates them, and stores k and v in the cache.
    RotateAndStore {
        /// `[tokens, heads * head_dim]` f32, rotated in place.
        q: RegionId,
        /// `[tokens, kv_heads * head_dim]` f32.
        k: RegionId,
        /// `[tokens, kv_heads * head_dim]` f32.
        v: RegionId,
        /// From [`Op::RotaryTable`].
        table: RegionId,
        /// `[head_dim]` weights for q and for k (Qwen3).
        qk_norm: Option<(VectorId, VectorId)>,
        /// The norms' epsilon.
        eps: f32,
        /// The cache's layer.
        layer: usize,
    },
    /// Causal attention over the cache: `out[t, h] = softmax(scale * q[t, h] · K) V` over the keys token t may see. Where
    /// `out` has sampled rows, only those of q are read.
    Attention {
        /// `[tokens, heads * head_dim]` f32.
        q: RegionId,
        /// The cache's layer.
        layer: usize,
        /// What scores are multiplied with.
        scale: f32,
        /// How many keys a query sees, itself included.
        window: Option<usize>,
        /// `[rows, heads * head_dim]` f32.
        out: RegionId,
    },
}

/// The most a step may hold. Memory is planned for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tokens of a step: the prefill chunk.
    pub max_tokens: usize,
    /// Rows whose logits are computed at once.
    pub max_sampled_rows: usize,
    /// Sequences of a step.
    pub max_sequences: usize,
}

/// A forward pass over named regions. Built by [`ProgramBuilder`].
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    pub(crate) id: ProgramId,
    pub(crate) limits: Limits,
    pub(crate) query_heads: usize,
    pub(crate) weights: Vec<WeightSpec>,
    pub(crate) vectors: Vec<VectorSpec>,
    pub(crate) regions: Vec<RegionSpec>,
    pub(crate) kv: KvLayout,
    pub(crate) ops: Vec<Op>,
    pub(crate) head_start: usize,
    pub(crate) logits: RegionId,
}

impl Program {
    /// The most a step may hold.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Query heads of every layer.
    pub fn query_heads(&self) -> usize {
        self.query_heads
    }

    /// The weight matrices, by [`WeightId::index`].
    pub fn weights(&self) -> &[WeightSpec] {
        &self.weights
    }

    /// The vectors, by [`VectorId::index`].
    pub fn vectors(&self) -> &[VectorSpec] {
        &self.vectors
    }

    /// The weight matrices with their ids.
    pub fn weight_ids(&self) -> impl Iterator<Item = (WeightId, &WeightSpec)> {
        self.weights.iter().enumerate().map(|(index, spec)| (WeightId::new(self.id, index), spec))
    }

    /// The vectors with their ids.
    pub fn vector_ids(&self) -> impl Iterator<Item = (VectorId, &VectorSpec)> {
        self.vectors.iter().enumerate().map(|(index, spec)| (VectorId::new(self.id, index), spec))
    }

    /// The activation regions, by [`RegionId::index`].
    pub fn regions(&self) -> &[RegionSpec] {
        &self.regions
    }

    /// The KV cache.
    pub fn kv(&self) -> &KvLayout {
        &self.kv
    }

    /// The operations in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The first operation of the head: what runs again for more sampled rows of the same step.
    pub fn head_start(&self) -> usize {
        self.head_start
    }

    /// The region of the logits, `[sampled, vocab]` f32.
    pub fn logits(&self) -> RegionId {
        self.logits
    }

    /// Rows a region has at most.
    pub fn max_rows(&self, region: &RegionSpec) -> usize {
        match region.rows {
            Rows::Tokens => self.limits.max_tokens,
            Rows::Sampled => self.limits.max_sampled_rows,
        }
    }
}

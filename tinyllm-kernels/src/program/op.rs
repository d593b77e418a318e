//! The operations, and the regions that each reads and writes.

use std::sync::Arc;

use super::{RegionId, VectorId, WeightId};

/// `input · weightᵀ + bias`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Matmul {
    /// `[rows, k]` in the format the weight reads (see [`crate::WeightFormat::input_format`]).
    pub input: RegionId,
    /// The matrix, `[n, k]`.
    pub weight: WeightId,
    /// `[n]`, added to each row.
    pub bias: Option<VectorId>,
}

impl Matmul {
    /// `input · weightᵀ`, plus a bias where there is one.
    pub fn new(input: RegionId, weight: WeightId, bias: Option<VectorId>) -> Self {
        Matmul { input, weight, bias }
    }
}

/// One matmul of a fused group.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LinearPart {
    /// The matmul.
    pub matmul: Matmul,
    /// `[rows, n]`.
    pub out: RegionId,
    /// Whether the result is added to `out` (the residual stream, f32) or replaces it.
    pub accumulate: bool,
}

impl LinearPart {
    /// `out = matmul`.
    pub fn new(matmul: Matmul, out: RegionId) -> Self {
        LinearPart { matmul, out, accumulate: false }
    }

    /// `out += matmul`.
    pub fn accumulating(matmul: Matmul, out: RegionId) -> Self {
        LinearPart { matmul, out, accumulate: true }
    }
}

/// An operation. Shapes are `[rows, columns]`; rows are the step's tokens unless the region's row set is
/// [`crate::RowSet::Sampled`]. `out` receives f32 or int16 activations, as that region's format says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// cos and sin of each token's position: `out` is `[tokens, head_dim]`, cos in the first half, sin in the second.
    RotaryTable {
        /// `head_dim / 2` frequencies.
        inverse_frequencies: Arc<[f64]>,
        /// Factor of cos and sin (YaRN's attention factor, else 1).
        scale: f64,
        /// f32.
        out: RegionId,
    },
    /// `out[t] = table[token_ids[t]]`.
    Embed {
        /// `[vocab, hidden]`.
        table: WeightId,
        /// `[tokens, hidden]`.
        out: RegionId,
    },
    /// Gathers the sampled rows of `input` in `out`.
    Gather {
        /// `[tokens, columns]` f32.
        input: RegionId,
        /// `[sampled, columns]`.
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
        /// `[rows, columns]`.
        out: RegionId,
    },
    /// `part.out (+)= part.matmul` for each part: q, k and v in one pass, or one matrix.
    Linear {
        /// At least one. Their inputs have the same row set, and are one region if they have one format; outputs are
        /// different regions, and no part's input.
        parts: Vec<LinearPart>,
    },
    /// `out = silu(gate) * up`. Inputs of one format are one region.
    SwiGluLinear {
        /// `[rows, n]`.
        gate: Matmul,
        /// `[rows, n]`.
        up: Matmul,
        /// `[rows, n]`.
        out: RegionId,
    },
    /// Normalises the heads of q and k if `qk_norm` is set, rotates them (RoPE), and writes k and v to the KV cache.
    RopeAndCacheWrite {
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
        /// The layer of the KV cache.
        layer: usize,
    },
    /// Causal attention over the KV cache: `out[t, h] = softmax(scale * q[t, h] · K) V` over the keys up to token t. If
    /// `out` has sampled rows, only those rows of q are read.
    Attention {
        /// `[tokens, heads * head_dim]` f32.
        q: RegionId,
        /// The layer of the KV cache.
        layer: usize,
        /// Factor of the scores.
        scale: f32,
        /// Sliding window: how many keys a query attends to, its own included; `None` for all.
        window: Option<usize>,
        /// `[rows, heads * head_dim]`.
        out: RegionId,
    },
}

impl Op {
    /// Every region that the operation reads, including those that it adds to or changes in place.
    pub fn reads(&self) -> Vec<RegionId> {
        match self {
            Op::RotaryTable { .. } | Op::Embed { .. } => Vec::new(),
            Op::Gather { input, .. } | Op::RmsNorm { input, .. } => vec![*input],
            Op::Linear { parts } => {
                let accumulated = parts.iter().filter(|part| part.accumulate).map(|part| part.out);
                parts.iter().map(|part| part.matmul.input).chain(accumulated).collect()
            }
            Op::SwiGluLinear { gate, up, .. } => vec![gate.input, up.input],
            Op::RopeAndCacheWrite { q, k, v, table, .. } => vec![*q, *k, *v, *table],
            Op::Attention { q, .. } => vec![*q],
        }
    }

    /// Every region that the operation writes.
    pub fn writes(&self) -> Vec<RegionId> {
        match self {
            Op::RotaryTable { out, .. }
            | Op::Embed { out, .. }
            | Op::Gather { out, .. }
            | Op::RmsNorm { out, .. }
            | Op::SwiGluLinear { out, .. }
            | Op::Attention { out, .. } => vec![*out],
            Op::Linear { parts } => parts.iter().map(|part| part.out).collect(),
            Op::RopeAndCacheWrite { q, k, .. } => vec![*q, *k],
        }
    }

    /// The regions that the operation changes in place: the thread that writes an element reads it before, and no other
    /// thread reads it.
    pub(crate) fn in_place(&self) -> Vec<RegionId> {
        match self {
            Op::Linear { parts } => {
                parts.iter().filter(|part| part.accumulate).map(|part| part.out).collect()
            }
            Op::RopeAndCacheWrite { q, k, .. } => vec![*q, *k],
            _ => Vec::new(),
        }
    }

    /// Every region the operation reads or writes.
    pub fn regions(&self) -> Vec<RegionId> {
        let mut regions = self.reads();
        regions.extend(self.writes());
        regions
    }

    /// Every matmul of the operation.
    pub(crate) fn matmuls(&self) -> Vec<&Matmul> {
        match self {
            Op::Linear { parts } => parts.iter().map(|part| &part.matmul).collect(),
            Op::SwiGluLinear { gate, up, .. } => vec![gate, up],
            _ => Vec::new(),
        }
    }

    /// Whether it needs the cache's shape or a token's position.
    pub(crate) fn needs_cache(&self) -> bool {
        matches!(self, Op::RotaryTable { .. } | Op::RopeAndCacheWrite { .. } | Op::Attention { .. })
    }
}

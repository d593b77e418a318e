//! A program: a forward pass as data, operations over named regions, weights and a KV cache. Independent of backends.
//!
//! The model builds a [`Program`] once; a [`crate::Backend`] compiles it, and a [`crate::Session`] runs its entries for
//! one [`Step`] after another. What varies between steps is in the step, not in the program.

mod builder;
mod check;
mod entry;
mod ids;
mod kv_shape;
mod lifetimes;
mod op;
mod step;

use tinyllm_mem::Category;

pub use builder::ProgramBuilder;
pub use entry::{Entry, EntryId};
pub(crate) use ids::ProgramId;
pub use ids::{RegionId, VectorId, WeightId};
pub(crate) use kv_shape::TILE_TOKENS;
pub use kv_shape::{KvFormat, KvShape};
pub use op::{LinearPart, Matmul, Op};
pub use step::{Step, StepInput};

use crate::{Pieces, WeightFormat};

/// A weight matrix: `[n, k]`, n outputs and k inputs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
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
    /// Whether a mapped file's bytes are used in place (W8A16 only), or a copy in the weights slab.
    pub placement: Placement,
}

impl WeightSpec {
    /// A `[n, k]` matrix in the weights slab.
    pub fn new(
        name: impl Into<String>,
        (n, k): (usize, usize),
        format: WeightFormat,
        category: Category,
    ) -> Self {
        WeightSpec { name: name.into(), n, k, format, category, placement: Placement::Slab }
    }

    /// The same elsewhere.
    pub fn with_placement(self, placement: Placement) -> Self {
        WeightSpec { placement, ..self }
    }
}

/// Where a weight's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// In the weights slab, in the backend's layout.
    Slab,
    /// In a mapped file, row-major, used in place.
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
#[non_exhaustive]
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

impl VectorSpec {
    /// `len` elements.
    pub fn new(name: impl Into<String>, len: usize, format: VectorFormat, category: Category) -> Self {
        VectorSpec { name: name.into(), len, format, category }
    }
}

/// Which rows a region has in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowSet {
    /// One for each token of the step.
    Tokens,
    /// One for each sampled row.
    Sampled,
}

/// The format of a region's values. Their memory layout is the backend's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegionFormat {
    /// f32 values.
    F32,
    /// The activations of W8A16: int16 values with one f32 scale for each row and piece. The operation that writes the
    /// region quantises.
    Activation16 {
        /// Which values of a row share a scale.
        pieces: Pieces,
    },
}

impl RegionFormat {
    /// The element type in reports.
    pub const fn name(self) -> &'static str {
        match self {
            RegionFormat::F32 => "f32",
            RegionFormat::Activation16 { .. } => "int16",
        }
    }
}

/// A region of the activation arena: `[rows, columns]`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RegionSpec {
    /// The name reports show.
    pub name: String,
    /// Rows in a step.
    pub rows: RowSet,
    /// Columns.
    pub columns: usize,
    /// Format of the values.
    pub format: RegionFormat,
    /// `activations` or `logits`.
    pub category: Category,
}

impl RegionSpec {
    /// f32 activations.
    pub fn activations(name: impl Into<String>, rows: RowSet, columns: usize) -> Self {
        let (name, format, category) = (name.into(), RegionFormat::F32, Category::Activations);
        RegionSpec { name, rows, columns, format, category }
    }

    /// The same region in another format.
    pub fn in_format(self, format: RegionFormat) -> Self {
        RegionSpec { format, ..self }
    }

    /// The same, counted as another category.
    pub fn in_category(self, category: Category) -> Self {
        RegionSpec { category, ..self }
    }
}

/// The largest step, and the size of the KV cache: what memory is planned for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Tokens of a step: the prefill chunk.
    pub max_tokens: usize,
    /// Sampled rows of a step: rows whose logits are computed.
    pub max_sampled_rows: usize,
    /// Sequences of a step.
    pub max_sequences: usize,
    /// Blocks of the KV cache; 0 for a program without one.
    pub cache_blocks: usize,
    /// Blocks that a sequence's table names at most.
    pub max_sequence_blocks: usize,
}

impl Limits {
    /// Steps of up to `max_tokens` tokens, without a cache or sampled rows.
    pub fn of_tokens(max_tokens: usize) -> Self {
        Limits { max_tokens, ..Limits::default() }
    }

    /// With so many sampled rows.
    pub fn with_sampled_rows(self, max_sampled_rows: usize) -> Self {
        Limits { max_sampled_rows, ..self }
    }

    /// With so many sequences, over a cache of so many blocks, which one sequence may have for itself.
    pub fn with_sequences(self, max_sequences: usize, cache_blocks: usize) -> Self {
        Limits { max_sequences, cache_blocks, max_sequence_blocks: cache_blocks, ..self }
    }

    /// With sequences of so many blocks at most.
    pub fn with_sequence_blocks(self, max_sequence_blocks: usize) -> Self {
        Limits { max_sequence_blocks, ..self }
    }
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
    pub(crate) kv: Option<KvShape>,
    pub(crate) ops: Vec<Op>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) input: Option<RegionId>,
    pub(crate) output: RegionId,
}

impl Program {
    /// The largest step, and the size of the KV cache.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Query heads of every layer; 0 without attention.
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

    /// A region.
    pub(crate) fn region(&self, region: RegionId) -> &RegionSpec {
        &self.regions[region.index()]
    }

    /// The KV cache, where there is one.
    pub fn kv(&self) -> Option<&KvShape> {
        self.kv.as_ref()
    }

    /// Bytes of the KV cache.
    pub fn kv_bytes(&self) -> usize {
        self.kv.map_or(0, |kv| kv.block_bytes() * self.limits.cache_blocks)
    }

    /// The operations in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The input region, `[tokens, columns]` f32, of a program that takes rows instead of token ids.
    pub fn input(&self) -> Option<RegionId> {
        self.input
    }

    /// The output region, f32: logits, `[sampled, vocab]`, or a residual stream.
    pub fn output(&self) -> RegionId {
        self.output
    }

    /// The vocabulary size: rows of the smallest embedding table; `None` for a program that takes rows instead of token
    /// ids.
    pub fn vocab_size(&self) -> Option<usize> {
        let rows = self.ops.iter().filter_map(|op| match op {
            Op::Embed { table, .. } => Some(self.weights[table.index()].n),
            _ => None,
        });
        rows.min()
    }

    /// The largest number of rows of a region.
    pub fn max_rows(&self, region: &RegionSpec) -> usize {
        match region.rows {
            RowSet::Tokens => self.limits.max_tokens,
            RowSet::Sampled => self.limits.max_sampled_rows,
        }
    }
}

//! Builds a [`Program`]. What it must be to be one is in `check`.

use super::{
    InputFormat, Limits, Op, Program, ProgramId, RegionId, RegionSpec, VectorId, VectorSpec, WeightId,
    WeightSpec, check,
};
use crate::{KernelError, KvLayout, WeightFormat};

impl WeightFormat {
    /// What a product with a weight of this format and `k` inputs reads.
    pub fn input_format(self, k: usize) -> InputFormat {
        match self {
            WeightFormat::W8A16 { group_size, .. } => InputFormat::Int16 { pieces: group_size.pieces(k) },
            WeightFormat::F16 | WeightFormat::F32 => InputFormat::Float,
        }
    }
}

/// Collects specs and operations in order.
#[derive(Debug)]
pub struct ProgramBuilder {
    program: Program,
    head_started: bool,
}

impl ProgramBuilder {
    /// An empty program over a cache of this layout.
    pub fn new(limits: Limits, query_heads: usize, kv: KvLayout) -> Self {
        let id = ProgramId::new();
        ProgramBuilder {
            program: Program {
                id,
                limits,
                query_heads,
                weights: Vec::new(),
                vectors: Vec::new(),
                regions: Vec::new(),
                kv,
                ops: Vec::new(),
                head_start: 0,
                logits: RegionId::new(id, 0),
            },
            head_started: false,
        }
    }

    /// Adds a weight matrix.
    pub fn weight(&mut self, spec: WeightSpec) -> WeightId {
        self.program.weights.push(spec);
        WeightId::new(self.program.id, self.program.weights.len() - 1)
    }

    /// The spec of a weight added before; `None` for another builder's.
    pub fn weight_spec(&self, weight: WeightId) -> Option<&WeightSpec> {
        weight.is_of(self.program.id).then(|| &self.program.weights[weight.index()])
    }

    /// Adds a vector.
    pub fn vector(&mut self, spec: VectorSpec) -> VectorId {
        self.program.vectors.push(spec);
        VectorId::new(self.program.id, self.program.vectors.len() - 1)
    }

    /// Adds a region.
    pub fn region(&mut self, spec: RegionSpec) -> RegionId {
        self.program.regions.push(spec);
        RegionId::new(self.program.id, self.program.regions.len() - 1)
    }

    /// Appends an operation.
    pub fn push(&mut self, op: Op) {
        self.program.ops.push(op);
    }

    /// What follows is the head: it may run again for more sampled rows.
    pub fn begin_head(&mut self) {
        self.program.head_start = self.program.ops.len();
        self.head_started = true;
    }

    /// The program, with `logits` as its result.
    ///
    /// # Errors
    /// [`KernelError::Invalid`], naming the first part that is wrong: sizes that no memory has, or the first operation
    /// whose shapes, formats or rows do not fit, or that writes where it also reads.
    pub fn finish(mut self, logits: RegionId) -> Result<Program, KernelError> {
        self.program.logits = logits;
        if !self.head_started {
            self.program.head_start = self.program.ops.len();
        }
        check::check(&self.program)?;
        Ok(self.program)
    }
}

//! Builds a [`Program`]; `check` validates it.

use std::ops::Range;

use super::{
    Entry, KvShape, Limits, Op, Program, ProgramId, RegionFormat, RegionId, RegionSpec, VectorId, VectorSpec,
    WeightId, WeightSpec, check,
};
use crate::{KernelError, WeightFormat};

impl WeightFormat {
    /// The input format of a matmul with a weight of this format and `k` inputs.
    pub fn input_format(self, k: usize) -> RegionFormat {
        match self {
            WeightFormat::W8A16 { group_size, .. } => {
                RegionFormat::Activation16 { pieces: group_size.pieces(k) }
            }
            WeightFormat::F16 | WeightFormat::F32 => RegionFormat::F32,
        }
    }
}

/// Collects specs and operations in order.
#[derive(Debug)]
pub struct ProgramBuilder {
    program: Program,
}

impl ProgramBuilder {
    /// An empty program.
    pub fn new(limits: Limits) -> Self {
        let id = ProgramId::new();
        ProgramBuilder {
            program: Program {
                id,
                limits,
                query_heads: 0,
                weights: Vec::new(),
                vectors: Vec::new(),
                regions: Vec::new(),
                kv: None,
                ops: Vec::new(),
                entries: Vec::new(),
                input: None,
                output: RegionId::new(id, 0),
            },
        }
    }

    /// The same builder with attention: `query_heads` query heads in every layer, over a KV cache of this shape.
    pub fn with_cache(mut self, query_heads: usize, kv: KvShape) -> Self {
        (self.program.query_heads, self.program.kv) = (query_heads, Some(kv));
        self
    }

    /// Adds a weight matrix.
    pub fn weight(&mut self, spec: WeightSpec) -> WeightId {
        self.program.weights.push(spec);
        WeightId::new(self.program.id, self.program.weights.len() - 1)
    }

    /// The spec of a weight; `None` for a weight of another builder.
    pub fn weight_spec(&self, weight: WeightId) -> Option<&WeightSpec> {
        weight.is_of(self.program.id).then(|| &self.program.weights[weight.index()])
    }

    /// The input format of a matmul with a weight; `None` for a weight of another builder.
    pub fn input_format(&self, weight: WeightId) -> Option<RegionFormat> {
        self.weight_spec(weight).map(|spec| spec.format.input_format(spec.k))
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

    /// Adds the program's input region, for rows instead of token ids: f32, written before a step.
    pub fn input(&mut self, spec: RegionSpec) -> RegionId {
        let region = self.region(spec);
        self.program.input = Some(region);
        region
    }

    /// Appends an operation.
    pub fn push(&mut self, op: Op) {
        self.program.ops.push(op);
    }

    /// Number of operations so far: where an entry may begin or end.
    pub fn position(&self) -> usize {
        self.program.ops.len()
    }

    /// Adds an entry: a named range of operations, which may be pushed later.
    pub fn entry(&mut self, name: &'static str, operations: Range<usize>) {
        self.program.entries.push(Entry { name, operations });
    }

    /// The program, with `output` as its output region. Without entries it gets one, `forward`, of all operations.
    ///
    /// # Errors
    /// [`KernelError::Invalid`], naming the first part that is wrong: sizes that no memory has, an operation whose
    /// shapes, formats or rows do not fit, that writes a region that it also reads, or that reads a region that no
    /// operation wrote.
    pub fn finish(mut self, output: RegionId) -> Result<Program, KernelError> {
        self.program.output = output;
        if self.program.entries.is_empty() {
            self.entry("forward", 0..self.position());
        }
        check::check(&self.program)?;
        Ok(self.program)
    }
}

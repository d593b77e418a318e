//! Builds a [`Program`] and checks every shape once, so that backends can trust it.

use super::{
    InputFormat, Limits, Op, Product, Program, RegionId, RegionSpec, Rows, VectorId, VectorSpec, WeightId,
    WeightSpec,
};
use crate::{KernelError, KvLayout, WeightFormat};

impl WeightFormat {
    /// What a product with a weight of this format and `k` inputs reads.
    pub fn input_format(self, k: usize) -> InputFormat {
        match self {
            WeightFormat::W8A16 { group_size, .. } => InputFormat::Int16 { piece: group_size.piece(k) },
            WeightFormat::F16 | WeightFormat::F32 => InputFormat::Float,
        }
    }
}

/// Collects specs and operations in order.
#[derive(Clone, Debug)]
pub struct ProgramBuilder {
    program: Program,
    head_started: bool,
}

impl ProgramBuilder {
    /// An empty program over a cache of this layout.
    pub fn new(limits: Limits, query_heads: usize, kv: KvLayout) -> Self {
        ProgramBuilder {
            program: Program {
                limits,
                query_heads,
                weights: Vec::new(),
                vectors: Vec::new(),
                regions: Vec::new(),
                kv,
                ops: Vec::new(),
                head_start: 0,
                logits: RegionId(0),
            },
            head_started: false,
        }
    }

    /// Adds a weight matrix.
    pub fn weight(&mut self, spec: WeightSpec) -> WeightId {
        self.program.weights.push(spec);
        WeightId(self.program.weights.len() - 1)
    }

    /// The spec of a weight added before.
    pub fn weight_spec(&self, weight: WeightId) -> &WeightSpec {
        &self.program.weights[weight.0]
    }

    /// Adds a vector.
    pub fn vector(&mut self, spec: VectorSpec) -> VectorId {
        self.program.vectors.push(spec);
        VectorId(self.program.vectors.len() - 1)
    }

    /// Adds a region.
    pub fn region(&mut self, spec: RegionSpec) -> RegionId {
        self.program.regions.push(spec);
        RegionId(self.program.regions.len() - 1)
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
    /// [`KernelError::Invalid`], naming the first operation whose shapes or formats do not fit.
    pub fn finish(mut self, logits: RegionId) -> Result<Program, KernelError> {
        self.program.logits = logits;
        if !self.head_started {
            self.program.head_start = self.program.ops.len();
        }
        let mut formats: Vec<Option<InputFormat>> =
            self.program.regions.iter().map(|region| region.input_format).collect();
        for spec in &self.program.weights {
            if let WeightFormat::W8A16 { group_size, .. } = spec.format
                && !group_size.is_runnable(spec.k)
            {
                let problem = format!("{}: {group_size:?} over {} inputs cannot run", spec.name, spec.k);
                return Err(KernelError::Invalid { what: "group size", problem });
            }
        }
        for (index, op) in self.program.ops.iter().enumerate() {
            let checker = Checker { program: &self.program, formats: &mut formats, index };
            checker.check(op)?;
        }
        Ok(self.program)
    }
}

/// Follows the formats of the regions through the operations.
struct Checker<'a> {
    program: &'a Program,
    formats: &'a mut [Option<InputFormat>],
    index: usize,
}

impl Checker<'_> {
    fn require(&self, holds: bool, problem: impl FnOnce() -> String) -> Result<(), KernelError> {
        if holds {
            return Ok(());
        }
        Err(KernelError::Invalid {
            what: "program",
            problem: format!("operation {}: {}", self.index, problem()),
        })
    }

    fn columns(&self, region: RegionId) -> usize {
        self.program.regions[region.0].columns
    }

    fn rows(&self, region: RegionId) -> Rows {
        self.program.regions[region.0].rows
    }

    fn gathers(&self, input: RegionId, out: RegionId) -> bool {
        self.rows(input) == Rows::Tokens && self.rows(out) == Rows::Sampled
    }

    /// `out` has the rows of `input`, or gathers them.
    fn require_rows(&self, input: RegionId, out: RegionId) -> Result<(), KernelError> {
        self.require(self.gathers(input, out) || self.rows(input) == self.rows(out), || "rows differ".into())
    }

    fn float(&self, region: RegionId, columns: usize) -> Result<(), KernelError> {
        let spec = &self.program.regions[region.0];
        self.require(spec.columns == columns && self.formats[region.0].is_none(), || {
            format!(
                "{} must hold {columns} f32 columns, holds {} ({:?})",
                spec.name, spec.columns, self.formats[region.0]
            )
        })
    }

    fn vector(&self, vector: VectorId, len: usize) -> Result<(), KernelError> {
        let spec = &self.program.vectors[vector.0];
        self.require(spec.len == len, || format!("{} has {} elements, not {len}", spec.name, spec.len))
    }

    fn product(&self, product: &Product, out: RegionId) -> Result<(), KernelError> {
        let weight = &self.program.weights[product.weight.0];
        let input = product.input;
        self.require(self.columns(input) == weight.k, || {
            format!("{} has {} inputs, its input {}", weight.name, weight.k, self.columns(input))
        })?;
        let wanted = weight.format.input_format(weight.k);
        let found = self.formats[input.0].unwrap_or(InputFormat::Float);
        self.require(wanted == found, || {
            format!("{} reads {wanted:?}, its input holds {found:?}", weight.name)
        })?;
        self.require(self.rows(input) == self.rows(out), || format!("{}: rows differ", weight.name))?;
        self.float(out, weight.n)?;
        product.bias.map_or(Ok(()), |bias| self.vector(bias, weight.n))
    }

    fn check(self, op: &Op) -> Result<(), KernelError> {
        let kv = &self.program.kv;
        let (head_dim, query_columns) = (kv.head_dim(), self.program.query_heads * kv.head_dim());
        let key_columns = kv.kv_heads() * head_dim;
        match op {
            Op::RotaryTable { inverse_frequencies, out, .. } => {
                self.require(2 * inverse_frequencies.len() == head_dim, || {
                    "frequencies of half a head".into()
                })?;
                self.float(*out, head_dim)
            }
            Op::Embed { table, out } => self.float(*out, self.program.weights[table.0].k),
            Op::Gather { input, out } => {
                self.float(*input, self.columns(*out))?;
                self.float(*out, self.columns(*out))?;
                self.require(self.gathers(*input, *out), || "not from tokens to sampled rows".into())
            }
            Op::RmsNorm { input, weight, out, .. } => {
                self.float(*input, self.columns(*out))?;
                self.require_rows(*input, *out)?;
                self.vector(*weight, self.columns(*input))
            }
            Op::ConvertInput { input, out } => {
                self.float(*input, self.columns(*out))?;
                let converts = self.program.regions[out.0].input_format.is_some();
                self.require(converts && self.rows(*input) == self.rows(*out), || "not a conversion".into())
            }
            Op::ConvertInPlace { region, format } => {
                self.float(*region, self.columns(*region))?;
                self.formats[region.0] = Some(*format);
                Ok(())
            }
            Op::Linear { parts } => {
                parts.iter().try_for_each(|part| self.product(&part.product, part.out))?;
                self.release(parts.iter().map(|part| part.product.input));
                Ok(())
            }
            Op::GatedLinear { gate, up, out } => {
                self.product(gate, *out)?;
                self.product(up, *out)?;
                self.release([gate.input, up.input]);
                Ok(())
            }
            Op::RotateAndStore { q, k, v, table, qk_norm, layer, .. } => {
                self.float(*q, query_columns)?;
                self.float(*k, key_columns)?;
                self.float(*v, key_columns)?;
                self.float(*table, head_dim)?;
                self.require(*layer < kv.layers(), || format!("layer {layer} of {}", kv.layers()))?;
                qk_norm.map_or(Ok(()), |(q, k)| self.vector(q, head_dim).and(self.vector(k, head_dim)))
            }
            Op::Attention { q, layer, window, out, .. } => {
                self.float(*q, query_columns)?;
                self.float(*out, query_columns)?;
                self.require_rows(*q, *out)?;
                self.require(*layer < kv.layers() && *window != Some(0), || {
                    format!("layer {layer}, {window:?}")
                })
            }
        }
    }

    /// A region converted in place is f32 again once its product has read it.
    fn release(self, regions: impl IntoIterator<Item = RegionId>) {
        for region in regions {
            self.formats[region.0] = self.program.regions[region.0].input_format;
        }
    }
}

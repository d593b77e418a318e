//! What a program must be, checked once and for all when it is built. Backends lean on every rule here, and kernels with
//! them: shapes and formats that fit, rows that a step has, and no operation that reads what another thread writes.

use super::{InputFormat, Op, Product, Program, RegionId, Rows, VectorId};
use crate::{KernelError, WeightFormat, format::MAX_PIECES};

/// The largest dimension of anything: rows, columns, heads.
const MAX_DIMENSION: usize = 1 << 31;

/// Elements of everything together at most. A backend's bytes for an element, with padding and with a copy for each
/// thread, stay far below what would overflow.
const MAX_ELEMENTS: usize = 1 << 48;

/// Checks a whole program.
///
/// # Errors
/// [`KernelError::Invalid`], naming the first part that is wrong.
pub(super) fn check(program: &Program) -> Result<(), KernelError> {
    Sizes::default().check(program)?;
    for spec in &program.weights {
        if let WeightFormat::W8A16 { group_size, .. } = spec.format
            && !group_size.is_runnable(spec.k)
        {
            let problem = format!("{}: {group_size:?} over {} inputs cannot run", spec.name, spec.k);
            return Err(KernelError::Invalid { what: "group size", problem });
        }
    }
    let kv_heads = program.kv.kv_heads();
    if !program.query_heads.is_multiple_of(kv_heads) {
        let problem = format!("{} over {kv_heads} key/value heads", program.query_heads);
        return Err(KernelError::Invalid { what: "query heads", problem });
    }
    let formats = program.regions.iter().map(|region| region.input_format).collect();
    let mut checker = Checker { program, formats, index: 0 };
    for (index, op) in program.ops.iter().enumerate() {
        checker.index = index;
        checker.ids(op)?;
        checker.aliasing(op)?;
        checker.shapes(op)?;
    }
    checker.head()?;
    let logits = program.logits;
    if !logits.is_of(program.id) {
        return invalid("logits", "no region of this program".into());
    }
    let spec = &program.regions[logits.index()];
    if spec.input_format.is_some() || checker.formats[logits.index()].is_some() {
        return invalid("logits", format!("{} does not hold f32", spec.name));
    }
    Ok(())
}

fn invalid<T>(what: &'static str, problem: String) -> Result<T, KernelError> {
    Err(KernelError::Invalid { what, problem })
}

/// Sums up the elements of a program.
#[derive(Default)]
struct Sizes {
    elements: usize,
}

impl Sizes {
    fn check(mut self, program: &Program) -> Result<(), KernelError> {
        let limits = program.limits;
        self.add("step", &[limits.max_tokens.max(limits.max_sampled_rows).max(limits.max_sequences)])?;
        self.add("query heads", &[program.query_heads, program.kv.head_dim()])?;
        for spec in &program.weights {
            // Rows are padded to whole panels.
            self.add(&spec.name, &[spec.n.max(32), spec.k.max(1)])?;
        }
        for spec in &program.vectors {
            self.add(&spec.name, &[spec.len])?;
        }
        for spec in &program.regions {
            if let Some(InputFormat::Int16 { pieces }) = spec.input_format {
                check_pieces(&spec.name, pieces.count(spec.columns))?;
            }
            self.add(&spec.name, &[program.max_rows(spec).max(1), spec.columns])?;
        }
        Ok(())
    }

    fn add(&mut self, name: &str, dimensions: &[usize]) -> Result<(), KernelError> {
        let elements = dimensions.iter().try_fold(1usize, |elements, dimension| {
            elements.checked_mul(*dimension).filter(|_| *dimension <= MAX_DIMENSION)
        });
        match elements.and_then(|elements| self.elements.checked_add(elements)) {
            Some(sum) if sum <= MAX_ELEMENTS => {
                self.elements = sum;
                Ok(())
            }
            _ => invalid("size", format!("{name}: {dimensions:?} elements are more than any memory holds")),
        }
    }
}

fn check_pieces(name: &str, count: usize) -> Result<(), KernelError> {
    if count <= MAX_PIECES {
        return Ok(());
    }
    invalid("input format", format!("{name}: {count} pieces in a row, at most {MAX_PIECES}"))
}

/// Follows the formats of the regions through the operations.
struct Checker<'a> {
    program: &'a Program,
    formats: Vec<Option<InputFormat>>,
    index: usize,
}

impl Checker<'_> {
    fn require(&self, holds: bool, problem: impl FnOnce() -> String) -> Result<(), KernelError> {
        if holds {
            return Ok(());
        }
        invalid("program", format!("operation {}: {}", self.index, problem()))
    }

    fn name(&self, region: RegionId) -> &str {
        &self.program.regions[region.index()].name
    }

    fn columns(&self, region: RegionId) -> usize {
        self.program.regions[region.index()].columns
    }

    fn rows(&self, region: RegionId) -> Rows {
        self.program.regions[region.index()].rows
    }

    /// Every weight, vector and region that an operation names is this program's.
    fn ids(&self, op: &Op) -> Result<(), KernelError> {
        let (mut weights, mut vectors) = (Vec::new(), Vec::new());
        let mut product = |product: &Product| {
            weights.push(product.weight);
            vectors.extend(product.bias);
        };
        match op {
            Op::Linear { parts } => parts.iter().for_each(|part| product(&part.product)),
            Op::GatedLinear { gate, up, .. } => [gate, up].into_iter().for_each(product),
            Op::Embed { table, .. } => weights.push(*table),
            Op::RmsNorm { weight, .. } => vectors.push(*weight),
            Op::RotateAndStore { qk_norm: Some((q, k)), .. } => vectors.extend([*q, *k]),
            _ => {}
        }
        let program = self.program.id;
        let known = weights.iter().all(|id| id.is_of(program))
            && vectors.iter().all(|id| id.is_of(program))
            && op.regions().iter().all(|id| id.is_of(program));
        self.require(known, || "names a weight, vector or region that the program does not have".into())
    }

    /// What is written is written once, and read by nobody else in the same operation: threads run it side by side.
    fn aliasing(&self, op: &Op) -> Result<(), KernelError> {
        let (mut reads, writes) = (op.reads(), op.writes());
        for region in op.in_place() {
            if let Some(own) = reads.iter().position(|read| *read == region) {
                reads.swap_remove(own);
            }
        }
        for (index, out) in writes.iter().enumerate() {
            self.require(!writes[..index].contains(out), || format!("writes {} twice", self.name(*out)))?;
            self.require(!reads.contains(out), || format!("writes {}, which it reads", self.name(*out)))?;
        }
        Ok(())
    }

    fn require_rows(&self, region: RegionId, rows: Rows) -> Result<(), KernelError> {
        self.require(self.rows(region) == rows, || {
            format!("{} has {:?} rows, not {rows:?}", self.name(region), self.rows(region))
        })
    }

    fn gathers(&self, input: RegionId, out: RegionId) -> bool {
        self.rows(input) == Rows::Tokens && self.rows(out) == Rows::Sampled
    }

    /// `out` has the rows of `input`, or gathers them.
    fn require_rows_of(&self, input: RegionId, out: RegionId) -> Result<(), KernelError> {
        self.require(self.gathers(input, out) || self.rows(input) == self.rows(out), || {
            format!("{} and {} differ in rows", self.name(input), self.name(out))
        })
    }

    fn float(&self, region: RegionId, columns: usize) -> Result<(), KernelError> {
        let spec = &self.program.regions[region.index()];
        self.require(spec.columns == columns && self.formats[region.index()].is_none(), || {
            format!(
                "{} must hold {columns} f32 columns, holds {} ({:?})",
                spec.name,
                spec.columns,
                self.formats[region.index()]
            )
        })
    }

    /// `out` is free for rows as wide as `input`'s, f32 or in its own format.
    fn converted(&self, input: RegionId, out: RegionId) -> Result<(), KernelError> {
        self.float(input, self.columns(out))?;
        let waits = self.formats[out.index()] != self.program.regions[out.index()].input_format;
        self.require(!waits, || format!("{} was converted in place, and nothing has read it", self.name(out)))
    }

    fn vector(&self, vector: VectorId, len: usize) -> Result<(), KernelError> {
        let spec = &self.program.vectors[vector.index()];
        self.require(spec.len == len, || format!("{} has {} elements, not {len}", spec.name, spec.len))
    }

    fn product(&self, product: &Product, out: RegionId) -> Result<(), KernelError> {
        let weight = &self.program.weights[product.weight.index()];
        let input = product.input;
        self.require(self.columns(input) == weight.k, || {
            format!("{} has {} inputs, its input {}", weight.name, weight.k, self.columns(input))
        })?;
        let wanted = self.reads(product);
        let found = self.formats[input.index()].unwrap_or(InputFormat::Float);
        self.require(wanted == found, || {
            format!("{} reads {wanted:?}, its input holds {found:?}", weight.name)
        })?;
        self.require(self.rows(input) == self.rows(out), || format!("{}: rows differ", weight.name))?;
        self.float(out, weight.n)?;
        product.bias.map_or(Ok(()), |bias| self.vector(bias, weight.n))
    }

    /// The format of input that a product reads.
    fn reads(&self, product: &Product) -> InputFormat {
        let weight = &self.program.weights[product.weight.index()];
        weight.format.input_format(weight.k)
    }

    /// The products of one operation are computed side by side: from the same rows, and from one input where they read
    /// the same format.
    fn fused<'p>(&self, mut products: impl Iterator<Item = &'p Product> + Clone) -> Result<(), KernelError> {
        let Some(first) = products.next() else {
            return self.require(false, || "no part".into());
        };
        let mut known = vec![first];
        for product in products {
            self.require_rows(product.input, self.rows(first.input))?;
            let alike = known.iter().find(|other| self.reads(other) == self.reads(product));
            self.require(alike.is_none_or(|other| other.input == product.input), || {
                "parts that read one format have different inputs".into()
            })?;
            known.push(product);
        }
        Ok(())
    }

    fn layer(&self, layer: usize) -> Result<(), KernelError> {
        let layers = self.program.kv.layers();
        self.require(layer < layers, || format!("layer {layer} of {layers}"))
    }

    fn shapes(&mut self, op: &Op) -> Result<(), KernelError> {
        let kv = &self.program.kv;
        let (head_dim, query_columns) = (kv.head_dim(), self.program.query_heads * kv.head_dim());
        let key_columns = kv.kv_heads() * head_dim;
        match op {
            Op::RotaryTable { inverse_frequencies, out, .. } => {
                self.require(2 * inverse_frequencies.len() == head_dim, || {
                    "frequencies of half a head".into()
                })?;
                self.require_rows(*out, Rows::Tokens)?;
                self.float(*out, head_dim)
            }
            Op::Embed { table, out } => {
                self.require_rows(*out, Rows::Tokens)?;
                self.float(*out, self.program.weights[table.index()].k)
            }
            Op::Gather { input, out } => {
                self.float(*input, self.columns(*out))?;
                self.float(*out, self.columns(*out))?;
                self.require(self.gathers(*input, *out), || "not from tokens to sampled rows".into())
            }
            Op::RmsNorm { input, weight, out, .. } => {
                self.converted(*input, *out)?;
                self.require_rows_of(*input, *out)?;
                self.vector(*weight, self.columns(*input))
            }
            Op::ConvertInput { input, out } => {
                self.converted(*input, *out)?;
                let converts = self.program.regions[out.index()].input_format.is_some();
                self.require(converts && self.rows(*input) == self.rows(*out), || "not a conversion".into())
            }
            Op::ConvertInPlace { region, format } => {
                self.float(*region, self.columns(*region))?;
                if let InputFormat::Int16 { pieces } = format {
                    check_pieces(self.name(*region), pieces.count(self.columns(*region)))?;
                }
                self.formats[region.index()] = Some(*format);
                Ok(())
            }
            Op::Linear { parts } => {
                self.fused(parts.iter().map(|part| &part.product))?;
                parts.iter().try_for_each(|part| self.product(&part.product, part.out))?;
                self.release(parts.iter().map(|part| part.product.input));
                Ok(())
            }
            Op::GatedLinear { gate, up, out } => {
                self.fused([gate, up].into_iter())?;
                self.product(gate, *out)?;
                self.product(up, *out)?;
                self.release([gate.input, up.input]);
                Ok(())
            }
            Op::RotateAndStore { q, k, v, table, qk_norm, layer, .. } => {
                for (region, columns) in
                    [(q, query_columns), (k, key_columns), (v, key_columns), (table, head_dim)]
                {
                    self.require_rows(*region, Rows::Tokens)?;
                    self.float(*region, columns)?;
                }
                self.layer(*layer)?;
                qk_norm.map_or(Ok(()), |(q, k)| self.vector(q, head_dim).and(self.vector(k, head_dim)))
            }
            Op::Attention { q, layer, window, out, .. } => {
                self.require(query_columns > 0, || "no query heads".into())?;
                self.require_rows(*q, Rows::Tokens)?;
                self.float(*q, query_columns)?;
                self.float(*out, query_columns)?;
                self.layer(*layer)?;
                self.require(*window != Some(0), || "a window of no keys".into())
            }
        }
    }

    /// A region converted in place is f32 again once its product has read it.
    fn release(&mut self, regions: impl IntoIterator<Item = RegionId>) {
        for region in regions {
            self.formats[region.index()] = self.program.regions[region.index()].input_format;
        }
    }

    /// The head runs again for other rows of a step: it finds what it begins with as it was.
    fn head(&mut self) -> Result<(), KernelError> {
        let head = self.program.ops.iter().enumerate().skip(self.program.head_start);
        let (mut written, mut found) = (Vec::new(), Vec::new());
        for (index, op) in head {
            self.index = index;
            found.extend(op.reads().into_iter().filter(|region| !written.contains(region)));
            let writes = op.writes();
            if let Some(region) = writes.iter().find(|region| found.contains(region)) {
                return self.require(false, || {
                    format!("the head runs again, and changes {}, which it begins with", self.name(*region))
                });
            }
            written.extend(writes);
        }
        Ok(())
    }
}

//! Validates a program when it is built. Backends and their kernels rely on every rule here, for memory safety too:
//! shapes and formats that fit, rows that a step has, and no operation that reads what another thread writes.

use super::{Matmul, Op, Program, RegionFormat, RegionId, RowSet, VectorId};
use crate::{KernelError, WeightFormat, format::MAX_PIECES};

/// The largest dimension: rows, columns or heads.
const MAX_DIMENSION: usize = 1 << 31;

/// Elements of a whole program at most: bytes do not overflow, with a backend's bytes per element, padding and copies
/// for each thread.
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
    let kv_heads = program.kv.map_or(1, |kv| kv.kv_heads());
    if !program.query_heads.is_multiple_of(kv_heads) {
        let problem = format!("{} over {kv_heads} key/value heads", program.query_heads);
        return Err(KernelError::Invalid { what: "query heads", problem });
    }
    Entries { program }.check()?;
    for (what, region) in [("input", program.input), ("output", Some(program.output))] {
        let Some(region) = region else { continue };
        if !region.is_of(program.id) || region.index() >= program.regions.len() {
            return invalid(what, "no region of this program".into());
        }
        if what == "output" && program.region(region).format != RegionFormat::F32 {
            return invalid(what, format!("{} does not hold f32", program.region(region).name));
        }
    }
    let mut checker = Checker { program, index: 0 };
    for (index, op) in program.ops.iter().enumerate() {
        checker.index = index;
        checker.ids(op)?;
        checker.aliasing(op)?;
        checker.shapes(op)?;
    }
    checker.entries()?;
    checker.data_flow()
}

fn invalid<T>(what: &'static str, problem: String) -> Result<T, KernelError> {
    Err(KernelError::Invalid { what, problem })
}

/// Sums the elements of a program.
#[derive(Default)]
struct Sizes {
    elements: usize,
}

impl Sizes {
    fn check(mut self, program: &Program) -> Result<(), KernelError> {
        let limits = program.limits;
        self.add("step", &[limits.max_tokens.max(limits.max_sampled_rows).max(limits.max_sequences)])?;
        self.add("query heads", &[program.query_heads, program.kv.map_or(1, |kv| kv.head_dim())])?;
        let (blocks, block_bytes) = (limits.cache_blocks, program.kv.map_or(0, |kv| kv.block_bytes()));
        if blocks > 0 && block_bytes == 0 {
            return invalid("KV cache", format!("{blocks} blocks without a shape"));
        }
        if blocks.checked_mul(block_bytes).is_none_or(|bytes| bytes > MAX_ELEMENTS) {
            return invalid(
                "KV cache",
                format!("{blocks} blocks of {block_bytes} bytes are more than any memory holds"),
            );
        }
        for spec in &program.weights {
            // A backend may pad outputs to whole panels.
            self.add(&spec.name, &[spec.n.max(32), spec.k.max(1)])?;
        }
        for spec in &program.vectors {
            self.add(&spec.name, &[spec.len])?;
        }
        for spec in &program.regions {
            if let RegionFormat::Activation16 { pieces } = spec.format {
                let count = pieces.count(spec.columns);
                if count > MAX_PIECES {
                    let problem = format!("{}: {count} pieces in a row, at most {MAX_PIECES}", spec.name);
                    return invalid("region format", problem);
                }
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

/// Checks that entries are ranges of the operations, with different names.
struct Entries<'a> {
    program: &'a Program,
}

impl Entries<'_> {
    fn check(&self) -> Result<(), KernelError> {
        let entries = &self.program.entries;
        for (index, entry) in entries.iter().enumerate() {
            let operations = &entry.operations;
            if operations.start > operations.end || operations.end > self.program.ops.len() {
                let problem = format!("{}: {operations:?} of {}", entry.name, self.program.ops.len());
                return invalid("entry", problem);
            }
            if entries[..index].iter().any(|other| other.name == entry.name) {
                return invalid("entry", format!("{} is there twice", entry.name));
            }
        }
        Ok(())
    }
}

/// Checks operations one at a time.
struct Checker<'a> {
    program: &'a Program,
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
        &self.program.region(region).name
    }

    fn columns(&self, region: RegionId) -> usize {
        self.program.region(region).columns
    }

    fn rows(&self, region: RegionId) -> RowSet {
        self.program.region(region).rows
    }

    /// Every weight, vector and region of an operation is this program's.
    fn ids(&self, op: &Op) -> Result<(), KernelError> {
        let (mut weights, mut vectors) = (Vec::new(), Vec::new());
        for matmul in op.matmuls() {
            weights.push(matmul.weight);
            vectors.extend(matmul.bias);
        }
        match op {
            Op::Embed { table, .. } => weights.push(*table),
            Op::RmsNorm { weight, .. } => vectors.push(*weight),
            Op::RopeAndCacheWrite { qk_norm: Some((q, k)), .. } => vectors.extend([*q, *k]),
            _ => {}
        }
        let program = self.program.id;
        let known = weights.iter().all(|id| id.is_of(program))
            && vectors.iter().all(|id| id.is_of(program))
            && op.regions().iter().all(|id| id.is_of(program));
        self.require(known, || "names a weight, vector or region that the program does not have".into())
    }

    /// An operation writes a region once, and does not read it unless in place: threads run an operation concurrently.
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

    fn require_rows(&self, region: RegionId, rows: RowSet) -> Result<(), KernelError> {
        self.require(self.rows(region) == rows, || {
            format!("{} has {:?} rows, not {rows:?}", self.name(region), self.rows(region))
        })
    }

    fn gathers(&self, input: RegionId, out: RegionId) -> bool {
        self.rows(input) == RowSet::Tokens && self.rows(out) == RowSet::Sampled
    }

    /// `out` has the rows of `input`, or gathers them.
    fn require_rows_of(&self, input: RegionId, out: RegionId) -> Result<(), KernelError> {
        self.require(self.gathers(input, out) || self.rows(input) == self.rows(out), || {
            format!("{} and {} differ in rows", self.name(input), self.name(out))
        })
    }

    fn width(&self, region: RegionId, columns: usize) -> Result<(), KernelError> {
        self.require(self.columns(region) == columns, || {
            format!("{} must hold {columns} columns, holds {}", self.name(region), self.columns(region))
        })
    }

    /// Checks that a region is f32 with `columns` columns.
    fn float(&self, region: RegionId, columns: usize) -> Result<(), KernelError> {
        self.width(region, columns)?;
        let format = self.program.region(region).format;
        self.require(format == RegionFormat::F32, || {
            format!("{} must hold f32, holds {format:?}", self.name(region))
        })
    }

    fn vector(&self, vector: VectorId, len: usize) -> Result<(), KernelError> {
        let spec = &self.program.vectors[vector.index()];
        self.require(spec.len == len, || format!("{} has {} elements, not {len}", spec.name, spec.len))
    }

    fn matmul(&self, matmul: &Matmul, out: RegionId) -> Result<(), KernelError> {
        let weight = &self.program.weights[matmul.weight.index()];
        let input = self.program.region(matmul.input);
        self.require(input.columns == weight.k, || {
            format!("{} has {} inputs, its input {}", weight.name, weight.k, input.columns)
        })?;
        let wanted = weight.format.input_format(weight.k);
        self.require(wanted == input.format, || {
            format!("{} reads {wanted:?}, its input holds {:?}", weight.name, input.format)
        })?;
        self.require(input.rows == self.rows(out), || format!("{}: rows differ", weight.name))?;
        self.width(out, weight.n)?;
        matmul.bias.map_or(Ok(()), |bias| self.vector(bias, weight.n))
    }

    /// The matmuls of one operation are computed in one pass: they have one row set, and one input region if their
    /// input formats are the same.
    fn fused(&self, matmuls: &[&Matmul]) -> Result<(), KernelError> {
        let Some(first) = matmuls.first() else {
            return self.require(false, || "no part".into());
        };
        let format = |matmul: &Matmul| self.program.region(matmul.input).format;
        for (index, matmul) in matmuls.iter().enumerate() {
            self.require_rows(matmul.input, self.rows(first.input))?;
            let alike = matmuls[..index].iter().find(|other| format(other) == format(matmul));
            self.require(alike.is_none_or(|other| other.input == matmul.input), || {
                "parts that read one format have different inputs".into()
            })?;
        }
        Ok(())
    }

    fn shapes(&self, op: &Op) -> Result<(), KernelError> {
        self.require(self.program.kv.is_some() || !op.needs_cache(), || "needs a KV cache".into())?;
        let (layers, head_dim, kv_heads) =
            self.program.kv.map_or((0, 0, 0), |kv| (kv.layers(), kv.head_dim(), kv.kv_heads()));
        let (query_columns, key_columns) = (self.program.query_heads * head_dim, kv_heads * head_dim);
        let in_cache = |layer: usize| self.require(layer < layers, || format!("layer {layer} of {layers}"));
        match op {
            Op::RotaryTable { inverse_frequencies, out, .. } => {
                self.require(2 * inverse_frequencies.len() == head_dim, || {
                    "frequencies of half a head".into()
                })?;
                self.require_rows(*out, RowSet::Tokens)?;
                self.float(*out, head_dim)
            }
            Op::Embed { table, out } => {
                self.require(self.program.input.is_none(), || {
                    "embeds tokens, where rows enter through a region".into()
                })?;
                self.require_rows(*out, RowSet::Tokens)?;
                self.width(*out, self.program.weights[table.index()].k)
            }
            Op::Gather { input, out } => {
                self.float(*input, self.columns(*out))?;
                self.require(self.gathers(*input, *out), || "not from tokens to sampled rows".into())
            }
            Op::RmsNorm { input, weight, out, .. } => {
                self.float(*input, self.columns(*out))?;
                self.require_rows_of(*input, *out)?;
                self.vector(*weight, self.columns(*input))
            }
            Op::Linear { parts } => {
                self.fused(&op.matmuls())?;
                for part in parts {
                    self.matmul(&part.matmul, part.out)?;
                    if part.accumulate {
                        self.float(part.out, self.columns(part.out))?;
                    }
                }
                Ok(())
            }
            Op::SwiGluLinear { gate, up, out } => {
                self.fused(&[gate, up])?;
                self.matmul(gate, *out)?;
                self.matmul(up, *out)
            }
            Op::RopeAndCacheWrite { q, k, v, table, qk_norm, layer, .. } => {
                for (region, columns) in
                    [(q, query_columns), (k, key_columns), (v, key_columns), (table, head_dim)]
                {
                    self.require_rows(*region, RowSet::Tokens)?;
                    self.float(*region, columns)?;
                }
                in_cache(*layer)?;
                qk_norm.map_or(Ok(()), |(q, k)| self.vector(q, head_dim).and(self.vector(k, head_dim)))
            }
            Op::Attention { q, layer, window, out, .. } => {
                self.require(query_columns > 0, || "no query heads".into())?;
                self.require_rows(*q, RowSet::Tokens)?;
                self.float(*q, query_columns)?;
                self.width(*out, query_columns)?;
                in_cache(*layer)?;
                self.require(*window != Some(0), || "a window of no keys".into())
            }
        }
    }

    /// An entry that does not begin with operation 0 may run repeatedly after another entry, for other rows of a step:
    /// it must not change the regions that it reads before it writes them.
    fn entries(&mut self) -> Result<(), KernelError> {
        for entry in self.program.entries.iter().filter(|entry| entry.operations.start > 0) {
            let (mut written, mut read_first) = (Vec::new(), Vec::new());
            for index in entry.operations.clone() {
                self.index = index;
                let op = &self.program.ops[index];
                read_first.extend(op.reads().into_iter().filter(|region| !written.contains(region)));
                let writes = op.writes();
                if let Some(region) = writes.iter().find(|region| read_first.contains(region)) {
                    let (entry, region) = (entry.name, self.name(*region));
                    return self.require(false, || {
                        format!("{entry} may run again, and changes {region}, which it begins with")
                    });
                }
                written.extend(writes);
            }
        }
        Ok(())
    }

    /// Every region that is read was written by an operation before, and the output is written.
    fn data_flow(&mut self) -> Result<(), KernelError> {
        let mut written: Vec<bool> = vec![false; self.program.regions.len()];
        if let Some(input) = self.program.input {
            self.require_rows(input, RowSet::Tokens)?;
            written[input.index()] = true;
        }
        for (index, op) in self.program.ops.iter().enumerate() {
            self.index = index;
            for region in op.reads() {
                self.require(written[region.index()], || {
                    format!("reads {}, which nothing has written", self.name(region))
                })?;
            }
            op.writes().into_iter().for_each(|region| written[region.index()] = true);
        }
        let output = self.program.output;
        if !written[output.index()] {
            return invalid("output", format!("nothing writes {}", self.name(output)));
        }
        Ok(())
    }
}

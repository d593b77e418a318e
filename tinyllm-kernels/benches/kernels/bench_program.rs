//! Programs of one kind of operation. The entry `feed` makes its inputs and runs once; the entry `timed` follows.

use criterion::{BenchmarkGroup, BenchmarkId, measurement::WallTime};
use half::f16;
use tinyllm_kernels::{
    Backend, Cpu, EntryId, GroupSize, Isa, KvShape, Limits, LinearPart, Matmul, Op, Program, ProgramBuilder,
    QuantizedMatrix, RegionId, RegionSpec, RowSet, ScaleType, Session, Source, Step, StepInput, VectorFormat,
    VectorId, VectorSpec, WeightFormat, WeightId, WeightSpec,
};
use tinyllm_mem::Category;

/// Tokens of a step that fills the KV cache.
const FILL_TOKENS: usize = 512;

/// The group size of `--group-size auto` for these widths: 64 for SmolLM2's, 128 for TinyLlama's.
fn w8a16(k: usize) -> WeightFormat {
    let elements = if k < 2048 { 64 } else { 128 };
    WeightFormat::W8A16 { group_size: GroupSize::Elements(elements), scales: ScaleType::F16 }
}

/// Bytes of a matrix `[n, k]` that a matmul reads: values and scales.
pub(crate) fn weight_bytes(n: usize, k: usize) -> usize {
    match w8a16(k) {
        WeightFormat::W8A16 { group_size, scales } => n * (k + group_size.groups(k) * scales.size_bytes()),
        format => n * k * if format == WeightFormat::F16 { 2 } else { 4 },
    }
}

/// A program under construction. `input` is `[rows, columns]` f32.
pub(crate) struct BenchProgram {
    builder: ProgramBuilder,
    rows: usize,
    kv_length: usize,
    fed: usize,
    output: RegionId,
    pub(crate) input: RegionId,
}

impl BenchProgram {
    /// A program for operations that read no KV cache.
    pub(crate) fn new(rows: usize, columns: usize) -> Self {
        Self::with_builder(ProgramBuilder::new(Limits::of_tokens(rows)), rows, columns, 0)
    }

    fn with_builder(mut builder: ProgramBuilder, rows: usize, columns: usize, kv_length: usize) -> Self {
        let input = builder.input(RegionSpec::activations("input", RowSet::Tokens, columns));
        BenchProgram { builder, rows, kv_length, fed: 0, output: input, input }
    }

    /// A program for attention: `kv_length` tokens in the cache of every layer, the `rows` included, and queries of the
    /// rows.
    pub(crate) fn with_cache(
        rows: usize,
        query_heads: usize,
        kv: KvShape,
        kv_length: usize,
    ) -> (Self, RegionId) {
        let columns = query_heads * kv.head_dim();
        let limits = Limits::of_tokens(rows.max(FILL_TOKENS.min(kv_length)))
            .with_sequences(1, kv_length.div_ceil(kv.block_tokens()));
        let builder = ProgramBuilder::new(limits).with_cache(query_heads, kv);
        let mut program = Self::with_builder(builder, rows, columns, kv_length);
        let key_columns = kv.kv_heads() * kv.head_dim();
        let input = program.activations(columns);
        let (q, k, v) = (program.region(columns), program.region(key_columns), program.region(key_columns));
        let parts = [(q, columns), (k, key_columns), (v, key_columns)];
        let parts =
            parts.map(|(out, n)| LinearPart::new(Matmul::new(input, program.weight(n, columns), None), out));
        program.push(Op::Linear { parts: parts.to_vec() });
        let table = program.region(kv.head_dim());
        // Frequencies of 0: no rotation.
        let inverse_frequencies = vec![0.0; kv.head_dim() / 2].into();
        program.push(Op::RotaryTable { inverse_frequencies, scale: 1.0, out: table });
        for layer in 0..kv.layers() {
            program.push(Op::RopeAndCacheWrite { q, k, v, table, qk_norm: None, eps: 0.0, layer });
        }
        (program, q)
    }

    /// A W8A16 matrix, `[n, k]`.
    pub(crate) fn weight(&mut self, n: usize, k: usize) -> WeightId {
        self.builder.weight(WeightSpec::new("weight", (n, k), w8a16(k), Category::Weights))
    }

    pub(crate) fn vector(&mut self, len: usize) -> VectorId {
        self.builder.vector(VectorSpec::new("vector", len, VectorFormat::F16, Category::Norms))
    }

    /// An f32 region.
    pub(crate) fn region(&mut self, columns: usize) -> RegionId {
        self.builder.region(RegionSpec::activations("region", RowSet::Tokens, columns))
    }

    /// A region of int16 activations of a matmul with `k` inputs.
    pub(crate) fn activation_region(&mut self, k: usize) -> RegionId {
        let spec = RegionSpec::activations("activations", RowSet::Tokens, k);
        self.builder.region(spec.in_format(w8a16(k).input_format(k)))
    }

    /// The input, normalised and quantised, as a matmul with `k` inputs reads it.
    pub(crate) fn activations(&mut self, k: usize) -> RegionId {
        let (input, weight, out) = (self.input, self.vector(k), self.activation_region(k));
        self.push(Op::RmsNorm { input, weight, eps: 1e-5, out });
        out
    }

    pub(crate) fn push(&mut self, op: Op) {
        self.builder.push(op);
    }

    /// Ends the entry `feed`: operations pushed from here on are timed.
    pub(crate) fn begin_timed(&mut self) {
        self.fed = self.builder.position();
    }

    /// An f32 region that an operation writes.
    pub(crate) fn set_output(&mut self, output: RegionId) {
        self.output = output;
    }

    /// Allocates memory, uploads weights, and runs the entry `feed`.
    fn ready(mut self, isa: Isa) -> Ready {
        let end = self.builder.position();
        self.builder.entry("feed", 0..self.fed);
        self.builder.entry("timed", self.fed..end);
        let program = std::sync::Arc::new(self.builder.finish(self.output).unwrap());
        let mut session = Cpu::new(isa, 1).unwrap().compile(program.clone()).unwrap().bind().unwrap();
        for (id, spec) in program.weight_ids() {
            let bytes = Int8::like(spec);
            let matrix = QuantizedMatrix::new(
                (spec.n, spec.k),
                spec.format,
                &bytes.values[..],
                spec.k,
                false,
                &bytes.scales[..],
            );
            session.upload(id.into(), Source::quantized_memory(matrix.unwrap())).unwrap();
        }
        for (id, spec) in program.vector_ids() {
            session.upload(id.into(), Source::float(&(&vec![1.0; spec.len][..], spec.len))).unwrap();
        }
        let blocks = program.kv().map_or(0, |kv| self.kv_length.div_ceil(kv.block_tokens()));
        let mut ready = Ready {
            timed: program.entry("timed").unwrap(),
            session,
            rows: self.rows,
            kv_length: self.kv_length,
            block_table: (0..blocks as u32).collect(),
        };
        ready.feed(&program, self.input);
        ready
    }
}

/// A program with its memory, ready to be timed.
struct Ready {
    session: Box<dyn Session>,
    timed: EntryId,
    rows: usize,
    /// 0 without a cache.
    kv_length: usize,
    block_table: Vec<u32>,
}

impl Ready {
    /// Fills the KV cache, in steps, and runs `feed` for the timed entry.
    fn feed(&mut self, program: &Program, input: RegionId) {
        let feed = program.entry("feed").unwrap();
        let columns = program.regions()[input.index()].columns;
        let mut ends: Vec<usize> = (1..self.kv_length.saturating_sub(self.rows).div_ceil(FILL_TOKENS) + 1)
            .map(|step| (step * FILL_TOKENS).min(self.kv_length - self.rows))
            .collect();
        ends.push(self.kv_length);
        let mut length = 0;
        for end in ends {
            let rows = if self.kv_length == 0 { self.rows } else { end - length };
            let values: Vec<f32> = (0..rows * columns).map(|index| value(length + index)).collect();
            self.session.write_region(input, &values).unwrap();
            self.run(feed, rows, end);
            length = end;
        }
    }

    fn run(&mut self, entry: EntryId, rows: usize, kv_length: usize) {
        let (query_starts, kv_lengths) = ([0, rows as u32], [kv_length as u32]);
        let input = StepInput::Rows(rows);
        let step = match kv_length {
            0 => Step::new(input),
            _ => {
                let stride = self.block_table.len();
                Step::new(input).with_sequences(&query_starts, &kv_lengths, &self.block_table, stride)
            }
        };
        let ticket = self.session.submit(entry, &step).unwrap();
        self.session.wait(ticket).unwrap();
    }
}

/// Times a program's second entry with every instruction set. If the name is filtered out nothing is allocated.
pub(crate) fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    program: impl Fn() -> BenchProgram,
) {
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let mut ready = None;
        group.bench_function(BenchmarkId::new(name, isa), |bencher| {
            let ready = ready.get_or_insert_with(|| program().ready(isa));
            bencher.iter(|| ready.run(ready.timed, ready.rows, ready.kv_length));
        });
    }
}

/// Pseudo-random numbers from -0.5 to 0.5.
fn value(index: usize) -> f32 {
    ((index as u32).wrapping_mul(2_654_435_761) >> 16) as f32 / 65536.0 - 0.5
}

/// A matrix that is int8 already: the upload only packs it.
struct Int8 {
    values: Vec<u8>,
    scales: Vec<u8>,
}

impl Int8 {
    fn like(spec: &WeightSpec) -> Self {
        let value_count = spec.n * spec.k;
        let scales = (weight_bytes(spec.n, spec.k) - value_count) / 2;
        Int8 {
            values: (0..value_count).map(|index| (254.0 * value(index)) as i8 as u8).collect(),
            scales: f16::from_f32(0.01).to_le_bytes().repeat(scales),
        }
    }
}

//! Programs of one kind of operation. What feeds it stands before the head and runs once; the head is what is timed.

use std::ops::Range;

use criterion::{BenchmarkGroup, BenchmarkId, measurement::WallTime};
use half::f16;
use tinyllm_kernels::{
    Backend, Cpu, GroupSize, InputFormat, Isa, KernelError, KvFormat, KvLayout, Limits, Op, Placement,
    Prepared, ProgramBuilder, QuantizedLayout, QuantizedRows, RegionId, RegionSpec, Rows, ScaleType, Step,
    VectorFormat, VectorId, VectorSpec, WeightFormat, WeightId, WeightSource, WeightSpec,
};
use tinyllm_mem::{Buffer, Category, HostResource, Plan, Request};

/// The group that `--group-size auto` takes for these widths: 64 for SmolLM2's, 128 for TinyLlama's.
fn w8a16(k: usize) -> WeightFormat {
    let elements = if k < 2048 { 64 } else { 128 };
    WeightFormat::W8A16 { group_size: GroupSize::Elements(elements), scales: ScaleType::F16 }
}

/// Bytes of a matrix `[n, k]` that a product reads: values and scales.
pub(crate) fn weight_bytes(n: usize, k: usize) -> usize {
    match w8a16(k) {
        WeightFormat::W8A16 { group_size, scales } => n * (k + group_size.groups(k) * scales.size_bytes()),
        format => n * k * if format == WeightFormat::F16 { 2 } else { 4 },
    }
}

/// A program under construction, for one sequence. `input` is `[rows, columns]` f32, and there before the head.
pub(crate) struct BenchProgram {
    builder: ProgramBuilder,
    rows: usize,
    kv_length: usize,
    pub(crate) input: RegionId,
}

impl BenchProgram {
    /// For operations that read no cache.
    pub(crate) fn new(rows: usize, columns: usize) -> Self {
        let no_cache = KvLayout::new(1, 1, 16, 16, KvFormat::F16).unwrap();
        BenchProgram::with_cache(rows, columns, 1, no_cache, rows)
    }

    /// With `kv_length` tokens in the cache, those of the `rows` included.
    pub(crate) fn with_cache(
        rows: usize,
        columns: usize,
        query_heads: usize,
        kv: KvLayout,
        kv_length: usize,
    ) -> Self {
        let limits = Limits { max_tokens: rows, max_sampled_rows: 1, max_sequences: 1 };
        let mut builder = ProgramBuilder::new(limits, query_heads, kv);
        let table = builder.weight(weight_spec("table", 1, columns, WeightFormat::F32));
        let input = builder.region(region_spec("input", columns, None));
        builder.push(Op::Embed { table, out: input });
        BenchProgram { builder, rows, kv_length, input }
    }

    /// A matrix of int8 in groups, `[n, k]`.
    pub(crate) fn weight(&mut self, n: usize, k: usize) -> WeightId {
        self.builder.weight(weight_spec("weight", n, k, w8a16(k)))
    }

    pub(crate) fn vector(&mut self, len: usize) -> VectorId {
        let spec =
            VectorSpec { name: "vector".into(), len, format: VectorFormat::F16, category: Category::Norms };
        self.builder.vector(spec)
    }

    /// A region of f32.
    pub(crate) fn region(&mut self, columns: usize) -> RegionId {
        self.builder.region(region_spec("region", columns, None))
    }

    /// A region for what a product with `k` inputs reads.
    pub(crate) fn product_input(&mut self, k: usize) -> RegionId {
        self.builder.region(region_spec("product input", k, Some(w8a16(k).input_format(k))))
    }

    pub(crate) fn push(&mut self, op: Op) {
        self.builder.push(op);
    }

    /// What is pushed from here on is timed.
    pub(crate) fn begin_head(&mut self) {
        self.builder.begin_head();
    }

    /// Allocates and fills everything, and runs what comes before the head.
    fn ready(self, isa: Isa) -> Ready {
        let cpu = Cpu::new(isa, 1).unwrap();
        let program = self.builder.finish(self.input).unwrap();
        let requirements = cpu.requirements(&program);
        // Pages are as the category wants them.
        let allocate = |category: Category, bytes: usize| -> Buffer<u8> {
            let request = Request::new(category, category.name(), bytes, requirements.align_bytes);
            Buffer::allocate(&HostResource::shared(), request).unwrap()
        };
        let slab = allocate(Category::Weights, requirements.weights.iter().map(|part| part.bytes).sum());
        let mut weights = cpu.weights(&program, slab).unwrap();
        for (id, spec) in program.weight_ids() {
            let values: Vec<f32> = (0..spec.k).map(value).collect();
            match spec.format {
                WeightFormat::F32 => {
                    cpu.upload(&mut weights, id, WeightSource::Float(&(&values[..], spec.k))).unwrap()
                }
                _ => cpu.upload(&mut weights, id, WeightSource::Quantized(&Int8::like(spec))).unwrap(),
            }
        }
        for (id, spec) in program.vector_ids() {
            cpu.upload_vector(&mut weights, id, &vec![1.0; spec.len]).unwrap();
        }
        let blocks = self.kv_length.div_ceil(program.kv().block_tokens());
        let mut kv = allocate(Category::Kv, program.kv().bytes(blocks));
        for (index, bytes) in kv.as_mut_slice().chunks_exact_mut(2).enumerate() {
            bytes.copy_from_slice(&f16::from_f32(value(index)).to_le_bytes());
        }
        let plan = Plan::pack(requirements.regions).unwrap();
        let arena = allocate(Category::Activations, plan.total_bytes());
        let prepared = cpu.prepare(program, weights, kv, arena, plan.offsets()).unwrap();
        let (token_ids, block_table) = (vec![0; self.rows], (0..blocks as u32).collect());
        let mut ready = Ready { cpu, prepared, token_ids, kv_length: self.kv_length as u32, block_table };
        ready.run(|cpu, prepared, step| cpu.run(prepared, step));
        ready
    }
}

/// A program with its memory, ready to be timed.
struct Ready {
    cpu: Cpu,
    prepared: Prepared,
    token_ids: Vec<u32>,
    kv_length: u32,
    block_table: Vec<u32>,
}

impl Ready {
    fn run(&mut self, part: fn(&Cpu, &mut Prepared, &Step<'_>) -> Result<(), KernelError>) {
        let step = Step {
            token_ids: &self.token_ids,
            query_starts: &[0, self.token_ids.len() as u32],
            kv_lengths: &[self.kv_length],
            block_tables: &self.block_table,
            block_table_stride: self.block_table.len(),
            sampled_rows: &[],
        };
        part(&self.cpu, &mut self.prepared, &step).unwrap();
    }
}

/// Times the head of a program with every instruction set. Where the name is filtered out nothing is allocated.
pub(crate) fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    program: impl Fn() -> BenchProgram,
) {
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let mut ready = None;
        group.bench_function(BenchmarkId::new(name, isa), |bencher| {
            let ready = ready.get_or_insert_with(|| program().ready(isa));
            bencher.iter(|| ready.run(|cpu, prepared, step| cpu.run_head(prepared, step)));
        });
    }
}

/// Numbers without structure, from -0.5 to 0.5.
fn value(index: usize) -> f32 {
    ((index as u32).wrapping_mul(2_654_435_761) >> 16) as f32 / 65536.0 - 0.5
}

fn weight_spec(name: &str, n: usize, k: usize, format: WeightFormat) -> WeightSpec {
    WeightSpec { name: name.into(), n, k, format, category: Category::Weights, placement: Placement::Slab }
}

fn region_spec(name: &str, columns: usize, input_format: Option<InputFormat>) -> RegionSpec {
    let category = Category::Activations;
    RegionSpec { name: name.into(), rows: Rows::Tokens, columns, input_format, category }
}

/// A matrix that is int8 already: uploading it only packs it.
struct Int8 {
    shape: (usize, usize),
    values: Vec<u8>,
    scales: Vec<u8>,
}

impl Int8 {
    fn like(spec: &WeightSpec) -> Self {
        let value_count = spec.n * spec.k;
        let scales = (weight_bytes(spec.n, spec.k) - value_count) / 2;
        Int8 {
            shape: (spec.n, spec.k),
            values: (0..value_count).map(|index| (254.0 * value(index)) as i8 as u8).collect(),
            scales: f16::from_f32(0.01).to_le_bytes().repeat(scales),
        }
    }
}

impl QuantizedRows for Int8 {
    fn shape(&self) -> (usize, usize) {
        self.shape
    }

    fn layout(&self) -> QuantizedLayout {
        let (n, k) = self.shape;
        QuantizedLayout { row_bytes: k, offset_binary: false, row_scale_bytes: self.scales.len() / n }
    }

    fn read_values(&self, rows: Range<usize>, out: &mut [u8]) -> Result<(), KernelError> {
        let row = self.layout().row_bytes;
        out.copy_from_slice(&self.values[rows.start * row..rows.end * row]);
        Ok(())
    }

    fn read_scales(&self, rows: Range<usize>, out: &mut [u8]) -> Result<(), KernelError> {
        let row = self.layout().row_scale_bytes;
        out.copy_from_slice(&self.scales[rows.start * row..rows.end * row]);
        Ok(())
    }
}

//! Specs with what does not matter filled in, and programs with their memory.

use tinyllm_kernels::{
    Backend, Cpu, CpuWeights, GroupSize, KernelError, KvFormat, KvLayout, Limits, LinearPart, Placement,
    Prepared, Product, Program, ProgramBuilder, RegionId, RegionSpec, Rows, ScaleType, Step, VectorFormat,
    VectorId, VectorSpec, WeightFormat, WeightId, WeightSource, WeightSpec,
};
use tinyllm_mem::{Buffer, Category, HostResource, Plan, Request};

/// Tokens of a block.
pub(crate) const BLOCK: usize = 16;

pub(crate) fn kv() -> KvLayout {
    KvLayout::new(1, 1, 16, BLOCK, KvFormat::F32).unwrap()
}

pub(crate) fn limits(max_tokens: usize) -> Limits {
    Limits { max_tokens, max_sampled_rows: max_tokens, max_sequences: 4 }
}

pub(crate) fn builder(max_tokens: usize) -> ProgramBuilder {
    ProgramBuilder::new(limits(max_tokens), 1, kv())
}

pub(crate) fn int8(group: usize) -> WeightFormat {
    WeightFormat::W8A16 { group_size: GroupSize::Elements(group), scales: ScaleType::F16 }
}

pub(crate) fn weight(
    builder: &mut ProgramBuilder,
    name: &str,
    (n, k): (usize, usize),
    format: WeightFormat,
) -> WeightId {
    let (category, placement) = (Category::Weights, Placement::Slab);
    builder.weight(WeightSpec { name: name.into(), n, k, format, category, placement })
}

pub(crate) fn vector(builder: &mut ProgramBuilder, len: usize) -> VectorId {
    let (format, category) = (VectorFormat::F32, Category::Norms);
    builder.vector(VectorSpec { name: "vector".into(), len, format, category })
}

pub(crate) fn region(builder: &mut ProgramBuilder, name: &str, rows: Rows, columns: usize) -> RegionId {
    let category = Category::Activations;
    builder.region(RegionSpec { name: name.into(), rows, columns, input_format: None, category })
}

pub(crate) fn part(input: RegionId, weight: WeightId, out: RegionId) -> LinearPart {
    LinearPart { product: Product { input, weight, bias: None }, out, accumulate: false }
}

/// The problem that a refused program has.
pub(crate) fn refusal<T>(result: Result<T, KernelError>) -> String {
    match result {
        Err(KernelError::Invalid { what, problem }) => format!("{what}: {problem}"),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("accepted"),
    }
}

pub(crate) fn buffer(bytes: usize) -> Buffer<u8> {
    let request = Request::new(Category::Activations, "test", bytes, 64);
    Buffer::allocate(&HostResource::shared(), request).unwrap()
}

/// Weights whose element `(row, column)` is `value(name, row, column)`; vectors are ones.
pub(crate) fn fill(cpu: &Cpu, program: &Program, value: impl Fn(&str, usize, usize) -> f32) -> CpuWeights {
    let slab_bytes = cpu.requirements(program).weights.iter().map(|part| part.bytes).sum();
    let mut weights = cpu.weights(program, buffer(slab_bytes)).unwrap();
    for (id, spec) in program.weight_ids() {
        let values: Vec<f32> =
            (0..spec.n * spec.k).map(|index| value(&spec.name, index / spec.k, index % spec.k)).collect();
        cpu.upload(&mut weights, id, WeightSource::Float(&(&values[..], spec.k))).unwrap();
    }
    for (id, spec) in program.vector_ids() {
        cpu.upload_vector(&mut weights, id, &vec![1.0; spec.len]).unwrap();
    }
    weights
}

/// With a cache of four blocks and the planner's places.
pub(crate) fn prepare(cpu: &Cpu, program: &Program, weights: CpuWeights) -> Result<Prepared, KernelError> {
    let plan = Plan::pack(cpu.requirements(program).regions).unwrap();
    let (kv, arena) = (buffer(program.kv().bytes(4)), buffer(plan.total_bytes()));
    cpu.prepare(program.clone(), weights, kv, arena, plan.offsets())
}

/// A step of one sequence that begins at position 0, in blocks 0, 1 and so on.
pub(crate) struct Prompt {
    token_ids: Vec<u32>,
    query_starts: [u32; 2],
    kv_lengths: [u32; 1],
    block_table: Vec<u32>,
}

impl Prompt {
    pub(crate) fn new(token_ids: &[u32]) -> Self {
        let tokens = token_ids.len() as u32;
        Prompt {
            token_ids: token_ids.into(),
            query_starts: [0, tokens],
            kv_lengths: [tokens],
            block_table: (0..tokens.div_ceil(BLOCK as u32)).collect(),
        }
    }

    pub(crate) fn step<'a>(&'a self, sampled_rows: &'a [u32]) -> Step<'a> {
        Step {
            token_ids: &self.token_ids,
            query_starts: &self.query_starts,
            kv_lengths: &self.kv_lengths,
            block_tables: &self.block_table,
            block_table_stride: self.block_table.len(),
            sampled_rows,
        }
    }
}

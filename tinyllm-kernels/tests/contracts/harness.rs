//! Specs with defaults, and programs with their memory.

use std::sync::Arc;

use tinyllm_kernels::{
    Backend, Cpu, GroupSize, KernelError, KvFormat, KvShape, Limits, LinearPart, Matmul, Outputs, Program,
    ProgramBuilder, RegionId, RegionSpec, RowSet, ScaleType, Session, Source, Step, StepInput, VectorFormat,
    VectorId, VectorSpec, WeightFormat, WeightId, WeightSpec,
};
use tinyllm_mem::Category;

/// Tokens of a block.
pub(crate) const BLOCK: usize = 16;

pub(crate) fn kv() -> KvShape {
    KvShape::new(1, 1, 16, BLOCK, KvFormat::F32).unwrap()
}

pub(crate) fn limits(max_tokens: usize) -> Limits {
    Limits::of_tokens(max_tokens).with_sampled_rows(max_tokens).with_sequences(4, 8)
}

pub(crate) fn builder(max_tokens: usize) -> ProgramBuilder {
    ProgramBuilder::new(limits(max_tokens)).with_cache(1, kv())
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
    builder.weight(WeightSpec::new(name, (n, k), format, Category::Weights))
}

pub(crate) fn vector(builder: &mut ProgramBuilder, len: usize) -> VectorId {
    builder.vector(VectorSpec::new("vector", len, VectorFormat::F32, Category::Norms))
}

/// f32.
pub(crate) fn region(builder: &mut ProgramBuilder, name: &str, rows: RowSet, columns: usize) -> RegionId {
    builder.region(RegionSpec::activations(name, rows, columns))
}

/// The input region: f32, written before a step.
pub(crate) fn input(builder: &mut ProgramBuilder, name: &str, columns: usize) -> RegionId {
    builder.input(RegionSpec::activations(name, RowSet::Tokens, columns))
}

/// An input region of a matmul with a weight of this format.
pub(crate) fn activations(
    builder: &mut ProgramBuilder,
    name: &str,
    columns: usize,
    format: WeightFormat,
) -> RegionId {
    let spec = RegionSpec::activations(name, RowSet::Tokens, columns);
    builder.region(spec.in_format(format.input_format(columns)))
}

pub(crate) fn part(input: RegionId, weight: WeightId, out: RegionId) -> LinearPart {
    LinearPart::new(Matmul::new(input, weight, None), out)
}

/// The problem in the error of a refused program.
pub(crate) fn refusal<T>(result: Result<T, KernelError>) -> String {
    match result {
        Err(KernelError::Invalid { what, problem }) => format!("{what}: {problem}"),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("accepted"),
    }
}

/// A program with its memory; its weights' element `(row, column)` is `value(name, row, column)`, vectors are ones.
pub(crate) struct Bound {
    pub(crate) program: Arc<Program>,
    pub(crate) session: Box<dyn Session>,
}

impl Bound {
    pub(crate) fn new(cpu: &Cpu, program: Program, value: impl Fn(&str, usize, usize) -> f32) -> Self {
        let program = Arc::new(program);
        let mut session = cpu.compile(Arc::clone(&program)).unwrap().bind().unwrap();
        for (id, spec) in program.weight_ids() {
            let values: Vec<f32> =
                (0..spec.n * spec.k).map(|index| value(&spec.name, index / spec.k, index % spec.k)).collect();
            session.upload(id.into(), Source::float(&(&values[..], spec.k))).unwrap();
        }
        for (id, spec) in program.vector_ids() {
            session.upload(id.into(), Source::float(&(&vec![1.0; spec.len][..], spec.len))).unwrap();
        }
        Bound { program, session }
    }

    /// Runs an entry of the program.
    pub(crate) fn run(&mut self, entry: &str, step: &Step<'_>) -> Result<Outputs<'_>, KernelError> {
        let ticket = self.session.submit(self.program.entry(entry)?, step)?;
        self.session.wait(ticket)
    }

    /// A row of the output of the whole program.
    pub(crate) fn row(&mut self, step: &Step<'_>, row: usize) -> Vec<f32> {
        self.run("forward", step).unwrap().row(row).unwrap().to_vec()
    }
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
        let stride = self.block_table.len();
        Step::new(StepInput::TokenIds(&self.token_ids))
            .with_sequences(&self.query_starts, &self.kv_lengths, &self.block_table, stride)
            .with_sampled_rows(sampled_rows)
    }
}

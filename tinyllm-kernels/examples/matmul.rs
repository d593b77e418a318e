//! One W8A16 matmul: `y = x · wᵀ`, with w quantised to int8 in groups of 32. Run it with `cargo run --example matmul`.
#![allow(clippy::print_stdout)] // an example shows what it computed

use std::sync::Arc;

use tinyllm_kernels::{
    Backend, Category, Cpu, GroupSize, Isa, KernelError, Limits, LinearPart, Matmul, Op, ProgramBuilder,
    RegionSpec, RowSet, ScaleType, Source, Step, StepInput, WeightFormat, WeightSpec,
};

fn main() -> Result<(), KernelError> {
    let (rows, n, k) = (2, 3, 64);
    let format = WeightFormat::W8A16 { group_size: GroupSize::Elements(32), scales: ScaleType::F16 };
    let mut program = ProgramBuilder::new(Limits::of_tokens(rows));
    let x = RegionSpec::activations("x", RowSet::Tokens, k).in_format(format.input_format(k));
    let (x, y) = (program.input(x), program.region(RegionSpec::activations("y", RowSet::Tokens, n)));
    let w = program.weight(WeightSpec::new("w", (n, k), format, Category::Weights));
    program.push(Op::Linear { parts: vec![LinearPart::new(Matmul::new(x, w, None), y)] });
    let program = Arc::new(program.finish(y)?);

    let compiled = Cpu::new(Isa::best(), 2)?.compile(Arc::clone(&program))?;
    println!("{} bytes of weights", compiled.requirements().weights_bytes()?);
    let mut session = compiled.bind()?;
    let weights: Vec<f32> = (0..n * k).map(|index| (index % 7) as f32 - 3.0).collect();
    session.upload(w.into(), Source::float(&(&weights[..], k)))?;
    session.write_region(x, &vec![0.5; rows * k])?;
    let ticket = session.submit(program.entry("forward")?, &Step::new(StepInput::Rows(rows)))?;
    println!("{:?}", session.wait(ticket)?.row(0));
    Ok(())
}

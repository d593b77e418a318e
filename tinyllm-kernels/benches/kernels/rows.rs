//! What is done to rows between products, 512 of them: bytes of f32 input a second.

use criterion::{Criterion, Throughput};
use tinyllm_kernels::Op;

use crate::bench_program::{BenchProgram, bench};

/// The default prefill chunk.
const ROWS: usize = 512;

pub(crate) fn rms_norm(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rms_norm");
    for columns in [576, 2048] {
        group.throughput(Throughput::Bytes((4 * ROWS * columns) as u64));
        bench(&mut group, &format!("{ROWS}x{columns}"), || {
            let mut program = BenchProgram::new(ROWS, columns);
            let (input, weight, out) = (program.input, program.vector(columns), program.region(columns));
            program.begin_head();
            program.push(Op::RmsNorm { input, weight, eps: 1e-5, out });
            program
        });
    }
}

/// f32 to int16 with a scale a piece: what a product reads.
pub(crate) fn quantize_input(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("quantize_input");
    for columns in [576, 2048] {
        group.throughput(Throughput::Bytes((4 * ROWS * columns) as u64));
        bench(&mut group, &format!("{ROWS}x{columns}"), || {
            let mut program = BenchProgram::new(ROWS, columns);
            let (input, out) = (program.input, program.product_input(columns));
            program.begin_head();
            program.push(Op::ConvertInput { input, out });
            program
        });
    }
}

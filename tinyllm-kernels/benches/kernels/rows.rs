//! Operations on rows between matmuls, 512 rows: bytes of f32 input a second.

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
            program.begin_timed();
            program.push(Op::RmsNorm { input, weight, eps: 1e-5, out });
            program.set_output(out);
            program
        });
    }
}

/// RMS norm with int16 activations as output: what a matmul reads.
pub(crate) fn norm_and_round(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("norm_and_round");
    for columns in [576, 2048] {
        group.throughput(Throughput::Bytes((4 * ROWS * columns) as u64));
        bench(&mut group, &format!("{ROWS}x{columns}"), || {
            let mut program = BenchProgram::new(ROWS, columns);
            program.begin_timed();
            program.activations(columns);
            program
        });
    }
}

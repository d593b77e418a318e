//! W8A16 matmuls: one row with matrices larger than any cache (bytes a second), 512 rows with one matrix (operations a
//! second).

use criterion::{Criterion, Throughput};
use tinyllm_kernels::{LinearPart, Matmul, Op};

use crate::bench_program::{BenchProgram, bench, weight_bytes};

/// `(n, k)` of SmolLM2-135M's and TinyLlama-1.1B's layers.
const LAYERS: [(usize, usize); 6] =
    [(576, 576), (1536, 576), (576, 1536), (2048, 2048), (5632, 2048), (2048, 5632)];
/// SmolLM2's lm_head: one row per sequence.
const HEAD: (usize, usize) = (49152, 576);
/// Least total bytes of an iteration's matrices: several times a last-level cache.
const PASS_BYTES: usize = 128 << 20;
/// The default prefill chunk.
const ROWS: usize = 512;

/// One row with each of several matrices of one shape.
pub(crate) fn gemv(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gemv");
    for (n, k) in LAYERS.into_iter().chain([HEAD]) {
        let matrices = PASS_BYTES.div_ceil(weight_bytes(n, k));
        group.throughput(Throughput::Bytes((matrices * weight_bytes(n, k)) as u64));
        bench(&mut group, &format!("{n}x{k}"), || matmuls(1, n, k, matrices));
    }
}

/// A prefill chunk with one matrix; a multiplication and an addition are two operations.
pub(crate) fn gemm(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gemm");
    for (n, k) in LAYERS {
        group.throughput(Throughput::Elements((2 * ROWS * n * k) as u64));
        bench(&mut group, &format!("{ROWS}x{n}x{k}"), || matmuls(ROWS, n, k, 1));
    }
}

fn matmuls(rows: usize, n: usize, k: usize, matrices: usize) -> BenchProgram {
    let mut program = BenchProgram::new(rows, k);
    let (input, out) = (program.activations(k), program.region(n));
    program.begin_timed();
    for _ in 0..matrices {
        let part = LinearPart::new(Matmul::new(input, program.weight(n, k), None), out);
        program.push(Op::Linear { parts: vec![part] });
    }
    program.set_output(out);
    program
}

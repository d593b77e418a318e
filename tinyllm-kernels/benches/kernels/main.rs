//! The CPU's kernels one by one, on one thread, with every instruction set of this processor: bytes or operations a
//! second. Each runs through the backend, as a program of one operation, or of several that differ in their weights.
#![allow(missing_docs)] // criterion's macros make undocumented functions
#![allow(clippy::unwrap_used)] // a bench ends where it fails

mod attention;
mod bench_program;
mod matmul;
mod quantize;
mod rows;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// Few and short samples: an iteration over the weights takes milliseconds.
fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
}

criterion_group! {
    name = benches;
    config = criterion();
    targets = matmul::gemv, matmul::gemm, attention::decode, attention::prefill, rows::rms_norm,
        rows::norm_and_round, quantize::quantize_row
}
criterion_main!(benches);

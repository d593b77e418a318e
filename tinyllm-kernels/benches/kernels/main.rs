//! The kernels one by one, on one thread, with every instruction set this processor has: bytes or operations a second.
//! They are run as programs run them: one operation, or its like over other weights, through a backend.
#![allow(missing_docs)] // criterion's macros make undocumented functions
#![allow(clippy::unwrap_used)] // a bench ends where it fails

mod attention;
mod bench_program;
mod products;
mod quantize;
mod rows;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// Few and short: a pass over the weights takes milliseconds, so it needs no thousands to be timed.
fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
}

criterion_group! {
    name = benches;
    config = criterion();
    targets = products::gemv, products::gemm, attention::decode, attention::prefill, rows::rms_norm,
        rows::quantize_input, quantize::quantize_row
}
criterion_main!(benches);

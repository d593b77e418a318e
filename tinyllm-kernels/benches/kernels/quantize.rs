//! Quantising rows of weights: bytes of f32 source a second. Plain Rust, whatever the instruction set.

use criterion::{Criterion, Throughput};
use half::f16;
use tinyllm_kernels::{GroupSize, quantize};

pub(crate) fn quantize_row(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("quantize_row");
    for (k, group_size) in [(576, 64), (4096, 128), (4096, 32)] {
        // A pseudo-random sequence; every group has the same range.
        let weights: Vec<f32> =
            (0..k).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 16) as f32 / 65536.0 - 0.5).collect();
        let elements = GroupSize::Elements(group_size).elements(weights.len());
        let mut q = vec![0i8; weights.len()];
        let mut scales = vec![f16::ZERO; weights.len().div_ceil(elements)];
        group.throughput(Throughput::Bytes(4 * u64::from(k)));
        group.bench_function(format!("k={k} g={group_size}"), |bencher| {
            bencher.iter(|| quantize::quantize_row("w", 0, &weights, elements, &mut q, &mut scales));
        });
    }
    group.finish();
}

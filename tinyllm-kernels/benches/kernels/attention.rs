//! Attention with SmolLM2-135M's heads over an f16 KV cache: one token at a depth (bytes of keys and values a second),
//! and a prompt (operations a second).

use criterion::{Criterion, Throughput};
use tinyllm_kernels::{KvFormat, KvShape, Op};

use crate::bench_program::{BenchProgram, bench};

const QUERY_HEADS: usize = 9;
const KV_HEADS: usize = 3;
const HEAD_DIM: usize = 64;
/// The model's layers: together their keys and values do not fit in a core's caches.
const LAYERS: usize = 30;
/// The default prefill chunk.
const QUERIES: usize = 512;

/// One token that attends to `depth` tokens, in every layer.
pub(crate) fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention_decode");
    for depth in [512, 2048, 8192] {
        let bytes = depth * shape(LAYERS).block_bytes() / shape(LAYERS).block_tokens();
        group.throughput(Throughput::Bytes(bytes as u64));
        bench(&mut group, &format!("depth {depth}"), || attention(1, depth, LAYERS));
    }
}

/// A prompt in one layer. Each pair of a query and a key takes a multiply-add per element for the score, and one for
/// the value.
pub(crate) fn prefill(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention_prefill");
    let seen = QUERIES * (QUERIES + 1) / 2;
    group.throughput(Throughput::Elements((2 * 2 * seen * QUERY_HEADS * HEAD_DIM) as u64));
    bench(&mut group, &format!("{QUERIES} queries"), || attention(QUERIES, QUERIES, 1));
}

fn shape(layers: usize) -> KvShape {
    KvShape::new(layers, KV_HEADS, HEAD_DIM, 16, KvFormat::F16).unwrap()
}

fn attention(rows: usize, kv_length: usize, layers: usize) -> BenchProgram {
    let (mut program, q) = BenchProgram::with_cache(rows, QUERY_HEADS, shape(layers), kv_length);
    let out = program.region(QUERY_HEADS * HEAD_DIM);
    program.begin_timed();
    for layer in 0..layers {
        program.push(Op::Attention { q, layer, scale: 0.125, window: None, out });
    }
    program.set_output(out);
    program
}

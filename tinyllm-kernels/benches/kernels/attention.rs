//! Attention of SmolLM2-135M's heads over an f16 cache: a token at a depth (bytes of keys and values a second), and a
//! prompt (operations a second).

use criterion::{Criterion, Throughput};
use tinyllm_kernels::{KvFormat, KvLayout, Op};

use crate::bench_program::{BenchProgram, bench};

const QUERY_HEADS: usize = 9;
const KV_HEADS: usize = 3;
const HEAD_DIM: usize = 64;
/// As the model has: together they do not stay in a core's caches.
const LAYERS: usize = 30;
/// The default prefill chunk.
const QUERIES: usize = 512;

/// One token that sees `depth` tokens, in every layer.
pub(crate) fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention_decode");
    for depth in [512, 2048, 8192] {
        let bytes = depth * layout(LAYERS).block_bytes() / layout(LAYERS).block_tokens();
        group.throughput(Throughput::Bytes(bytes as u64));
        bench(&mut group, &format!("depth {depth}"), || attention(1, depth, LAYERS));
    }
}

/// A prompt in one layer. A key that a query sees takes a product for its score and one for its value.
pub(crate) fn prefill(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention_prefill");
    let seen = QUERIES * (QUERIES + 1) / 2;
    group.throughput(Throughput::Elements((2 * 2 * seen * QUERY_HEADS * HEAD_DIM) as u64));
    bench(&mut group, &format!("{QUERIES} queries"), || attention(QUERIES, QUERIES, 1));
}

fn layout(layers: usize) -> KvLayout {
    KvLayout::new(layers, KV_HEADS, HEAD_DIM, 16, KvFormat::F16).unwrap()
}

fn attention(rows: usize, kv_length: usize, layers: usize) -> BenchProgram {
    let columns = QUERY_HEADS * HEAD_DIM;
    let mut program = BenchProgram::with_cache(rows, columns, QUERY_HEADS, layout(layers), kv_length);
    let (q, out) = (program.input, program.region(columns));
    program.begin_head();
    for layer in 0..layers {
        program.push(Op::Attention { q, layer, scale: 0.125, window: None, out });
    }
    program
}

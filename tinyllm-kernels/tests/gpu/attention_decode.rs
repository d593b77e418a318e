//! `attention_decode_f16_*`: one query token per sequence over the paged KV cache.

use half::f16;

use crate::{
    device::on_each,
    numbers::{halves, uniform},
};

const PTX: &str = include_str!("../../ptx/attention_decode.ptx");

/// Tokens of a tile: K is `[head_dim][TILE]`, V `[TILE][head_dim]`.
const TILE: usize = 16;

/// Sequences and the shape of their attention.
struct Case {
    lengths: Vec<usize>,
    head_dim: usize,
    kv_heads: usize,
    heads_per_kv: usize,
    layers: usize,
    layer: usize,
    block_tokens: usize,
    window: usize,
}

impl Case {
    fn table_stride(&self) -> usize {
        self.lengths.iter().map(|length| length.div_ceil(self.block_tokens)).max().unwrap_or(0) + 1
    }

    /// The block of a table entry: scattered over the cache.
    fn block(&self, sequence: usize, index: usize) -> usize {
        (sequence * self.table_stride() + index) * 7 % self.blocks()
    }

    /// More blocks than are used, and no multiple of 7.
    fn blocks(&self) -> usize {
        let blocks = self.lengths.len() * self.table_stride() + 1;
        if blocks.is_multiple_of(7) { blocks + 1 } else { blocks }
    }

    /// Index in the cache of an element of a token's K or V.
    fn at(&self, sequence: usize, token: usize, head: usize, element: usize, value: bool) -> usize {
        let tiles = self.block_tokens / TILE;
        let block = self.block(sequence, token / self.block_tokens);
        let tile = token % self.block_tokens / TILE;
        let (slot, tile_size) = (token % TILE, 2 * TILE * self.head_dim);
        let start = (((block * self.layers + self.layer) * self.kv_heads + head) * tiles + tile) * tile_size;
        start
            + match value {
                false => element * TILE + slot,
                true => TILE * self.head_dim + slot * self.head_dim + element,
            }
    }

    fn expected(&self, q: &[f32], cache: &[f16], sequence: usize, kv_head: usize, head: usize) -> Vec<f64> {
        let length = self.lengths[sequence];
        let row = (sequence * self.kv_heads + kv_head) * self.heads_per_kv + head;
        let q = &q[row * self.head_dim..][..self.head_dim];
        let first = length.saturating_sub(self.window);
        let scale = 1.0 / (self.head_dim as f64).sqrt();
        let scores: Vec<f64> = (first..length)
            .map(|token| {
                let products = q.iter().enumerate().map(|(element, q)| {
                    f64::from(*q) * cache[self.at(sequence, token, kv_head, element, false)].to_f64()
                });
                products.sum::<f64>() * scale
            })
            .collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        (0..self.head_dim)
            .map(|element| {
                let value = |token| cache[self.at(sequence, token, kv_head, element, true)].to_f64();
                let sum: f64 =
                    weights.iter().zip(first..length).map(|(weight, token)| weight * value(token)).sum();
                if length == 0 { 0.0 } else { sum / total }
            })
            .collect()
    }

    fn check(&self, kernel: &str, heads: usize) {
        let rows = self.lengths.len() * self.kv_heads * self.heads_per_kv;
        let q = uniform(21, rows * self.head_dim);
        let size = self.blocks() * self.layers * self.kv_heads * self.block_tokens * 2 * self.head_dim;
        let cache = halves(22, size);
        let table: Vec<u32> = (0..self.lengths.len())
            .flat_map(|sequence| {
                (0..self.table_stride()).map(move |index| self.block(sequence, index) as u32)
            })
            .collect();
        let lengths: Vec<u32> = self.lengths.iter().map(|length| *length as u32).collect();
        let window = if self.window == usize::MAX { u32::MAX } else { self.window as u32 };
        let results = on_each(|gpu| {
            let function = gpu.kernel(PTX, kernel);
            let out = gpu.room("out", rows * self.head_dim * 4);
            let arguments = [
                gpu.upload("q", &q),
                gpu.upload("cache", &cache),
                gpu.upload("block tables", &table),
                gpu.upload("lengths", &lengths),
                out,
                self.kv_heads as u64,
                self.heads_per_kv as u64,
                self.layers as u64,
                self.layer as u64,
                self.block_tokens as u64,
                self.table_stride() as u64,
                u64::from(window),
                u64::from((1.0 / (self.head_dim as f32).sqrt()).to_bits()),
            ];
            let grid =
                [(self.kv_heads * self.heads_per_kv.div_ceil(heads)) as u32, self.lengths.len() as u32, 1];
            gpu.launch(function, grid, 256, &arguments);
            gpu.download::<f32>(out, rows * self.head_dim)
        });
        for out in &results {
            for sequence in 0..self.lengths.len() {
                for kv_head in 0..self.kv_heads {
                    for head in 0..self.heads_per_kv {
                        let row = (sequence * self.kv_heads + kv_head) * self.heads_per_kv + head;
                        let expected = self.expected(&q, &cache, sequence, kv_head, head);
                        for (element, expected) in expected.iter().enumerate() {
                            let got = f64::from(out[row * self.head_dim + element]);
                            assert!(
                                (got - expected).abs() < 2e-6,
                                "{sequence} {kv_head} {head} {element}: {got}, not {expected}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn sequences_of_any_length() {
    let case = Case {
        lengths: vec![0, 1, 16, 17, 300],
        head_dim: 64,
        kv_heads: 2,
        heads_per_kv: 3,
        layers: 2,
        layer: 1,
        block_tokens: 32,
        window: usize::MAX,
    };
    case.check("attention_decode_f16_d64_h1", 1);
    case.check("attention_decode_f16_d64_h4", 4);
}

#[test]
fn wide_heads_and_a_window() {
    let case = Case {
        lengths: vec![5, 100],
        head_dim: 128,
        kv_heads: 1,
        heads_per_kv: 5,
        layers: 1,
        layer: 0,
        block_tokens: 16,
        window: 37,
    };
    case.check("attention_decode_f16_d128_h1", 1);
    case.check("attention_decode_f16_d128_h4", 4);
}

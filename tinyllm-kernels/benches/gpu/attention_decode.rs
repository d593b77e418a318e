//! `attention_decode_*`: one query token per sequence over paged KV caches with scattered blocks.

use half::f16;

use crate::{
    check::{finite, near, some_of},
    device::{Device, Module, Outcome},
    memory::{Memory, Random},
    report::{Case, Report},
};

const PTX: &str = include_str!("../../ptx/attention_decode.ptx");
/// Tokens of a tile: K is `[head_dim][TILE]`, V `[TILE][head_dim]`.
const TILE: usize = 16;
const LENGTHS: [usize; 2] = [1024, 8192];
const BATCHES: [usize; 3] = [1, 16, 64];
const TOTAL_BYTES: usize = 1 << 30;
/// Cases with larger caches are skipped.
const MOST_BYTES: usize = 6 << 30;

#[derive(Clone, Copy)]
struct Model {
    kernel: &'static str,
    /// Query heads per thread block: the last number of the kernel's name.
    block_heads: usize,
    head_dim: usize,
    kv_heads: usize,
    heads_per_kv: usize,
    block_tokens: usize,
}

const MODELS: [Model; 3] = [
    // Llama 3 8B.
    Model {
        kernel: "attention_decode_f16_d128_h4",
        block_heads: 4,
        head_dim: 128,
        kv_heads: 8,
        heads_per_kv: 4,
        block_tokens: 16,
    },
    // LLaMA-7B.
    Model {
        kernel: "attention_decode_f16_d128_h1",
        block_heads: 1,
        head_dim: 128,
        kv_heads: 32,
        heads_per_kv: 1,
        block_tokens: 16,
    },
    // SmolLM2-135M.
    Model {
        kernel: "attention_decode_f16_d64_h4",
        block_heads: 4,
        head_dim: 64,
        kv_heads: 3,
        heads_per_kv: 3,
        block_tokens: 32,
    },
];

pub(crate) fn run(device: &Device, report: &mut Report) -> Outcome {
    let module = device.load(PTX)?;
    for model in MODELS {
        for length in LENGTHS {
            for batch in BATCHES {
                let Model { kv_heads, heads_per_kv, head_dim, .. } = model;
                if (Cache { model, length, batch }).elements() * 2 > MOST_BYTES {
                    continue;
                }
                let heads = format!("{kv_heads}x{heads_per_kv} heads of {head_dim}");
                let case = format!("{heads}, {length} tokens, batch {batch}");
                let cache = Cache { model, length: device.size(length, 100), batch: device.size(batch, 3) };
                cache.decode(device, report, &module, case)?;
            }
        }
    }
    Ok(())
}

/// Keys and values of sequences of one length, in one layer.
struct Cache {
    model: Model,
    length: usize,
    batch: usize,
}

impl Cache {
    fn sequence_blocks(&self) -> usize {
        self.length.div_ceil(self.model.block_tokens)
    }

    fn blocks(&self) -> usize {
        self.batch * self.sequence_blocks()
    }

    fn elements(&self) -> usize {
        self.blocks() * self.model.block_tokens * self.model.kv_heads * self.model.head_dim * 2
    }

    /// The block of an entry of the block table: scattered by a large prime, all different.
    fn block(&self, entry: usize) -> usize {
        (entry as u64 * 2_654_435_761 % self.blocks() as u64) as usize
    }

    /// The offset of a token's tile.
    fn tile(&self, sequence: usize, token: usize, kv_head: usize) -> usize {
        let Model { head_dim, kv_heads, block_tokens, .. } = self.model;
        let block = self.block(sequence * self.sequence_blocks() + token / block_tokens);
        ((block * kv_heads + kv_head) * (block_tokens / TILE) + token % block_tokens / TILE)
            * 2
            * TILE
            * head_dim
    }

    fn decode(&self, device: &Device, report: &mut Report, module: &Module<'_>, case: String) -> Outcome {
        let Model { kernel, block_heads, head_dim, kv_heads, heads_per_kv, block_tokens } = self.model;
        let (batch, elements) = (self.batch, self.elements());
        let rows = batch * kv_heads * heads_per_kv;
        let sets = device.sets(elements * 2, TOTAL_BYTES);
        let cache = Random::new(device, "cache", sets * elements, f16::from_f32)?;
        // With these inputs scores have a standard deviation of 1, so that attention weights differ.
        let q = Random::new(device, "q", rows * head_dim, |value| value * 3.0)?;
        let tables: Vec<u32> = (0..self.blocks()).map(|entry| self.block(entry) as u32).collect();
        let block_tables = Memory::new(device, "block tables", tables.len() * 4)?;
        block_tables.upload(&tables)?;
        let lengths = Memory::new(device, "lengths", batch * 4)?;
        lengths.upload(&vec![self.length as u32; batch])?;
        let out = Memory::new(device, "out", rows * head_dim * 4)?;

        let function = module.function(kernel)?;
        let seen = 2 * 2 * batch * self.length * kv_heads * head_dim;
        let case = Case {
            bench: "attention_decode",
            kernel,
            case,
            bytes: seen + 2 * 4 * rows * head_dim + 4 * (tables.len() + batch),
            operations: seen * heads_per_kv,
        };
        let scale = 1.0 / (head_dim as f32).sqrt();
        let launch = |index: usize| {
            let arguments = [
                q.address(0),
                cache.address(index % sets * elements),
                block_tables.address(),
                lengths.address(),
                out.address(),
                kv_heads as u64,
                heads_per_kv as u64,
                1,
                0,
                block_tokens as u64,
                self.sequence_blocks() as u64,
                u64::from(u32::MAX),
                u64::from(scale.to_bits()),
            ];
            device.launch(
                function,
                [kv_heads * heads_per_kv.div_ceil(block_heads), batch, 1],
                256,
                &arguments,
            )
        };
        report.launched(device, &case, sets, launch, |last| {
            let results = out.download::<f32>(0, rows * head_dim)?;
            finite(&results)?;
            for row in some_of(rows) {
                let key_or_value = |index| cache.at(last % sets * elements + index).to_f64();
                let expected = self.attention(row, |element| q.at(row * head_dim + element), key_or_value);
                for (element, expected) in expected.into_iter().enumerate() {
                    near(results[row * head_dim + element], expected, 1e-5, [row, element])?;
                }
            }
            Ok(())
        });
        Ok(())
    }

    /// A row of the result, in f64. `cache` returns elements of the set's cache.
    fn attention(&self, row: usize, q: impl Fn(usize) -> f32, cache: impl Fn(usize) -> f64) -> Vec<f64> {
        let Model { head_dim, kv_heads, heads_per_kv, .. } = self.model;
        let (sequence, kv_head) = (row / (kv_heads * heads_per_kv), row / heads_per_kv % kv_heads);
        let scores: Vec<f64> = (0..self.length)
            .map(|token| {
                let tile = self.tile(sequence, token, kv_head);
                let products = (0..head_dim).map(|d| f64::from(q(d)) * cache(tile + d * TILE + token % TILE));
                products.sum::<f64>() / (head_dim as f64).sqrt()
            })
            .collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
        let mut out = vec![0.0; head_dim];
        for (token, score) in scores.iter().enumerate() {
            let weight = (score - largest).exp() / total;
            let values = self.tile(sequence, token, kv_head) + (TILE + token % TILE) * head_dim;
            for (d, out) in out.iter_mut().enumerate() {
                *out += weight * cache(values + d);
            }
        }
        out
    }
}

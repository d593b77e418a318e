//! Attention against f64 loops, and its bits across instruction sets, block sizes and groupings of queries.

use proptest::prelude::*;

use super::*;
use crate::{KvShape, cpu::kv};

/// The values that the cache stores for one head's key or value.
type Round = fn(&[f32]) -> Vec<f64>;

struct Problem {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    tokens: usize,
    first: usize,
    kv_heads: usize,
    group: usize,
    head_dim: usize,
    window: Option<usize>,
}

/// Uniform in [-1, 1), from a linear congruential generator.
fn random(len: usize, state: &mut u64) -> Vec<f32> {
    (0..len)
        .map(|_| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*state >> 40) as f32 * (2.0 / (1u32 << 24) as f32) - 1.0
        })
        .collect()
}

impl Problem {
    fn run(&self, isa: Isa, format: KvFormat, block_tokens: usize, tile: usize, split: bool) -> Vec<f32> {
        let Problem { tokens, first, kv_heads, group, head_dim, .. } = *self;
        let blocks = (first + tokens).div_ceil(block_tokens);
        let shape = KvShape::new(2, kv_heads, head_dim, block_tokens, format).unwrap();
        let layout = KvLayout::new(shape, blocks);
        // Blocks in reverse order, NaN where nothing is written.
        let table: Vec<u32> = (0..blocks as u32).rev().collect();
        let mut cache = vec![u32::MAX; blocks * shape.block_bytes() / 4];
        let base: *mut u8 = cache.as_mut_ptr().cast();
        for position in 0..first + tokens {
            for head in 0..kv_heads {
                let at = (position * kv_heads + head) * head_dim;
                let block = table[position / block_tokens] as usize;
                let place = layout.place(1, block, head, position);
                let (key, value) = (&self.k[at..][..head_dim], &self.v[at..][..head_dim]);
                // SAFETY: the cache holds every block of the table.
                unsafe { kv::store(format, base, place, position, key, value) };
            }
        }
        let columns = kv_heads * group * head_dim;
        let mut out = vec![0.0; tokens * columns];
        let mut scratch = vec![f32::NAN; scratch_elems(head_dim, group)];
        // All KV heads of one query at a time, or one KV head of several queries.
        let together = if tile == 1 { kv_heads } else { 1 };
        for kv_head in (0..kv_heads).step_by(together) {
            for start in (0..tokens).step_by(tile) {
                let queries = Queries {
                    first_position: first + start,
                    count: tile.min(tokens - start),
                    q: self.q[start * columns..].as_ptr(),
                    q_stride_elems: columns,
                    out: out[start * columns..].as_mut_ptr(),
                    out_stride_elems: columns,
                    kv_head,
                    kv_heads: together,
                    group,
                    scale: 1.0 / (head_dim as f32).sqrt(),
                    window: self.window,
                };
                let cache = Cache { layout: &layout, base, layer: 1, block_table: &table };
                // SAFETY: the cache, q, out and scratch have the sizes of the problem, and only this thread uses them.
                unsafe {
                    match split {
                        false => attend(isa, cache, &queries, &mut scratch),
                        true => attend_in_parts(isa, cache, &queries, &mut scratch),
                    }
                }
            }
        }
        out
    }

    fn reference(&self, round: Round) -> Vec<f64> {
        let Problem { tokens, first, kv_heads, group, head_dim, .. } = *self;
        let mut out = Vec::new();
        for token in 0..tokens {
            for head in 0..kv_heads * group {
                let q = &self.q[(token * kv_heads * group + head) * head_dim..][..head_dim];
                let position = first + token;
                let start = self.window.map_or(0, |window| (position + 1).saturating_sub(window));
                let row = |values: &[f32], j: usize| -> Vec<f64> {
                    round(&values[(j * kv_heads + head / group) * head_dim..][..head_dim])
                };
                let scores: Vec<f64> = (start..=position)
                    .map(|j| {
                        q.iter().zip(row(&self.k, j)).map(|(q, k)| f64::from(*q) * k).sum::<f64>()
                            / (head_dim as f64).sqrt()
                    })
                    .collect();
                let total: f64 = scores.iter().map(|s| s.exp()).sum();
                for d in 0..head_dim {
                    let attended =
                        |(index, s): (usize, &f64)| s.exp() / total * row(&self.v, start + index)[d];
                    out.push(scores.iter().enumerate().map(attended).sum());
                }
            }
        }
        out
    }
}

/// As several threads do it: the first third of the splits merged in order, each of the others apart, then merged in
/// order.
unsafe fn attend_in_parts(isa: Isa, cache: Cache<'_>, queries: &Queries, scratch: &mut [f32]) {
    let elems = state_elems(cache.layout.head_dim(), queries.rows());
    let (first, splits) = (queries.splits() / 3, queries.splits());
    let mut states = vec![f32::NAN; elems * queries.kv_heads];
    let mut apart = vec![f32::NAN; elems * (splits - first)];
    // SAFETY: the caller's contract is that of `attend`.
    unsafe {
        attend_splits(isa, cache, queries, 0..first, Partials::ByHead(&mut states), scratch);
        attend_splits(isa, cache, queries, first..splits, Partials::BySplit(&mut apart), scratch);
        for (split, next) in (first..).zip(apart.chunks_exact(elems)) {
            let state = &mut states[split % queries.kv_heads * elems..][..elems];
            if split < queries.kv_heads {
                state.copy_from_slice(next);
            } else {
                merge(isa, cache.layout, state, next);
            }
        }
        for (head, state) in states.chunks_exact(elems).enumerate() {
            write(isa, cache.layout, queries, head, state);
        }
    }
}

#[test]
fn an_int8_cache_keeps_zeros_and_survives_what_is_not_finite() {
    let shape = KvShape::new(1, 1, 4, 16, KvFormat::Int8).unwrap();
    let layout = KvLayout::new(shape, 1);
    assert_eq!(shape.block_bytes(), 2 * 16 * 4 + 2 * 16 * 2);
    let mut cache = vec![u32::MAX; shape.block_bytes() / 4];
    let base: *mut u8 = cache.as_mut_ptr().cast();
    let rows =
        [([0.0; 4], [-0.0; 4]), ([f32::NAN, 1.0, 2.0, 3.0], [f32::INFINITY; 4]), ([1e30; 4], [1.0; 4])];
    for (position, (key, value)) in rows.iter().enumerate() {
        // SAFETY: the cache holds the one block.
        unsafe { kv::store(KvFormat::Int8, base, layout.place(0, 0, 0, position), position, key, value) };
    }
    let scales: &[f16] = &bytemuck::cast_slice(&cache)[2 * 16 * 4 / 2..];
    assert_eq!((scales[0].to_bits(), scales[16].to_bits()), (0, 0));
    assert!(scales[1].is_nan() && scales[17].is_nan());
    assert_eq!(scales[2], f16::MAX);
    let values: &[i8] = bytemuck::cast_slice(&cache);
    assert!((0..4).all(|d| values[16 * d] == 0 && values[64 + d] == 0), "zeros");
}

fn check(problem: &Problem, exact: bool) {
    let formats: [(KvFormat, Round); 3] = [
        (KvFormat::F32, |head| head.iter().copied().map(f64::from).collect()),
        (KvFormat::F16, |head| head.iter().map(|x| f16::from_f32(*x).to_f64()).collect()),
        (KvFormat::Int8, |head| {
            let scale = f16::from_f32(head.iter().fold(0.0f32, |m, x| m.max(x.abs())) / 127.0).to_f32();
            let q =
                |x: f32| if scale == 0.0 { 0.0 } else { (x / scale).round_ties_even().clamp(-127.0, 127.0) };
            head.iter().map(|x| f64::from(q(*x)) * f64::from(scale)).collect()
        }),
    ];
    for (format, round) in formats {
        let first = problem.run(Isa::Portable, format, 16, query_tile(problem.group), false);
        if exact {
            for (partials, expected) in first.iter().zip(problem.reference(round)) {
                // Values are at most 1; scores of size 8 have errors of 1e-6, and so does p.
                assert!((f64::from(*partials) - expected).abs() < 1e-5, "{partials} {expected}");
            }
        }
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let widest = query_tile(problem.group);
            for (block_tokens, tile, split) in [(16, 1, true), (64, 3.min(widest), false), (32, widest, true)]
            {
                let partials = problem.run(isa, format, block_tokens, tile, split);
                let same = partials.iter().zip(&first).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(
                    same,
                    "{isa} {format:?} blocks of {block_tokens}, {tile} queries at once, split: {split}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn attention_follows_the_definition_with_the_same_bits(
        tokens in 1usize..12, first in 0usize..60, kv_heads in 1usize..3, group in 1usize..6,
        head_dim in prop::sample::select(vec![2usize, 6, 16, 20, 32, 64, 80, 96, 128]),
        window in prop::option::of(1usize..40), seed in any::<u64>(),
    ) {
        let mut state = seed;
        let keys = (first + tokens) * kv_heads * head_dim;
        let problem = Problem {
            q: random(tokens * kv_heads * group * head_dim, &mut state),
            k: random(keys, &mut state),
            v: random(keys, &mut state),
            tokens, first, kv_heads, group, head_dim, window,
        };
        check(&problem, true);
    }
}

#[test]
fn segments_are_merged_with_the_same_bits() {
    for (first, window) in
        [(252, None), (1020, None), (2045, None), (2045, Some(1030)), (1500, Some(100)), (509, Some(4))]
    {
        let mut state = first as u64;
        let (tokens, kv_heads, group, head_dim) = (6, 3, 2, 32);
        let keys = (first + tokens) * kv_heads * head_dim;
        let problem = Problem {
            q: random(tokens * kv_heads * group * head_dim, &mut state),
            k: random(keys, &mut state),
            v: random(keys, &mut state),
            tokens,
            first,
            kv_heads,
            group,
            head_dim,
            window,
        };
        check(&problem, true);
    }
}

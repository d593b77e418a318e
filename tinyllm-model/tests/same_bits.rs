//! The law of the same bits: a token's logits do not depend on the instruction set, the number of threads or the
//! prefill chunk, nor on whether the token was prefilled or decoded.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test ends where it fails, and says what it skips

mod common;

use common::{RandomModel, configs, expected, group_sizes, kv_formats, oracle_entries, small_config};
use proptest::prelude::*;
use tinyllm_kernels::{DecodeThreads, Isa};
use tinyllm_mem::HostResource;
use tinyllm_model::{
    Engine, ModelConfig,
    checkpoint::{self, Checkpoint},
    engine::{EmbeddingsMode, EngineOptions, KvCacheConfig, WeightsMode},
};

/// The bits of every position's logits.
fn logits(model: &dyn Checkpoint, options: &EngineOptions, ids: &[u32]) -> Vec<Vec<u32>> {
    let mut engine = Engine::load(model, options, &HostResource::shared(), &|_| {}).unwrap();
    let mut rows = Vec::new();
    engine
        .logits(ids, &mut |position, row| {
            assert_eq!(position, rows.len());
            rows.push(row.iter().map(|value| value.to_bits()).collect());
        })
        .unwrap();
    rows
}

/// An engine that decodes with so many of its threads.
fn engine(model: &dyn Checkpoint, options: &EngineOptions, decode_threads: DecodeThreads) -> Engine {
    let backend = Engine::cpu(options, &HostResource::shared()).unwrap().with_decode_threads(decode_threads);
    Engine::load_on(&backend, model, options, &HostResource::shared(), &|_| {}).unwrap()
}

/// The bits of the last position's logits of every prefix, decoded one token after another.
fn decoded(
    model: &RandomModel,
    options: &EngineOptions,
    decode_threads: DecodeThreads,
    ids: &[u32],
) -> Vec<Vec<u32>> {
    let mut engine = engine(model, options, decode_threads);
    let sequence = engine.create_sequence().unwrap();
    ids.iter()
        .map(|id| engine.decode(sequence, *id).unwrap().iter().map(|value| value.to_bits()).collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logits_do_not_depend_on_how_they_are_computed(
        config in configs(),
        group_size in group_sizes(),
        weights in prop::sample::select(vec![WeightsMode::W8A16, WeightsMode::W8A16, WeightsMode::F16, WeightsMode::F32]),
        embeddings in prop::option::of(prop::sample::select(vec![EmbeddingsMode::Int8, EmbeddingsMode::F16])),
        kv in kv_formats(),
        seed in any::<u64>(),
        tokens in 1usize..40,
    ) {
        let vocab = config.vocab_size as u32;
        let ids: Vec<u32> = (0..tokens as u32).map(|i| (i * 7 + seed as u32 % 13) % vocab).collect();
        let model = RandomModel::new(config, seed);
        let options = |isa, threads, prefill_chunk, sampled_rows| EngineOptions::default()
            .with_weights(weights)
            .with_embeddings(embeddings)
            .with_group_size(group_size)
            .with_kv(KvCacheConfig::of_tokens(64)
                .with_format(kv))
            .with_isa(isa)
            .with_prefill_chunk(prefill_chunk)
            .with_sampled_rows(sampled_rows)
            .with_threads(Some(threads));
        let expected = logits(&model, &options(Isa::Portable, 1, 64, 64), &ids);
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            for (threads, chunk, sampled_rows) in [(1, 1, 1), (2, 7, 3), (3, 64, 16)] {
                let found = logits(&model, &options(isa, threads, chunk, sampled_rows), &ids);
                prop_assert!(found == expected, "{isa}, {threads} threads, chunks of {chunk}");
            }
            for (threads, decode_threads) in [(2, DecodeThreads::All), (2, DecodeThreads::One), (3, DecodeThreads::One)] {
                let found = decoded(&model, &options(isa, threads, 64, 1), decode_threads, &ids);
                prop_assert!(found == expected, "{isa}, decoded, {decode_threads:?} of {threads}");
            }
        }
    }
}

#[test]
fn every_reference_model_has_the_same_bits() {
    for path in oracle_entries("tiny").into_iter().filter(|path| path.join("config.json").exists()) {
        let (ids, _) = expected(&path.join("expected.safetensors"), "logits");
        let model = checkpoint::open(&path).unwrap();
        let mut first = None;
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            for threads in [1, 2, 3] {
                for prefill_chunk in [1, 7, 64, 512] {
                    let options = EngineOptions::default()
                        .with_isa(isa)
                        .with_threads(Some(threads))
                        .with_prefill_chunk(prefill_chunk)
                        .with_sampled_rows(16);
                    let found = logits(&*model, &options, &ids);
                    let first = first.get_or_insert_with(|| found.clone());
                    assert!(
                        *first == found,
                        "{}: {isa}, {threads} threads, chunks of {prefill_chunk}",
                        path.display()
                    );
                }
            }
        }
    }
}

/// Seven heads of twenty segments each are more than two threads have room for at once: they are folded in two waves.
#[test]
fn long_sequences_have_the_same_bits_however_their_keys_are_shared_out() {
    let config = ModelConfig {
        num_attention_heads: 7,
        num_key_value_heads: 7,
        head_dim: 8,
        max_position_embeddings: 8192,
        ..small_config()
    };
    let ids: Vec<u32> = (0..4867).map(|i| i * 7 % config.vocab_size as u32).collect();
    let (prompt, rest) = ids.split_at(4864);
    let model = RandomModel::new(config, 5);
    let bits = |threads, isa, decode_threads| -> Vec<Vec<u32>> {
        let kv = KvCacheConfig::of_tokens(ids.len());
        let options = EngineOptions::default().with_kv(kv).with_isa(isa).with_threads(Some(threads));
        let mut engine = engine(&model, &options, decode_threads);
        let sequence = engine.create_sequence().unwrap();
        engine.prefill(sequence, prompt, &mut || true).unwrap();
        rest.iter()
            .map(|id| engine.decode(sequence, *id).unwrap().iter().map(|value| value.to_bits()).collect())
            .collect()
    };
    let expected = bits(1, Isa::best(), DecodeThreads::All);
    for (threads, isa) in [(2, Isa::best()), (3, Isa::best()), (2, Isa::Portable)] {
        for decode_threads in [DecodeThreads::All, DecodeThreads::One] {
            assert!(
                bits(threads, isa, decode_threads) == expected,
                "{decode_threads:?} of {threads} threads, {isa}"
            );
        }
    }
}

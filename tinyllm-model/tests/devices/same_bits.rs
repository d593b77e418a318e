//! The law of the same bits: a device's logits are the processor's.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tinyllm_kernels::{GroupSize, Isa, KvFormat};
use tinyllm_mem::HostResource;
use tinyllm_model::{
    Engine,
    checkpoint::{self, Checkpoint},
    config::QuantizationType,
    engine::{EmbeddingsMode, EngineOptions, GroupSizeChoice, KvCacheConfig, WeightsMode},
};

use crate::{
    common::{RandomModel, configs, expected, group_sizes, kv_formats, oracle_entries, small_config},
    tested::{Tested, decoded, logits},
};

/// A model on every device, as one prompt, in chunks, and a token at a time.
fn compare(path: &Path, options: &EngineOptions, ids: &[u32], chunks: &[usize]) {
    let model = checkpoint::open(path).unwrap();
    compare_model(&*model, options, ids, chunks, &path.display().to_string());
}

fn compare_model(model: &dyn Checkpoint, options: &EngineOptions, ids: &[u32], chunks: &[usize], name: &str) {
    let options = options.clone().with_sampled_rows(16);
    let cpu = Engine::cpu(&options, &HostResource::shared()).unwrap();
    let expected = logits(&cpu, model, &options, ids);
    for device in Tested::all() {
        for chunk in chunks {
            // A chunk of one token is decoding: a few are enough.
            let ids = if *chunk == 1 { &ids[..ids.len().min(20)] } else { ids };
            let options = options.clone().with_prefill_chunk(*chunk);
            let found = logits(&device.cuda, model, &options, ids);
            assert!(found == expected[..ids.len()], "{name}: {options:?}");
        }
        device.end();
    }
}

/// Token ids within a vocabulary.
fn token_ids(count: usize, vocab: usize) -> Vec<u32> {
    (0..count).map(|i| ((i * 37 + 11) % vocab) as u32).collect()
}

#[test]
fn every_reference_model_has_the_same_bits() {
    for path in oracle_entries("tiny").into_iter().filter(|path| path.join("config.json").exists()) {
        let (ids, _) = expected(&path.join("expected.safetensors"), "logits");
        compare(&path, &EngineOptions::default(), &ids, &[1, 7, 64]);
    }
}

#[test]
fn so_has_every_model_of_compressed_tensors() {
    for path in oracle_entries("ct").into_iter().filter(|path| path.join("config.json").exists()) {
        let vocab = checkpoint::open(&path).unwrap().config().vocab_size;
        compare(&path, &EngineOptions::default(), &token_ids(24, vocab), &[1, 7, 64]);
    }
}

#[test]
fn so_has_every_gguf() {
    let ggufs: Vec<PathBuf> = oracle_entries("gguf")
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "gguf"))
        .collect();
    for path in ggufs {
        let vocab = checkpoint::open(&path).unwrap().config().vocab_size;
        compare(&path, &EngineOptions::default(), &token_ids(12, vocab), &[5, 64]);
    }
}

#[test]
fn formats_of_weights_and_cache_have_the_same_bits() {
    let path = oracle_entries("tiny").into_iter().find(|path| path.ends_with("llama_gqa_tied_bf16"));
    let Some(path) = path else { return };
    let ids = token_ids(40, checkpoint::open(&path).unwrap().config().vocab_size);
    for weights in [WeightsMode::W8A16, WeightsMode::F16, WeightsMode::F32] {
        for kv in [KvFormat::F16, KvFormat::Int8, KvFormat::F32] {
            let kv = KvCacheConfig::default().with_format(kv);
            compare(&path, &EngineOptions::default().with_weights(weights).with_kv(kv), &ids, &[1, 64]);
        }
    }
}

/// Groups of 2, 16 and 48 inputs, and of 768, which is more than a piece; the last group short.
#[test]
fn unusual_groups_have_the_same_bits() {
    for (group, hidden) in [(2, 24), (16, 40), (48, 120), (768, 1000)] {
        let mut config = small_config();
        (config.hidden_size, config.num_hidden_layers, config.vocab_size) = (hidden, 1, 40);
        config.quantization = QuantizationType::None;
        let model = RandomModel::new(config, group as u64);
        let group_size = GroupSizeChoice::Fixed(GroupSize::Elements(group));
        let options =
            EngineOptions::default().with_group_size(group_size).with_kv(KvCacheConfig::of_tokens(64));
        compare_model(&model, &options, &token_ids(12, 40), &[1, 64], &format!("groups of {group}"));
    }
}

/// More than a segment of attention, so that partial results are merged; a window that ends within one.
#[test]
fn long_sequences_have_the_same_bits() {
    for window in [None, Some(300)] {
        let mut config = small_config();
        config.max_position_embeddings = 640;
        config.sliding_windows = vec![window, None];
        let model = RandomModel::new(config, 9);
        let options = EngineOptions::default().with_kv(KvCacheConfig::of_tokens(600)).with_sampled_rows(4);
        let ids = token_ids(560, 50);
        let last = |backend: &dyn tinyllm_kernels::Backend| {
            let mut engine = crate::tested::load(backend, &model, &options);
            let sequence = engine.create_sequence().unwrap();
            let mut rows =
                vec![crate::tested::bits(engine.prefill(sequence, &ids, &mut || true).unwrap().unwrap())];
            rows.extend((0..3).map(|id| crate::tested::bits(engine.decode(sequence, id).unwrap())));
            rows
        };
        let cpu = Engine::cpu(&options, &HostResource::shared()).unwrap();
        let expected = last(&cpu);
        for device in Tested::all() {
            assert!(last(&device.cuda) == expected, "window {window:?}");
            device.end();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logits_do_not_depend_on_the_device(
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
        let options = |prefill_chunk, sampled_rows| EngineOptions::default()
            .with_weights(weights)
            .with_embeddings(embeddings)
            .with_group_size(group_size)
            .with_kv(KvCacheConfig::of_tokens(64)
                .with_format(kv))
            .with_isa(Isa::Portable)
            .with_prefill_chunk(prefill_chunk)
            .with_sampled_rows(sampled_rows);
        let cpu = Engine::cpu(&options(64, 64), &HostResource::shared()).unwrap();
        let expected = logits(&cpu, &model, &options(64, 64), &ids);
        for device in Tested::all() {
            for (chunk, sampled_rows) in [(64, 64), (7, 3)] {
                let found = logits(&device.cuda, &model, &options(chunk, sampled_rows), &ids);
                prop_assert!(found == expected, "chunks of {chunk}");
            }
            prop_assert!(decoded(&device.cuda, &model, &options(64, 1), &ids) == expected, "decoded");
            device.end();
        }
    }
}

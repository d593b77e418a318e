//! The law of the same bits over batches: a sequence gets what it would get alone, whatever is beside it, however its
//! blocks lie and whoever shares them.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test ends where it fails, and says what it skips

mod common;

use common::{RandomModel, configs, group_sizes, kv_formats};
use proptest::prelude::*;
use tinyllm_kernels::Isa;
use tinyllm_mem::HostResource;
use tinyllm_model::{
    Engine, ModelConfig, ModelError,
    engine::{EngineOptions, KvCacheConfig, SequenceId, SequenceInput},
};

fn load(model: &RandomModel, options: &EngineOptions) -> Engine {
    Engine::load(model, options, &HostResource::shared(), &|_| {}).unwrap()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

/// Each prompt alone, from an empty contiguous cache: the last position's logits, and those of four more tokens.
fn alone(model: &RandomModel, options: &EngineOptions, prompts: &[Vec<u32>]) -> Vec<Vec<Vec<u32>>> {
    let mut engine = load(model, options);
    let mut each = |prompt: &Vec<u32>| {
        let sequence = engine.create_sequence().unwrap();
        let mut rows = vec![bits(engine.prefill(sequence, prompt, &mut || true).unwrap().unwrap())];
        rows.extend((0..4).map(|token| bits(engine.decode(sequence, token).unwrap())));
        engine.free_sequence(sequence).unwrap();
        rows
    };
    prompts.iter().map(&mut each).collect()
}

/// All prompts together: their beginnings one after another with prefixes shared, their last tokens in one step, then four
/// steps of all.
fn together(engine: &mut Engine, prompts: &[Vec<u32>]) -> Vec<Vec<Vec<u32>>> {
    let mut sequences: Vec<SequenceId> = Vec::new();
    for prompt in prompts {
        let (sequence, common) = engine.create_sequence_with_prefix(prompt).unwrap();
        for tokens in prompt[common..prompt.len() - 1].chunks(engine.max_step_tokens()) {
            engine.forward(&[SequenceInput::new(sequence, tokens, 0)]).unwrap();
        }
        sequences.push(sequence);
    }
    let mut rows: Vec<Vec<Vec<u32>>> = vec![Vec::new(); prompts.len()];
    for step in 0..5u32 {
        let last: Vec<[u32; 1]> = prompts
            .iter()
            .map(|prompt| [if step == 0 { *prompt.last().unwrap() } else { step - 1 }])
            .collect();
        let batch: Vec<_> = sequences
            .iter()
            .zip(&last)
            .map(|(sequence, tokens)| SequenceInput::new(*sequence, tokens, 1))
            .collect();
        engine.forward(&batch).unwrap();
        for (index, rows) in rows.iter_mut().enumerate() {
            rows.push(bits(engine.step_logits(index).unwrap()));
        }
    }
    for sequence in sequences {
        engine.free_sequence(sequence).unwrap();
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_sequence_in_a_batch_gets_what_it_gets_alone(
        config in configs(),
        group_size in group_sizes(),
        format in kv_formats(),
        lengths in prop::collection::vec((1usize..50, any::<bool>()), 8),
        seed in any::<u64>(),
    ) {
        let vocab = config.vocab_size as u32;
        // Some begin alike.
        let prompts: Vec<Vec<u32>> = lengths
            .iter()
            .enumerate()
            .map(|(index, (length, is_alike))| {
                let start = if *is_alike { 0 } else { index as u32 };
                (0..*length as u32).map(|i| (start + i * 5) % vocab).collect()
            })
            .collect();
        let model = RandomModel::new(config, seed);
        let options = |isa, threads, block_size, prefill_chunk| EngineOptions::default()
            .with_isa(isa)
            .with_group_size(group_size)
            .with_prefill_chunk(prefill_chunk)
            .with_threads(Some(threads))
            .with_kv(KvCacheConfig::default()
                .with_max_batch_size(8)
                .with_max_seq_len(Some(64))
                .with_block_size(block_size)
                .with_format(format));
        let expected = alone(&model, &options(Isa::Portable, 1, 64, 64), &prompts);
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            for (threads, block_size, chunk) in [(1, 16, 64), (2, 32, 9)] {
                let mut engine = load(&model, &options(isa, threads, block_size, chunk));
                for round in 0..2 {
                    // The second round finds blocks where the first left them.
                    let found = together(&mut engine, &prompts);
                    prop_assert!(found == expected, "{isa}, {threads} threads, blocks of {block_size}, round {round}");
                }
            }
        }
    }
}

/// The segments of both, of three heads each, are more than two threads have room for at once; four take them in one go.
#[test]
fn two_long_sequences_get_what_they_get_alone() {
    let config = ModelConfig {
        num_attention_heads: 6,
        num_key_value_heads: 3,
        head_dim: 8,
        max_position_embeddings: 8192,
        ..common::small_config()
    };
    let prompt = |start: u32, length: u32| (0..length).map(|i| (start + i * 7) % 50).collect::<Vec<u32>>();
    let prompts = [prompt(0, 5900), prompt(1, 5200)];
    let model = RandomModel::new(config, 8);
    let options = |threads| {
        EngineOptions::default()
            .with_threads(Some(threads))
            .with_kv(KvCacheConfig::of_tokens(6000).with_max_batch_size(2))
    };
    let expected = alone(&model, &options(1), &prompts);
    for threads in [1, 2, 4] {
        let found = together(&mut load(&model, &options(threads)), &prompts);
        assert!(found == expected, "{threads} threads");
    }
}

#[test]
fn a_fork_goes_its_own_way() {
    let model = RandomModel::new(common::small_config(), 21);
    let kv = KvCacheConfig::of_tokens(64).with_max_batch_size(3);
    let options = EngineOptions::default().with_kv(kv).with_threads(Some(1));
    let mut engine = load(&model, &options);
    let first = engine.create_sequence().unwrap();
    engine.forward(&[SequenceInput::new(first, &[1, 2, 3, 4, 5], 0)]).unwrap();
    let second = engine.fork_sequence(first).unwrap();
    let free = engine.free_blocks();
    let step = |engine: &mut Engine, sequence, token| {
        engine.forward(&[SequenceInput::new(sequence, &[token], 1)]).unwrap();
        bits(engine.step_logits(0).unwrap())
    };
    let (a, b) = (step(&mut engine, first, 6), step(&mut engine, second, 7));
    assert_eq!(engine.free_blocks(), free - 1, "one copy");
    let expected = alone(&model, &options, &[vec![1, 2, 3, 4, 5, 6], vec![1, 2, 3, 4, 5, 7]]);
    assert_eq!((&a, &b), (&expected[0][0], &expected[1][0]));
    // Truncated, the first says again what it said.
    assert_eq!(engine.truncate_sequence(first, 5).unwrap(), 5);
    assert_eq!(step(&mut engine, first, 6), a);
}

#[test]
fn a_full_cache_is_an_error_and_not_the_end() {
    let model = RandomModel::new(common::small_config(), 22);
    let block_bytes = 16 * 2 * 2 * 2 * 16 * 2;
    let kv = KvCacheConfig::default()
        .with_max_batch_size(2)
        .with_max_seq_len(Some(48))
        .with_budget_bytes(Some(3 * block_bytes + 100));
    let mut engine = load(&model, &EngineOptions::default().with_kv(kv).with_threads(Some(1)));
    assert_eq!(engine.free_blocks(), 3);
    let tokens: Vec<u32> = (0..32).collect();
    let [first, second] = [engine.create_sequence().unwrap(), engine.create_sequence().unwrap()];
    engine.forward(&[SequenceInput::new(first, &tokens, 0)]).unwrap();
    let input = SequenceInput::new(second, &tokens, 1);
    let error = engine.forward(&[input]).unwrap_err();
    assert_eq!(error.to_string(), "the KV cache is full: 2 blocks are needed, 1 are free");
    let third = engine.create_sequence();
    assert!(matches!(third, Err(ModelError::TooManySequences { limit: 2 })), "{third:?}");
    engine.free_sequence(first).unwrap();
    engine.forward(&[input]).unwrap();
    let input = SequenceInput::new(second, &[1], 1);
    let twice = engine.forward(&[input, input]);
    assert!(matches!(twice, Err(ModelError::SequenceTwice)), "{twice:?}");
}

/// What verifies drafted tokens: a sequence's last rows in one step, beside a sequence that wants one and one that wants
/// none.
#[test]
fn several_rows_of_a_step_are_those_of_one_at_a_time() {
    let model = RandomModel::new(common::small_config(), 23);
    let kv = KvCacheConfig::of_tokens(64).with_max_batch_size(3);
    let options = EngineOptions::default().with_kv(kv).with_threads(Some(2)).with_sampled_rows(6);
    let drafted = [9, 8, 7, 6, 5];
    let expected = alone(&model, &options, &[vec![1, 2, 9], vec![1, 2, 9, 8], vec![1, 2, 9, 8, 7]]);
    let expected_last =
        alone(&model, &options, &[vec![1, 2, 9, 8, 7, 6], vec![1, 2, 9, 8, 7, 6, 5], vec![4]]);
    let expected: Vec<_> = expected.iter().chain(&expected_last).map(|rows| rows[0].clone()).collect();
    let mut engine = load(&model, &options);
    assert_eq!(engine.max_sampled_rows(), 6);
    let [first, second, third] = [(); 3].map(|()| engine.create_sequence().unwrap());
    engine.prefill(first, &[1, 2], &mut || true).unwrap();
    let beside = [SequenceInput::new(second, &[3], 0), SequenceInput::new(third, &[4], 1)];
    engine.forward(&[SequenceInput::new(first, &drafted, 5), beside[0], beside[1]]).unwrap();
    for (row, expected) in expected.iter().enumerate() {
        assert!(&bits(engine.step_logits(row).unwrap()) == expected, "row {row}");
    }
    // What is refused changes nothing.
    let too_many = engine.forward(&[SequenceInput::new(first, &[1; 7], 7)]);
    assert!(matches!(too_many, Err(ModelError::TooManyRows { rows: 7, limit: 6 })), "{too_many:?}");
    let beyond = engine.forward(&[SequenceInput::new(first, &[1], 2)]);
    assert!(matches!(beyond, Err(ModelError::RowsBeyondTokens { rows: 2, tokens: 1 })), "{beyond:?}");
    assert!(matches!(engine.step_logits(0), Err(ModelError::NoLogits { row: 0, rows: 0 })));
    assert_eq!(engine.sequence_tokens(first).unwrap().len(), 7);
}

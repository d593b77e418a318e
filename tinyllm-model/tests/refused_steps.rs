//! Sequences that are made, forked, cut and freed in a cache too small for them, with steps that are refused or fail
//! between: each gets the logits that it gets alone, and every block is accounted for.
#![allow(clippy::unwrap_used, clippy::panic)] // a test ends where it fails

mod common;

use std::collections::{HashMap, HashSet};

use common::RandomModel;
use proptest::prelude::*;
use tinyllm_kernels::KvFormat;
use tinyllm_mem::HostResource;
use tinyllm_model::{
    Engine, ModelConfig, ModelError,
    engine::{EngineOptions, KvCacheConfig, SequenceId, SequenceInput, WeightsMode},
};

const VOCAB: u32 = 50;
/// The token whose step fails in the first layer, after keys and values were written.
const POISON: u32 = 49;
const BLOCK_TOKENS: usize = 16;
const BLOCKS: usize = 7;
const MAX_SEQUENCES: usize = 4;
const MAX_SEQ_LEN: usize = 60;
const MAX_STEP_TOKENS: usize = 40;

/// What a caller may ask for. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Call {
    Create,
    CreateWithPrefix { of: usize, tokens: usize },
    Fork(usize),
    Truncate { which: usize, length: usize },
    Free(usize),
    Step { inputs: Vec<(usize, usize, usize)>, token: u32, fault: Option<Fault> },
}

/// What is wrong with a step.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// A token that no vocabulary holds.
    Unknown,
    /// A token that the kernels fail with.
    Poison,
    /// A sequence twice.
    Twice,
    /// An input without tokens.
    Empty,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let fault = prop::option::weighted(
        0.25,
        prop::sample::select(vec![Fault::Unknown, Fault::Poison, Fault::Poison, Fault::Twice, Fault::Empty]),
    );
    let inputs = prop::collection::vec((0usize..8, 1usize..24, 0usize..4), 1..=MAX_SEQUENCES);
    let step =
        (inputs, 0..VOCAB, fault).prop_map(|(inputs, token, fault)| Call::Step { inputs, token, fault });
    let call = prop_oneof![
        2 => Just(Call::Create),
        1 => (0usize..8, 1usize..40).prop_map(|(of, tokens)| Call::CreateWithPrefix { of, tokens }),
        3 => (0usize..8).prop_map(Call::Fork),
        2 => (0usize..8, 0usize..70).prop_map(|(which, length)| Call::Truncate { which, length }),
        1 => (0usize..8).prop_map(Call::Free),
        8 => step,
    ];
    prop::collection::vec(call, 1..50)
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

fn load(model: &RandomModel, format: KvFormat, kv: KvCacheConfig) -> Engine {
    let options = EngineOptions::default()
        .with_weights(WeightsMode::F32)
        .with_threads(Some(1))
        .with_prefill_chunk(MAX_STEP_TOKENS)
        .with_kv(kv.with_format(Some(format)).with_block_size(BLOCK_TOKENS));
    Engine::load(model, &options, &HostResource::shared(), &|_| {}).unwrap()
}

/// A sequence as it must be. Blocks have names that are never used twice.
#[derive(Clone, Debug)]
struct Expected {
    id: SequenceId,
    tokens: Vec<u32>,
    blocks: Vec<usize>,
    released: usize,
}

impl Expected {
    fn held(&self) -> &[usize] {
        &self.blocks[self.released..]
    }
}

/// The engine under test, one that runs each sequence alone, and what must be there.
struct Life {
    engine: Engine,
    alone: Engine,
    known: HashMap<Vec<u32>, Vec<u32>>,
    window: Option<usize>,
    sequences: Vec<Expected>,
    names: usize,
}

impl Life {
    fn new(config: &ModelConfig, format: KvFormat, window: Option<usize>) -> Self {
        let mut model = RandomModel::new(config.clone(), 3);
        model.poison(POISON as usize);
        let element = match format {
            KvFormat::F32 => 4,
            _ => 2,
        };
        // Two layers, keys and values, heads of 16.
        let block_bytes = BLOCK_TOKENS * 2 * 2 * config.num_key_value_heads * 16 * element;
        let small = KvCacheConfig::default()
            .with_max_batch_size(MAX_SEQUENCES)
            .with_max_seq_len(Some(MAX_SEQ_LEN))
            .with_budget_bytes(Some(BLOCKS * block_bytes));
        let engine = load(&model, format, small);
        assert_eq!(engine.free_blocks(), BLOCKS);
        let alone = load(&model, format, KvCacheConfig::of_tokens(MAX_SEQ_LEN));
        Life { engine, alone, known: HashMap::new(), window, sequences: Vec::new(), names: 0 }
    }

    fn used(sequences: &[Expected]) -> usize {
        sequences.iter().flat_map(Expected::held).collect::<HashSet<_>>().len()
    }

    /// Everything is as it must be.
    fn check(&self) {
        for sequence in &self.sequences {
            assert_eq!(self.engine.sequence_tokens(sequence.id).unwrap(), sequence.tokens);
        }
        assert_eq!(self.engine.free_blocks(), BLOCKS - Self::used(&self.sequences));
    }

    fn logits_alone(&mut self, tokens: &[u32]) -> Vec<u32> {
        if let Some(known) = self.known.get(tokens) {
            return known.clone();
        }
        let sequence = self.alone.create_sequence().unwrap();
        let found = bits(self.alone.prefill(sequence, tokens, &mut || true).unwrap().unwrap());
        self.alone.free_sequence(sequence).unwrap();
        self.known.insert(tokens.to_vec(), found.clone());
        found
    }

    fn call(&mut self, call: Call) {
        let count = self.sequences.len();
        match call {
            Call::Create => {
                let made = self.engine.create_sequence();
                assert_eq!(made.is_ok(), count < MAX_SEQUENCES);
                if let Ok(id) = made {
                    self.sequences.push(Expected { id, tokens: vec![], blocks: vec![], released: 0 });
                }
            }
            Call::CreateWithPrefix { of, tokens } if count > 0 => {
                let mut prompt = self.sequences[of % count].tokens.clone();
                prompt.truncate(tokens);
                prompt.push(7);
                let Ok((id, common)) = self.engine.create_sequence_with_prefix(&prompt) else {
                    assert_eq!(count, MAX_SEQUENCES);
                    return;
                };
                let shared = |sequence: &Expected| {
                    sequence
                        .tokens
                        .iter()
                        .zip(&prompt[..prompt.len() - 1])
                        .take_while(|(a, b)| a == b)
                        .count()
                };
                let whole = || self.sequences.iter().filter(|sequence| sequence.released == 0);
                assert_eq!(common, whole().map(shared).max().unwrap_or(0));
                // Of several that share as much, which one is the engine's choice; blocks of equal prefixes may differ.
                let blocks = common.div_ceil(BLOCK_TOKENS);
                let used = BLOCKS - self.engine.free_blocks();
                assert_eq!(used, Self::used(&self.sequences), "sharing takes nothing");
                let sources: Vec<Vec<usize>> = whole()
                    .filter(|sequence| shared(sequence) == common)
                    .map(|sequence| sequence.blocks[..blocks].to_vec())
                    .collect();
                prompt.truncate(common);
                if sources.iter().any(|source| source != &sources[0]) {
                    self.engine.free_sequence(id).unwrap();
                } else {
                    let blocks = sources.into_iter().next().unwrap_or_default();
                    self.sequences.push(Expected { id, tokens: prompt, blocks, released: 0 });
                }
            }
            Call::Fork(which) if count > 0 => {
                let source = self.sequences[which % count].clone();
                let made = self.engine.fork_sequence(source.id);
                assert_eq!(made.is_ok(), count < MAX_SEQUENCES);
                if let Ok(id) = made {
                    self.sequences.push(Expected { id, ..source });
                }
            }
            Call::Truncate { which, length } if count > 0 => {
                let sequence = &mut self.sequences[which % count];
                let left = self.engine.truncate_sequence(sequence.id, length).unwrap();
                let asked = length.min(sequence.tokens.len());
                assert!(left == asked || (left == 0 && sequence.released > 0), "{left} of {asked}");
                sequence.tokens.truncate(left);
                sequence.blocks.truncate(left.div_ceil(BLOCK_TOKENS));
                if left == 0 {
                    sequence.released = 0;
                }
            }
            Call::Free(which) if count > 0 => {
                let sequence = self.sequences.swap_remove(which % count);
                self.engine.free_sequence(sequence.id).unwrap();
            }
            Call::Step { inputs, token, fault } if count > 0 => self.step(&inputs, token, fault),
            _ => {}
        }
    }

    fn step(&mut self, inputs: &[(usize, usize, usize)], token: u32, fault: Option<Fault>) {
        let mut chosen: Vec<(usize, Vec<u32>, usize)> = Vec::new();
        for (which, length, rows) in inputs {
            let which = which % self.sequences.len();
            if chosen.iter().all(|(other, ..)| *other != which) {
                let tokens = (0..*length as u32).map(|i| (token + 3 * i) % POISON).collect();
                chosen.push((which, tokens, *rows));
            }
        }
        match fault {
            Some(Fault::Unknown) => *chosen.last_mut().unwrap().1.last_mut().unwrap() = VOCAB,
            Some(Fault::Poison) => *chosen.last_mut().unwrap().1.last_mut().unwrap() = POISON,
            Some(Fault::Twice) => chosen.push(chosen[0].clone()),
            Some(Fault::Empty) => chosen.last_mut().unwrap().1.clear(),
            None => {}
        }
        let (after, before_windows) = self.after(&chosen);
        let needed = Self::used(&before_windows) - Self::used(&self.sequences);
        let free = BLOCKS - Self::used(&self.sequences);
        let total: usize = chosen.iter().map(|(_, tokens, _)| tokens.len()).sum();
        let is_too_long = before_windows.iter().any(|sequence| sequence.tokens.len() > MAX_SEQ_LEN);
        let rows: usize = chosen.iter().map(|(.., rows)| rows).sum();
        let is_refused = total > MAX_STEP_TOKENS
            || is_too_long
            || rows > MAX_SEQUENCES
            || chosen.iter().any(|(_, tokens, rows)| *rows > tokens.len())
            || matches!(fault, Some(Fault::Unknown | Fault::Twice | Fault::Empty));
        let batch: Vec<_> = chosen
            .iter()
            .map(|(which, tokens, rows)| SequenceInput::new(self.sequences[*which].id, tokens, *rows))
            .collect();
        let found = self.engine.forward(&batch);
        let wanted = if found.is_ok() { rows } else { 0 };
        match self.engine.step_logits(wanted) {
            Err(ModelError::NoLogits { row, rows }) => assert_eq!((row, rows), (wanted, wanted)),
            other => panic!("logits that no input wanted: {other:?}"),
        }
        match found {
            Err(
                ModelError::EmptyPrompt
                | ModelError::TokenOutOfVocabulary { .. }
                | ModelError::ContextExceeded { .. }
                | ModelError::SequenceTwice
                | ModelError::StepTooLarge { .. }
                | ModelError::RowsBeyondTokens { .. }
                | ModelError::TooManyRows { .. },
            ) => assert!(is_refused),
            Err(ModelError::CacheFull { needed_blocks, free_blocks }) => {
                assert!(!is_refused);
                assert!(needed > free, "{needed} of {free}");
                assert_eq!((needed_blocks, free_blocks), (needed, free));
            }
            Err(ModelError::Kernel(_)) => assert!(matches!(fault, Some(Fault::Poison)) && needed <= free),
            Err(other) => panic!("{other}"),
            Ok(()) => {
                assert!(!is_refused && needed <= free && fault.is_none());
                self.sequences = after;
                let sampled = chosen.iter().flat_map(|(which, _, rows)| {
                    let tokens = &self.sequences[*which].tokens;
                    (0..*rows).rev().map(|later| tokens[..tokens.len() - later].to_vec())
                });
                for (row, tokens) in sampled.collect::<Vec<_>>().into_iter().enumerate() {
                    let found = bits(self.engine.step_logits(row).unwrap());
                    assert!(found == self.logits_alone(&tokens), "{tokens:?}");
                }
            }
        }
    }

    /// The sequences after a step that succeeds, and as they are before windows let blocks go.
    fn after(&mut self, chosen: &[(usize, Vec<u32>, usize)]) -> (Vec<Expected>, Vec<Expected>) {
        let mut after = self.sequences.clone();
        for (which, tokens, _) in chosen {
            let holders = |block: usize| {
                self.sequences.iter().filter(|sequence| sequence.held().contains(&block)).count()
            };
            let sequence = &mut after[*which];
            let partial = sequence.tokens.len() / BLOCK_TOKENS;
            if partial < sequence.blocks.len() && holders(sequence.blocks[partial]) > 1 {
                self.names += 1;
                sequence.blocks[partial] = self.names;
            }
            sequence.tokens.extend_from_slice(tokens);
            while sequence.blocks.len() < sequence.tokens.len().div_ceil(BLOCK_TOKENS) {
                self.names += 1;
                sequence.blocks.push(self.names);
            }
        }
        let before_windows = after.clone();
        if let Some(window) = self.window {
            for (which, ..) in chosen {
                let sequence = &mut after[*which];
                let unseen = (sequence.tokens.len() + 1).saturating_sub(window) / BLOCK_TOKENS;
                sequence.released = sequence.released.max(unseen.min(sequence.tokens.len() / BLOCK_TOKENS));
            }
        }
        (after, before_windows)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_step_that_does_not_succeed_changes_nothing(
        calls in calls(),
        format in prop::sample::select(vec![KvFormat::F16, KvFormat::F32]),
        window in prop::option::of(1usize..40),
    ) {
        let config = ModelConfig {
            vocab_size: VOCAB as usize,
            sliding_windows: vec![window; 2],
            ..common::small_config()
        };
        let mut life = Life::new(&config, format, window);
        for call in calls {
            life.call(call);
            life.check();
        }
        for sequence in std::mem::take(&mut life.sequences) {
            life.engine.free_sequence(sequence.id).unwrap();
        }
        assert_eq!(life.engine.free_blocks(), BLOCKS, "blocks were lost");
    }
}

/// The smallest life in which two sequences once wrote to one block.
#[test]
fn a_fork_after_a_refused_step_goes_its_own_way() {
    let config = ModelConfig { vocab_size: VOCAB as usize, ..common::small_config() };
    let mut life = Life::new(&config, KvFormat::F16, None);
    let step = |inputs: &[(usize, usize)], token| Call::Step {
        inputs: inputs.iter().map(|(which, tokens)| (*which, *tokens, 1)).collect(),
        token,
        fault: None,
    };
    // One, three and one block: two are left. The first sequence would take both, and the second needs one.
    let sequences = [Call::Create, Call::Create, Call::Create];
    let full = [step(&[(0, 16), (2, 16)], 1), step(&[(1, 24)], 2), step(&[(1, 24)], 3)];
    let refused = [step(&[(0, 20), (1, 12)], 4)];
    let forked = [Call::Fork(0), step(&[(0, 3)], 5), step(&[(3, 3)], 6), step(&[(0, 1), (3, 1)], 7)];
    for call in sequences.into_iter().chain(full).chain(refused).chain(forked) {
        life.call(call);
        life.check();
    }
    let lengths: Vec<usize> = life.sequences.iter().map(|sequence| sequence.tokens.len()).collect();
    assert_eq!(lengths, [20, 48, 16, 20]);
}

//! Names of sequences, and numbers of logits, that mean nothing any more: each call says so, and touches nobody else's.
#![allow(clippy::unwrap_used, clippy::panic)] // a test ends where it fails

mod common;

use common::RandomModel;
use tinyllm_mem::HostResource;
use tinyllm_model::{
    Engine, ModelError,
    engine::{EngineOptions, KvCacheConfig, SequenceId, SequenceInput},
};

fn load() -> Engine {
    let kv = KvCacheConfig::of_tokens(64).with_max_batch_size(2);
    let options = EngineOptions::default().with_kv(kv).with_threads(Some(1));
    let model = RandomModel::new(common::small_config(), 31);
    Engine::load(&model, &options, &HostResource::shared(), &|_| {}).unwrap()
}

fn input(sequence: SequenceId, tokens: &[u32], rows: usize) -> SequenceInput<'_> {
    SequenceInput::new(sequence, tokens, rows)
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

/// Every call with an id that the engine does not hold.
fn is_unknown(engine: &mut Engine, id: SequenceId) {
    let unknown = |result: Result<(), ModelError>| {
        assert!(matches!(result, Err(ModelError::UnknownSequence)), "{result:?}");
    };
    unknown(engine.sequence_tokens(id).map(drop));
    unknown(engine.truncate_sequence(id, 0).map(drop));
    unknown(engine.fork_sequence(id).map(drop));
    unknown(engine.forward(&[input(id, &[1], 1)]));
    unknown(engine.prefill(id, &[1], &mut || true).map(drop));
    unknown(engine.decode(id, 1).map(drop));
    unknown(engine.score(id, &[1], &mut |_, _| {}));
    unknown(engine.free_sequence(id));
}

#[test]
fn a_freed_sequence_is_nobody() {
    let mut engine = load();
    let first = engine.create_sequence().unwrap();
    engine.forward(&[input(first, &[1, 2, 3], 1)]).unwrap();
    engine.free_sequence(first).unwrap();
    is_unknown(&mut engine, first);
    // Others come to where it was: made anew, from a prefix, by a fork.
    let second = engine.create_sequence().unwrap();
    engine.forward(&[input(second, &[7, 8, 9], 1)]).unwrap();
    is_unknown(&mut engine, first);
    assert_eq!(engine.sequence_tokens(second).unwrap(), [7, 8, 9]);
    let fork = engine.fork_sequence(second).unwrap();
    engine.free_sequence(second).unwrap();
    let (prefix, common) = engine.create_sequence_with_prefix(&[7, 8, 1]).unwrap();
    assert_eq!(common, 2);
    for freed in [first, second] {
        is_unknown(&mut engine, freed);
    }
    assert_eq!(engine.sequence_tokens(fork).unwrap(), [7, 8, 9]);
    assert_eq!(engine.sequence_tokens(prefix).unwrap(), [7, 8]);
    engine.free_sequence(fork).unwrap();
    let last = engine.create_sequence().unwrap();
    engine.prefill(last, &[4, 5], &mut || true).unwrap();
    for freed in [first, second, fork] {
        is_unknown(&mut engine, freed);
    }
    assert_eq!(engine.sequence_tokens(last).unwrap(), [4, 5]);
}

#[test]
fn a_sequence_of_another_engine_is_nobody() {
    let (mut engine, mut other) = (load(), load());
    let (own, others) = (engine.create_sequence().unwrap(), other.create_sequence().unwrap());
    engine.forward(&[input(own, &[1, 2], 1)]).unwrap();
    is_unknown(&mut engine, others);
    assert_eq!(engine.sequence_tokens(own).unwrap(), [1, 2]);
}

#[test]
fn there_are_no_logits_but_those_of_the_last_step() {
    let mut engine = load();
    let none = |engine: &mut Engine, row, rows| match engine.step_logits(row) {
        Err(ModelError::NoLogits { row: found, rows: of }) => assert_eq!((found, of), (row, rows)),
        other => panic!("{other:?}"),
    };
    none(&mut engine, 0, 0);
    let [a, b] = [engine.create_sequence().unwrap(), engine.create_sequence().unwrap()];
    engine.forward(&[input(a, &[1], 1), input(b, &[2], 1)]).unwrap();
    let both = [0, 1].map(|index| bits(engine.step_logits(index).unwrap()));
    assert_ne!(both[0], both[1]);
    none(&mut engine, 2, 2);
    none(&mut engine, usize::MAX, 2);
    // The second row is the step's before.
    engine.forward(&[input(a, &[3], 1), input(b, &[4], 0)]).unwrap();
    none(&mut engine, 1, 1);
    engine.forward(&[input(b, &[5], 0)]).unwrap();
    none(&mut engine, 0, 0);
    // A step that is refused gives none.
    engine.forward(&[input(a, &[6], 1)]).unwrap();
    engine.step_logits(0).unwrap();
    engine.forward(&[input(a, &[50], 1)]).unwrap_err();
    none(&mut engine, 0, 0);
    engine.forward(&[]).unwrap_err();
    // Those of a freed sequence are nobody's; its neighbour's stay.
    engine.forward(&[input(a, &[6], 1), input(b, &[7], 1)]).unwrap();
    let second = bits(engine.step_logits(1).unwrap());
    engine.free_sequence(a).unwrap();
    assert!(matches!(engine.step_logits(0), Err(ModelError::UnknownSequence)));
    assert_eq!(bits(engine.step_logits(1).unwrap()), second);
    engine.create_sequence().unwrap();
    assert!(matches!(engine.step_logits(0), Err(ModelError::UnknownSequence)));
    // Those of every position went to who asked for them.
    engine.free_sequence(b).unwrap();
    engine.logits(&[1, 2, 3], &mut |_, _| {}).unwrap();
    none(&mut engine, 0, 0);
}

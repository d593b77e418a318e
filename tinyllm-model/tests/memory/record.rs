//! The record of a run's memory: each weight once, four slabs, and nothing allocated after loading.

use std::{collections::HashSet, sync::Arc};

use tinyllm_mem::{Category, HostMemory, HostResource, Tracking};
use tinyllm_model::{
    Engine,
    engine::{EngineOptions, KvCacheConfig},
};

use crate::common::{RandomModel, small_config};

#[test]
fn weights_are_held_once_and_decoding_allocates_nothing() {
    let tracking = Arc::new(Tracking::new(HostResource::shared()));
    let memory: HostMemory = tracking.clone();
    let config = small_config();
    let model = RandomModel::new(config.clone(), 7);
    let options = EngineOptions::default().with_kv(KvCacheConfig::of_tokens(64)).with_threads(Some(2));
    let mut engine = Engine::load(&model, &options, &memory, &|_| {}).unwrap();

    let loaded = tracking.report();
    let names: Vec<&str> = loaded.live.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), 4, "{names:?}");
    // By hand: per layer q and o 64·64, k and v 32·64, gate, up and down 96·64 weights of one byte; groups of 32.
    let layer = 2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64;
    assert_eq!(loaded.categories[&Category::Weights].live_bytes, 2 * layer);
    assert_eq!(loaded.categories[&Category::Embeddings].live_bytes, 50 * 64);
    assert_eq!(loaded.categories[&Category::Scales].live_bytes, 2 * (2 * layer + 50 * 64) / 32);
    assert_eq!(loaded.categories[&Category::Norms].live_bytes, 5 * 64 * 2);
    // Keys and values of two layers, two heads of 16, in f16, for 64 tokens.
    assert_eq!(loaded.categories[&Category::Kv].live_bytes, 64 * 2 * 2 * 2 * 16 * 2);
    // Token ids and blocks of one sequence; a count and two words a candidate for each token of the vocabulary.
    assert_eq!(loaded.categories[&Category::Slots].live_bytes, 4 * (64 + 4 + 3 * 50));

    let sequence = engine.create_sequence().unwrap();
    engine.prefill(sequence, &[1, 2, 3, 4, 5], &mut || true).unwrap();
    for token in 0..40 {
        engine.decode(sequence, token).unwrap();
    }
    let after = tracking.report();
    assert_eq!(after.allocations_total, loaded.allocations_total);
    assert_eq!(after.total, loaded.total);
    drop(engine);
    assert_eq!(tracking.report().total.live_bytes, 0);
}

//! What is planned is what is recorded, in every category and at the peak, from loading to dropping.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use tinyllm_kernels::Isa;
use tinyllm_mem::{Category, HostMemory, HostResource, Report, Tracking};
use tinyllm_model::{
    Engine, ModelError,
    engine::{EmbeddingsMode, EngineOptions, EnginePlan, KvCacheConfig, SequenceInput, WeightsMode},
};

use crate::common::{RandomModel, configs, group_sizes, kv_formats};

/// Peaks by category, as the record has them.
fn recorded(report: &Report) -> BTreeMap<Category, (usize, usize)> {
    report.categories.iter().map(|(category, usage)| (*category, (usage.peak_bytes, usage.count))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_plan_is_the_record(
        config in configs(),
        group_size in group_sizes(),
        weights in prop::sample::select(vec![WeightsMode::W8A16, WeightsMode::F16, WeightsMode::F32]),
        embeddings in prop::option::of(prop::sample::select(vec![EmbeddingsMode::Int8, EmbeddingsMode::F16])),
        format in kv_formats(),
        (max_batch_size, max_seq_len, prefill_chunk) in (1usize..5, 1usize..70, 1usize..40),
        (block_size, threads) in (prop::sample::select(vec![16usize, 32, 64]), 1usize..4),
        lengths in prop::collection::vec(1usize..70, 4),
        seed in any::<u64>(),
    ) {
        let vocab = config.vocab_size as u32;
        let model = RandomModel::new(config, seed);
        let options = EngineOptions::default()
            .with_weights(weights)
            .with_embeddings(embeddings)
            .with_group_size(group_size)
            .with_prefill_chunk(prefill_chunk)
            .with_kv(KvCacheConfig::default()
                .with_max_batch_size(max_batch_size)
                .with_max_seq_len(Some(max_seq_len))
                .with_block_size(block_size)
                .with_format(format))
            .with_threads(Some(threads));
        let plan = EnginePlan::of_checkpoint(&Engine::cpu(&options, &HostResource::shared()).unwrap(), &model, &options).unwrap();
        let planned: BTreeMap<Category, (usize, usize)> =
            plan.categories().iter().map(|(category, usage)| (*category, (usage.bytes, usage.count))).collect();

        let tracking = Arc::new(Tracking::new(HostResource::shared()));
        let memory: HostMemory = tracking.clone();
        let mut engine = Engine::load(&model, &options, &memory, &|_| {}).unwrap();
        prop_assert_eq!(recorded(&tracking.report()), planned.clone(), "after loading");
        prop_assert_eq!(tracking.report().total.peak_bytes, plan.total_bytes());

        // Ragged prompts, a chunk at a time, then a few steps of all together.
        let sequences: Vec<_> = (0..max_batch_size).map(|_| engine.create_sequence().unwrap()).collect();
        for (sequence, length) in sequences.iter().zip(&lengths) {
            let tokens: Vec<u32> = (0..(*length).min(max_seq_len) as u32).map(|i| i % vocab).collect();
            for chunk in tokens.chunks(engine.max_step_tokens()) {
                engine.forward(&[SequenceInput::new(*sequence, chunk, 1)]).unwrap();
            }
        }
        for _ in 0..3 {
            let with_room = sequences.iter().filter(|s| engine.sequence_tokens(**s).unwrap().len() < max_seq_len);
            let batch: Vec<_> = with_room
                .map(|sequence| SequenceInput::new(*sequence, &[1], 1))
                .collect();
            if !batch.is_empty() {
                engine.forward(&batch).unwrap();
            }
        }
        prop_assert_eq!(recorded(&tracking.report()), planned, "after running");
        prop_assert_eq!(tracking.report().total.peak_bytes, plan.total_bytes());
        prop_assert_eq!(plan.slabs().iter().map(|slab| slab.bytes).sum::<usize>(), plan.total_bytes());
        drop(engine);
        prop_assert_eq!(tracking.report().total.live_bytes, 0);
    }
}

/// A budget is held by construction: a plan that fits runs within it, one byte less is refused before loading.
#[test]
fn a_budget_is_exact() {
    let config = crate::common::small_config();
    let model = RandomModel::new(config, 3);
    let options = |memory_budget_bytes, max_seq_len| {
        EngineOptions::default()
            .with_memory_budget_bytes(memory_budget_bytes)
            .with_kv(KvCacheConfig::of_tokens(max_seq_len))
            .with_isa(Isa::Portable)
            .with_threads(Some(1))
    };
    let backend = Engine::cpu(&options(None, 100), &HostResource::shared()).unwrap();
    let needed = EnginePlan::of_checkpoint(&backend, &model, &options(None, 100)).unwrap().total_bytes();
    let tracking = Arc::new(Tracking::new(HostResource::shared()));
    let memory: HostMemory = tracking.clone();
    drop(Engine::load(&model, &options(Some(needed), 100), &memory, &|_| {}).unwrap());
    let before = tracking.report().allocations_total;
    let refused = Engine::load(&model, &options(Some(needed - 1), 100), &memory, &|_| {}).err().unwrap();
    assert_eq!(tracking.report().allocations_total, before, "refused before anything is allocated");
    let message = refused.to_string();
    assert!(
        message.contains(&format!("{needed} bytes are needed")) && message.contains("1 too few"),
        "{message}"
    );
    let ModelError::OverBudget { largest_context: Some(fits), largest_context_int8, .. } = refused else {
        panic!("{message}")
    };
    // What it says would fit does fit.
    assert!((80..100).contains(&fits) && largest_context_int8 == Some(100), "{message}");
    drop(Engine::load(&model, &options(Some(needed - 1), fits), &memory, &|_| {}).unwrap());
    assert!(Engine::load(&model, &options(Some(1000), 100), &memory, &|_| {}).is_err());
    // So does the batch.
    let batch = |max_batch_size, budget| {
        let mut options = options(budget, 100);
        options.kv.max_batch_size = max_batch_size;
        options
    };
    let three = EnginePlan::of_checkpoint(&backend, &model, &batch(3, None)).unwrap().total_bytes();
    let refused = Engine::load(&model, &batch(8, Some(three)), &memory, &|_| {}).err().unwrap();
    assert!(matches!(refused, ModelError::OverBudget { largest_batch: Some(3), .. }), "{refused}");
}

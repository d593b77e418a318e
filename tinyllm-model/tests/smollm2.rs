//! SmolLM2-135M-Instruct against references made with torch. Skipped, and said so, where the model has not been fetched
//! (`tinyllm run smollm2` does that) or the reference set is the subset.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test ends where it fails, and says what it skips

mod common;

use std::{ops::ControlFlow, path::Path};

use common::{oracle_dir, smollm2};
use serde_json::Value;
use tinyllm_kernels::{Isa, KvFormat};
use tinyllm_mem::HostResource;
use tinyllm_model::{
    Engine, checkpoint,
    engine::{EngineOptions, KvCacheConfig, SequenceInput, WeightsMode},
    generation::{self, GenerationParameters},
    perplexity,
    sampling::Sampling,
};

fn reference(name: &str) -> Option<Value> {
    let path = oracle_dir().join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: {} is absent", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn load(path: &Path, options: &EngineOptions) -> Engine {
    let checkpoint = checkpoint::open(path).unwrap();
    Engine::load(&*checkpoint, options, &HostResource::shared(), &|_| {}).unwrap()
}

fn f32_options() -> EngineOptions {
    EngineOptions::default().with_weights(WeightsMode::F32).with_kv(KvCacheConfig::of_tokens(1024))
}

#[test]
fn logits_and_greedy_tokens_match_torch() {
    let (Some(model), Some(reference)) = (smollm2(), reference("smollm2_reference.json")) else { return };
    let mut engine = load(&model, &f32_options());
    let sequence = engine.create_sequence().unwrap();
    for entry in reference["variants"]["gguf_fp32"].as_array().unwrap() {
        let (name, prompt) = (&entry["name"], ids(&entry["ids"]));
        let row = engine.prefill(sequence, &prompt, &mut || true).unwrap().unwrap().to_vec();
        let top5 = entry["top5"].as_array().unwrap().iter().map(|top| (top[0].as_u64().unwrap(), &top[1]));
        let first8 = (0..).zip(entry["logits_first8"].as_array().unwrap());
        for (index, value) in top5.chain(first8) {
            let difference = (f64::from(row[index as usize]) - value.as_f64().unwrap()).abs();
            // f16 weights would be off by 1.9e-2, an f16 cache by 5e-3.
            assert!(difference <= 3e-3, "{name}: logit {index} is off by {difference}");
        }
        let parameters = GenerationParameters::default()
            .with_sampling(Sampling::greedy())
            .with_max_tokens(Some(64))
            .with_ignore_eos(true);
        let mut go_on = |_: generation::Event<'_>| ControlFlow::Continue(());
        let answer =
            generation::generate(&mut engine, sequence, None, &prompt, &parameters, &mut go_on).unwrap();
        assert_eq!(answer.ids.len(), 64, "{name}");
        let margins = entry["greedy_margin"].as_array().unwrap();
        for ((found, expected), margin) in answer.ids.iter().zip(ids(&entry["greedy64"])).zip(margins) {
            if *found != expected {
                assert!(margin.as_f64().unwrap() <= 0.05, "{name}: {found} instead of {expected}");
                break;
            }
        }
    }
}

#[test]
fn perplexity_and_divergence_are_those_of_the_format() {
    let (Some(model), Some(text)) = (smollm2(), reference("ppl/persuasion_4096_ids.json")) else { return };
    let ids = ids(text.get("ids").unwrap_or(&text));
    let options = |weights| f32_options().with_weights(weights).with_sampled_rows(16);
    let mut w8a16 = load(&model, &options(WeightsMode::W8A16));
    let mut f32 = load(&model, &options(WeightsMode::F32));
    let measured = perplexity::measure(&mut w8a16, Some(&mut f32), &ids, 1024, &mut |_, _| {}).unwrap();
    let against = measured.against.unwrap();
    assert_eq!(measured.predictions, 4092);
    assert!((measured.ppl - 35.93).abs() <= 0.02, "W8A16: {}", measured.ppl);
    assert!((against.other_ppl - 35.86).abs() <= 0.02, "f32: {}", against.other_ppl);
    assert!(against.kl_divergence <= 2.0e-3, "KL: {}", against.kl_divergence);
}

#[test]
fn the_same_bits_however_computed() {
    let (Some(model), Some(text)) = (smollm2(), reference("ppl/persuasion_4096_ids.json")) else { return };
    let ids = &ids(text.get("ids").unwrap_or(&text))[..300];
    let mut first: Option<Vec<Vec<u32>>> = None;
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        for (threads, prefill_chunk) in [(1, 512), (2, 1), (3, 7), (2, 64)] {
            let options = EngineOptions::default()
                .with_isa(isa)
                .with_threads(Some(threads))
                .with_prefill_chunk(prefill_chunk)
                .with_sampled_rows(16)
                .with_kv(KvCacheConfig::of_tokens(512));
            let mut rows = Vec::new();
            load(&model, &options)
                .logits(ids, &mut |_, row| rows.push(row.iter().map(|value| value.to_bits()).collect()))
                .unwrap();
            let first = first.get_or_insert_with(|| rows.clone());
            assert!(*first == rows, "{isa}, {threads} threads, chunks of {prefill_chunk}");
        }
    }
}

#[test]
fn an_int8_cache_costs_little() {
    let (Some(model), Some(text)) = (smollm2(), reference("ppl/persuasion_4096_ids.json")) else { return };
    let ids = ids(text.get("ids").unwrap_or(&text));
    let ppl = |format| {
        let kv = KvCacheConfig::of_tokens(1024).with_format(Some(format));
        let mut engine = load(&model, &EngineOptions::default().with_kv(kv).with_sampled_rows(16));
        perplexity::measure(&mut engine, None, &ids, 1024, &mut |_, _| {}).unwrap().ppl
    };
    let (f16, int8) = (ppl(KvFormat::F16), ppl(KvFormat::Int8));
    assert!(int8 <= 1.003 * f16, "{f16} became {int8}");
}

#[test]
fn eight_ragged_prompts_get_what_each_gets_alone() {
    let (Some(model), Some(text)) = (smollm2(), reference("ppl/persuasion_4096_ids.json")) else { return };
    let ids = ids(text.get("ids").unwrap_or(&text));
    let lengths = [1, 7, 16, 17, 33, 40, 52, 64];
    let prompts: Vec<&[u32]> =
        lengths.iter().enumerate().map(|(i, length)| &ids[30 * i..30 * i + length]).collect();
    for format in [KvFormat::F16, KvFormat::Int8] {
        let options = |isa, threads, block_size| {
            EngineOptions::default().with_isa(isa).with_threads(Some(threads)).with_kv(
                KvCacheConfig::of_tokens(80)
                    .with_max_batch_size(8)
                    .with_format(Some(format))
                    .with_block_size(block_size),
            )
        };
        let bits = |logits: &[f32]| -> Vec<u32> { logits.iter().map(|logit| logit.to_bits()).collect() };
        let mut single = load(&model, &options(Isa::best(), 2, 80));
        let expected: Vec<Vec<u32>> = prompts
            .iter()
            .map(|prompt| {
                let sequence = single.create_sequence().unwrap();
                bits(single.prefill(sequence, prompt, &mut || true).unwrap().unwrap())
            })
            .collect();
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let mut engine = load(&model, &options(isa, 1, 16));
            let sequences: Vec<_> = prompts.iter().map(|_| engine.create_sequence().unwrap()).collect();
            let input = |index: usize, tokens| SequenceInput::new(sequences[index], tokens, 1);
            // All but the last tokens in one ragged step (the first prompt has no other), then the last ones together.
            let first: Vec<_> =
                (1..8).map(|index| input(index, &prompts[index][..prompts[index].len() - 1])).collect();
            engine.forward(&first).unwrap();
            let last: Vec<_> =
                (0..8).map(|index| input(index, &prompts[index][prompts[index].len() - 1..])).collect();
            engine.forward(&last).unwrap();
            for (index, expected) in expected.iter().enumerate() {
                assert!(
                    bits(engine.step_logits(index).unwrap()) == *expected,
                    "{isa} {format:?}: prompt {index}"
                );
            }
            // And once more over the blocks that are there.
            engine.free_sequence(sequences[0]).unwrap();
            let (sequence, common) = engine.create_sequence_with_prefix(prompts[7]).unwrap();
            assert_eq!(common, 63);
            engine.forward(&[SequenceInput::new(sequence, &prompts[7][common..], 1)]).unwrap();
            assert!(bits(engine.step_logits(0).unwrap()) == expected[7], "{isa} {format:?}: a shared prefix");
        }
    }
}

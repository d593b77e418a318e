//! Logits against references made with torch: every architecture variant, spelling of a config, GGUF type and
//! compressed-tensors layout in the reference set.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test ends where it fails, and says what it skips

mod common;

use std::path::Path;

use common::{expected, largest_difference, oracle_dir, oracle_entries};
use tinyllm_kernels::KvFormat;
use tinyllm_mem::HostResource;
use tinyllm_model::{
    Engine, checkpoint,
    engine::{EmbeddingsMode, EngineOptions, KvCacheConfig, WeightsMode},
    generation::{self, GenerationParameters},
    sampling::Sampling,
};

fn f32_options() -> EngineOptions {
    EngineOptions::default().with_weights(WeightsMode::F32).with_sampled_rows(32).with_threads(Some(2))
}

fn logits(model: &Path, options: &EngineOptions, ids: &[u32]) -> Vec<f32> {
    let checkpoint = checkpoint::open(model).unwrap();
    let mut engine = Engine::load(&*checkpoint, options, &HostResource::shared(), &|_| {}).unwrap();
    let mut all = Vec::new();
    engine.logits(ids, &mut |_, row| all.extend_from_slice(row)).unwrap();
    all
}

fn model_folders(folder: &str) -> Vec<std::path::PathBuf> {
    oracle_entries(folder).into_iter().filter(|path| path.join("config.json").exists()).collect()
}

#[test]
fn tiny_models_match_torch_at_every_position() {
    for model in model_folders("tiny") {
        let (ids, reference) = expected(&model.join("expected.safetensors"), "logits");
        let worst = largest_difference(&logits(&model, &f32_options(), &ids), &reference);
        // f32 arithmetic in another order: torch's own prefill and decode differ by up to 7e-5 on these models.
        assert!(worst <= 1e-3, "{}: {worst}", model.display());
    }
}

#[test]
fn greedy_tokens_match_where_the_margin_is_clear() {
    for model in model_folders("tiny") {
        let text = std::fs::read_to_string(model.join("expected.json")).unwrap();
        let reference: serde_json::Value = serde_json::from_str(&text).unwrap();
        let numbers = |key: &str| -> Vec<f64> {
            reference[key].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
        };
        let prompt: Vec<u32> = numbers("greedy_prompt").iter().map(|id| *id as u32).collect();
        let checkpoint = checkpoint::open(&model).unwrap();
        let mut engine =
            Engine::load(&*checkpoint, &f32_options(), &HostResource::shared(), &|_| {}).unwrap();
        let parameters = GenerationParameters::default()
            .with_sampling(Sampling::greedy())
            .with_max_tokens(Some(24))
            .with_ignore_eos(true);
        let sequence = engine.create_sequence().unwrap();
        let answer = generation::generate(&mut engine, sequence, None, &prompt, &parameters, &mut |_| {
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(answer.ids.len(), 24, "{}", model.display());
        let pairs = answer.ids.iter().zip(numbers("greedy24")).zip(numbers("greedy_margin"));
        for (index, ((found, reference), margin)) in pairs.enumerate() {
            if *found != reference as u32 {
                // Twice the tolerance of the logits: nearer than that, either token is right.
                assert!(margin <= 2e-3, "{}: token {index} (margin {margin})", model.display());
                break;
            }
        }
    }
}

#[test]
fn other_spellings_of_a_config_give_the_same_logits() {
    let tiny = oracle_dir().join("tiny");
    let mut spellings: Vec<(std::path::PathBuf, std::path::PathBuf)> = Vec::new();
    for folder in model_folders("config_v5") {
        spellings.push((folder.join("config.json"), tiny.join(folder.file_name().unwrap())));
    }
    let manifest = oracle_dir().join("config_variants/manifest.json");
    if let Ok(text) = std::fs::read_to_string(&manifest) {
        let entries: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        for entry in entries {
            let config = manifest.with_file_name(entry["config"].as_str().unwrap());
            spellings
                .push((config, oracle_dir().join(entry["use_weights_and_expected_of"].as_str().unwrap())));
        }
    }
    for (config, model) in spellings {
        if !model.exists() {
            eprintln!("skipped: {} is absent", model.display());
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(&model).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap();
            if name.to_string_lossy().contains("model") {
                std::fs::copy(&path, folder.path().join(name)).unwrap();
            }
        }
        std::fs::copy(&config, folder.path().join("config.json")).unwrap();
        let (ids, reference) = expected(&model.join("expected.safetensors"), "logits");
        let worst = largest_difference(&logits(folder.path(), &f32_options(), &ids), &reference);
        assert!(worst <= 1e-3, "{}: {worst}", config.display());
    }
}

#[test]
fn gguf_files_match_torch_on_the_dequantised_weights() {
    let shared = oracle_dir().join("gguf/tiny256_expected.safetensors");
    for file in
        oracle_entries("gguf").into_iter().filter(|path| path.extension().is_some_and(|e| e == "gguf"))
    {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        let (kind, format) = stem.split_once('.').unwrap();
        let (ids, reference) = match kind {
            "tiny256" => expected(&shared, &format!("{format}.logits")),
            _ => {
                let path = oracle_dir().join("tiny").join(kind).join("expected.safetensors");
                if !path.exists() {
                    continue;
                }
                expected(&path, "logits")
            }
        };
        let worst = largest_difference(&logits(&file, &f32_options(), &ids), &reference);
        assert!(worst <= 2e-3, "{}: {worst}", file.display());
    }
}

#[test]
fn compressed_tensors_match_transformers() {
    for model in model_folders("ct") {
        let (ids, reference) = expected(&model.join("expected.safetensors"), "logits");
        let worst = largest_difference(&logits(&model, &f32_options(), &ids), &reference);
        assert!(worst <= 1e-3, "{} as f32: {worst}", model.display());
        let w8a16 = f32_options()
            .with_weights(WeightsMode::W8A16)
            .with_embeddings(Some(EmbeddingsMode::F16))
            .with_kv(KvCacheConfig::default().with_format(Some(KvFormat::F32)));
        let repacked = logits(&model, &w8a16, &ids);
        let worst = largest_difference(&repacked, &reference);
        assert!(worst <= W8A16_BOUND, "{} as W8A16: {worst}", model.display());
        let mapped = logits(&model, &w8a16.with_mmap(true), &ids);
        assert!(
            mapped.iter().zip(&repacked).all(|(a, b)| a.to_bits() == b.to_bits()),
            "{}: mapped weights give other bits",
            model.display()
        );
    }
}

/// The weights are equal to the bit; what differs is the inputs' rounding to int16. A group whose largest input is three
/// times its rms is rounded with a relative noise of 3 / (32767 · √12) = 2.6e-5, which a product passes on. Two layers
/// of seven products, a factor of 2 for softmax and gates, logits of rms 5: σ = √14 · 2 · 2.6e-5 · 5 = 1e-3, and the
/// largest of 1e5 values lies within 6 σ.
const W8A16_BOUND: f32 = 6e-3;

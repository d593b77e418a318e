//! Model directories: config.json, generation_config.json and safetensors, damaged together.

use tinyllm_model::{
    checkpoint::{Checkpoint, HuggingFaceCheckpoint, TensorData},
    engine::{Engine, EngineOptions, KvCacheConfig},
};

use crate::{check_message, damage, fuzz, memory, sound};

#[test]
fn reading() {
    let file = |name: &str| std::fs::read(sound("dirs/00_valid").join(name)).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&file("config.json")).unwrap();
    let weights = file("model.safetensors");
    let header_bytes = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let folder = tempfile::tempdir().unwrap();
    type Input = (u8, Vec<damage::Wound>, Vec<damage::Wound>);
    fuzz::<Input>(|(kind, first, second)| {
        let text = damage::json(&config, if kind % 3 == 0 { &[] } else { first }, &[]).to_string();
        // Now and then what is no JSON at all.
        let text = damage::bytes(text.as_bytes(), text.len(), if kind % 7 == 0 { second } else { &[] });
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        let reach = if kind % 5 == 0 { weights.len() } else { header_bytes };
        let damaged = damage::bytes(&weights, reach, if kind % 3 == 1 { &[] } else { second });
        std::fs::write(folder.path().join("model.safetensors"), damaged).unwrap();
        let Some(checkpoint) = check_message(HuggingFaceCheckpoint::open(folder.path())) else { return };
        for index in 0..checkpoint.tensors().len() {
            if let Some(TensorData::Float(rows)) = check_message(checkpoint.open(index)) {
                let (n, k) = rows.shape();
                rows.read(0..n, &mut vec![0.0; n * k]).unwrap();
            }
        }
        // What opens can be run, or says why not.
        let options = EngineOptions::default().with_kv(KvCacheConfig::of_tokens(32)).with_threads(Some(1));
        let host = tinyllm_mem::HostResource::shared();
        if let Some(mut engine) = check_message(Engine::load(&checkpoint, &options, &host, &|_| {})) {
            check_message(engine.logits(&[0, 1, 2], &mut |_, _| ()));
        }
        memory::check();
    });
}

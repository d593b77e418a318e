//! SmolLM2 on a device. Skipped, and said so, where the model has not been fetched (`tinyllm run smollm2` does that).

use tinyllm_mem::HostResource;
use tinyllm_model::{
    Engine, checkpoint,
    engine::{EngineOptions, KvCacheConfig},
};

use crate::{
    common::smollm2,
    tested::{Tested, bits, load},
};

/// Tokens of the prompt, and tokens that are chosen after it.
const PROMPT: usize = 20;
const CHOSEN: usize = 16;

#[test]
fn smollm2_chooses_the_same_tokens_from_the_same_logits() {
    let Some(path) = smollm2() else { return };
    let model = checkpoint::open(&path).unwrap();
    let options = EngineOptions::default().with_kv(KvCacheConfig::of_tokens(64)).with_prefill_chunk(32);
    let prompt: Vec<u32> = (0..PROMPT as u32).map(|i| 100 + i * 997 % 40_000).collect();
    let run = |backend: &dyn tinyllm_kernels::Backend| {
        let mut engine = load(backend, &*model, &options);
        let sequence = engine.create_sequence().unwrap();
        let mut rows = vec![bits(engine.prefill(sequence, &prompt, &mut || true).unwrap().unwrap())];
        for _ in 0..CHOSEN {
            let last = rows.last().unwrap().iter().map(|bits| f32::from_bits(*bits));
            let (token, _) = last.enumerate().fold((0, f32::NEG_INFINITY), |best, (index, logit)| {
                if logit > best.1 { (index, logit) } else { best }
            });
            rows.push(bits(engine.decode(sequence, token as u32).unwrap()));
        }
        rows
    };
    let cpu = Engine::cpu(&options, &HostResource::shared()).unwrap();
    let expected = run(&cpu);
    for device in Tested::all() {
        assert!(run(&device.cuda) == expected);
        device.end();
    }
}

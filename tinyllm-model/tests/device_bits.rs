//! The law of the same bits on devices: the emulated device gives the processor's logits, bit for bit, and so does this
//! machine's GPU where `TINYLLM_TEST_GPU` asks for it.
#![allow(clippy::unwrap_used, clippy::panic)] // a test ends where it fails

mod common;

use std::sync::Arc;

use common::{RandomModel, configs, expected, group_sizes, kv_formats, oracle_entries};
use proptest::prelude::*;
use tinyllm_emulator::{Builder, Emulator};
use tinyllm_kernels::{Backend, Cuda, Isa};
use tinyllm_mem::{Context, HostResource};
use tinyllm_model::{
    Engine,
    checkpoint::{self, Checkpoint},
    engine::{EmbeddingsMode, EngineOptions, KvCacheConfig, WeightsMode},
};
use tinyllm_sys::{DriverApi, LibCuda};

/// Environment variable: with any value but `0` the tests also run on this machine's GPU.
const REAL: &str = "TINYLLM_TEST_GPU";

/// A device to test, and the emulator that it is of.
struct Tested {
    cuda: Cuda,
    emulator: Option<Emulator>,
}

impl Tested {
    fn all() -> Vec<Tested> {
        let emulator = Builder::from_env().unwrap().build();
        let mut devices = vec![Tested::new(Arc::new(emulator.clone()), Some(emulator))];
        if std::env::var(REAL).is_ok_and(|value| value != "0") {
            let driver = LibCuda::load().unwrap_or_else(|error| panic!("{REAL} asks for a GPU: {error}"));
            devices.push(Tested::new(Arc::new(driver), None));
        }
        devices
    }

    fn new(driver: Arc<dyn DriverApi>, emulator: Option<Emulator>) -> Self {
        let context = Context::primary(driver, 0).unwrap();
        Tested { cuda: Cuda::new(&context).unwrap(), emulator }
    }

    /// What the emulator has found after everything was freed: nothing.
    fn end(self) {
        assert_eq!(self.cuda.context().take_error(), None);
        drop(self.cuda);
        let Some(emulator) = self.emulator else { return };
        let found: Vec<String> = emulator.finish().iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// The bits of every position's logits.
fn logits(
    backend: &dyn Backend,
    model: &dyn Checkpoint,
    options: &EngineOptions,
    ids: &[u32],
) -> Vec<Vec<u32>> {
    let mut engine = Engine::load_on(backend, model, options, &HostResource::shared(), &|_| {}).unwrap();
    let mut rows = Vec::new();
    let give = &mut |_, row: &mut [f32]| rows.push(row.iter().map(|value| value.to_bits()).collect());
    engine.logits(ids, give).unwrap();
    rows
}

/// The bits of the last position's logits of every prefix, decoded one token after another.
fn decoded(
    backend: &dyn Backend,
    model: &dyn Checkpoint,
    options: &EngineOptions,
    ids: &[u32],
) -> Vec<Vec<u32>> {
    let mut engine = Engine::load_on(backend, model, options, &HostResource::shared(), &|_| {}).unwrap();
    let sequence = engine.create_sequence().unwrap();
    ids.iter()
        .map(|id| engine.decode(sequence, *id).unwrap().iter().map(|value| value.to_bits()).collect())
        .collect()
}

#[test]
fn every_reference_model_has_the_same_bits() {
    for path in oracle_entries("tiny").into_iter().filter(|path| path.join("config.json").exists()) {
        let (ids, _) = expected(&path.join("expected.safetensors"), "logits");
        let model = checkpoint::open(&path).unwrap();
        let options = EngineOptions::default().with_sampled_rows(16);
        let cpu = Engine::cpu(&options, &HostResource::shared()).unwrap();
        let expected = logits(&cpu, &*model, &options, &ids);
        for device in Tested::all() {
            for prefill_chunk in [1, 7, 64] {
                let options = options.clone().with_prefill_chunk(prefill_chunk);
                let found = logits(&device.cuda, &*model, &options, &ids);
                assert!(found == expected, "{}, chunks of {prefill_chunk}", path.display());
            }
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

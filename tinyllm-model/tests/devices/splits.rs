//! Layers over several devices: the same bits wherever the model is split.

use std::sync::Arc;

use tinyllm_emulator::Builder;
use tinyllm_kernels::{Backend, Cuda};
use tinyllm_mem::HostResource;
use tinyllm_model::{
    Engine, ModelError, checkpoint,
    engine::{
        DeviceLayers, DeviceRoom, EngineOptions, EnginePlan, KvCacheConfig, LayerSplit, SequenceInput,
        plan::PlanSource,
    },
};

use crate::{
    common::{RandomModel, expected, oracle_entries, small_config},
    tested::{Tested, backend, bits, decoded, load, logits, nothing_is_found},
};

fn split<'a>(devices: &[(&'a dyn Backend, usize)]) -> LayerSplit<'a> {
    LayerSplit::new(
        devices.iter().map(|(backend, layers)| DeviceLayers::all(*backend).with_layers(*layers)).collect(),
    )
}

fn layers(count: usize, tied: bool) -> RandomModel {
    let mut config = small_config();
    config.num_hidden_layers = count;
    config.sliding_windows = vec![None; count];
    config.tie_word_embeddings = tied;
    RandomModel::new(config, count as u64)
}

#[test]
fn every_split_between_a_device_and_the_processor_has_the_same_bits() {
    let ids: Vec<u32> = (0..30).map(|i| i * 7 % 50).collect();
    for tied in [true, false] {
        let model = layers(4, tied);
        let options = EngineOptions::default()
            .with_kv(KvCacheConfig::of_tokens(64))
            .with_sampled_rows(5)
            .with_prefill_chunk(9);
        let cpu = Engine::cpu(&options, &HostResource::shared()).unwrap();
        let expected = logits(&cpu, &model, &options, &ids);
        let device = Tested::emulated();
        for first in 1..4 {
            let cuda: &dyn Backend = &device.cuda;
            for devices in [[(cuda, first), (&cpu, 4 - first)], [(&cpu, first), (cuda, 4 - first)]] {
                assert!(logits(split(&devices), &model, &options, &ids) == expected, "{first} layers first");
                assert!(decoded(split(&devices), &model, &options, &ids) == expected, "{first} layers first");
            }
        }
        device.end();
    }
}

#[test]
fn every_reference_model_can_be_split() {
    for path in oracle_entries("tiny").into_iter().filter(|path| path.join("config.json").exists()) {
        let (ids, _) = expected(&path.join("expected.safetensors"), "logits");
        let ids = &ids[..ids.len().min(24)];
        let model = checkpoint::open(&path).unwrap();
        let count = model.config().num_hidden_layers;
        let options = EngineOptions::default().with_sampled_rows(16);
        let cpu = Engine::cpu(&options, &HostResource::shared()).unwrap();
        let expected = logits(&cpu, &*model, &options, ids);
        for first in 1..count {
            let device = Tested::emulated();
            let devices = split(&[(&device.cuda, first), (&cpu, count - first)]);
            assert!(
                logits(devices, &*model, &options, ids) == expected,
                "{}, {first} layers",
                path.display()
            );
            device.end();
        }
    }
}

/// Two devices of one driver: what belongs to one is never used with the other.
#[test]
fn two_devices_have_the_same_bits() {
    let model = layers(5, true);
    let options = EngineOptions::default()
        .with_kv(KvCacheConfig::of_tokens(64).with_max_batch_size(3))
        .with_sampled_rows(6)
        .with_prefill_chunk(16);
    let run = |split: LayerSplit<'_>| {
        let mut engine = load(split, &model, &options);
        let sequences: Vec<_> = (0..3).map(|_| engine.create_sequence().unwrap()).collect();
        let mut rows = Vec::new();
        for step in 0..6u32 {
            let tokens: Vec<Vec<u32>> =
                (0..3).map(|s| (0..=s).map(|i| (step * 5 + s + i) % 50).collect()).collect();
            let batch: Vec<_> = sequences
                .iter()
                .zip(&tokens)
                .map(|(sequence, tokens)| SequenceInput::new(*sequence, tokens, tokens.len()))
                .collect();
            engine.forward(&batch).unwrap();
            rows.extend((0..6).map(|row| bits(engine.step_logits(row).unwrap())));
            if step == 2 {
                // A fork whose block is copied on both devices before it is written.
                engine.free_sequence(sequences[2]).unwrap();
                let fork = engine.fork_sequence(sequences[1]).unwrap();
                engine.forward(&[SequenceInput::new(fork, &[3], 1)]).unwrap();
                rows.push(bits(engine.step_logits(0).unwrap()));
                return rows;
            }
        }
        rows
    };
    let cpu = Engine::cpu(&options, &HostResource::shared()).unwrap();
    let expected = run((&cpu).into());
    let emulator = Builder::from_env().unwrap().devices(2).build();
    let devices: Vec<Cuda> = (0..2).map(|ordinal| backend(Arc::new(emulator.clone()), ordinal)).collect();
    for first in 1..5 {
        let split = split(&[(&devices[0], first), (&devices[1], 5 - first)]);
        assert!(run(split) == expected, "{first} layers on the first");
    }
    drop(devices);
    nothing_is_found(&emulator);
}

#[test]
fn layers_are_placed_where_budgets_have_room() {
    let model = layers(6, true);
    let options = EngineOptions::default().with_kv(KvCacheConfig::of_tokens(64));
    let cpu = Engine::cpu(&options, &HostResource::shared()).unwrap();
    let device = Tested::emulated();
    let source = PlanSource::Checkpoint(&model);
    let whole = EnginePlan::new(&device.cuda, source, &options).unwrap().devices()[0].device_bytes;
    let placed = |budget: usize, gpu_layers| {
        let rooms = [DeviceRoom::new(&device.cuda, budget), DeviceRoom::rest(&cpu, None)];
        let split = LayerSplit::fit(&rooms, gpu_layers, source, &options)?;
        let plan = EnginePlan::new(split, source, &options)?;
        let layers = plan.devices().into_iter().map(|device| (device.device, device.layers.len()));
        Ok::<_, ModelError>(layers.collect::<Vec<_>>())
    };
    assert_eq!(placed(whole, None).unwrap(), [("cuda:0".to_owned(), 6)]);
    let some = placed(whole - 1, None).unwrap();
    assert!(
        some.len() == 2 && some[0].0 == "cuda:0" && some[1] == ("cpu".to_owned(), 6 - some[0].1),
        "{some:?}"
    );
    assert!(some[0].1 >= 4, "as many as fit: {some:?}");
    assert_eq!(placed(1, None).unwrap(), [("cpu".to_owned(), 6)]);
    assert_eq!(placed(whole, Some(2)).unwrap(), [("cuda:0".to_owned(), 2), ("cpu".to_owned(), 4)]);
    let refused = placed(1, Some(2)).unwrap_err();
    assert!(
        matches!(refused, ModelError::NoLayerSplit { wanted_layers: 2, fitting_layers: 0, model_layers: 6 }),
        "{refused}"
    );
    // A split that is not of all layers, or of none.
    for wrong in [vec![3, 2], vec![7], vec![6, 0]] {
        let devices = wrong.iter().map(|layers| (&cpu as &dyn Backend, *layers)).collect::<Vec<_>>();
        let refused = EnginePlan::new(split(&devices), source, &options).unwrap_err();
        assert!(matches!(refused, ModelError::LayerSplit { model_layers: 6, .. }), "{refused}");
    }
    device.end();
}

//! Memory on devices: what is planned is what the ledger records and what the driver counts, and steps allocate nothing.

use std::{collections::BTreeMap, sync::Arc};

use tinyllm_emulator::Builder;
use tinyllm_kernels::{Backend, Compiled, Cuda, DeviceMemory};
use tinyllm_mem::{
    Category, Context, DeviceResource, Host, HostMemory, HostResource, PinnedHostResource, Tracking,
};
use tinyllm_model::{
    Engine, ModelConfig, ModelError,
    engine::{DeviceLayers, EngineOptions, EnginePlan, KvCacheConfig, LayerSplit, SequenceInput},
};

use crate::{
    common::{RandomModel, small_config},
    tested::nothing_is_found,
};

/// The driver gives memory in units of this.
const GRANULARITY: u64 = 2 << 20;

/// A backend whose memory is counted with the host's.
fn tracked(context: &Context, tracking: &Arc<Tracking<Host>>) -> Cuda {
    let memory: DeviceMemory = Arc::new(tracking.beside(Arc::new(DeviceResource::new(context))));
    let pinned: HostMemory = Arc::new(tracking.beside(Arc::new(PinnedHostResource::new(context))));
    Cuda::new(context).unwrap().with_memory(memory, pinned)
}

type Usage = BTreeMap<Category, (usize, usize)>;

fn recorded(tracking: &Tracking<Host>) -> Usage {
    let report = tracking.report();
    report.categories.iter().map(|(category, usage)| (*category, (usage.peak_bytes, usage.count))).collect()
}

fn planned(plan: &EnginePlan) -> Usage {
    plan.categories().iter().map(|(category, usage)| (*category, (usage.bytes, usage.count))).collect()
}

#[test]
fn the_plan_is_the_record_and_the_drivers_count() {
    let model = RandomModel::new(small_config(), 3);
    let emulator = Builder::from_env().unwrap().devices(2).build();
    let tracking = Arc::new(Tracking::new(HostResource::shared()));
    let contexts: Vec<Context> =
        (0..2).map(|ordinal| Context::primary(Arc::new(emulator.clone()), ordinal).unwrap()).collect();
    let devices: Vec<Cuda> = contexts.iter().map(|context| tracked(context, &tracking)).collect();
    let used = |index: usize| {
        let memory = contexts[index].memory_info().unwrap();
        memory.total_bytes - memory.free_bytes
    };
    let before = [used(0), used(1)];
    let options = EngineOptions::default()
        .with_kv(KvCacheConfig::of_tokens(64).with_max_batch_size(2))
        .with_prefill_chunk(16)
        .with_sampled_rows(4);
    let split =
        || LayerSplit::new(devices.iter().map(|device| DeviceLayers::all(device).with_layers(1)).collect());
    let plan = EnginePlan::of_checkpoint(split(), &model, &options).unwrap();
    let memory: HostMemory = tracking.clone();
    let mut engine = Engine::load_on(split(), &model, &options, &memory, &|_| {}).unwrap();
    assert_eq!(recorded(&tracking), planned(&plan), "after loading");
    for (index, device) in plan.devices().iter().enumerate() {
        let counted = used(index) - before[index];
        let needed = device.device_bytes as u64;
        assert!((needed..needed + 3 * GRANULARITY).contains(&counted), "{needed} planned, {counted} counted");
    }
    let allocations = tracking.report().allocations_total;
    let sequences = [engine.create_sequence().unwrap(), engine.create_sequence().unwrap()];
    // The driver loads the kernels with the first step that needs them.
    let batch = sequences.map(|sequence| SequenceInput::new(sequence, &[1, 2], 2));
    engine.forward(&batch).unwrap();
    engine.forward(&batch[..1]).unwrap();
    let counted = [used(0), used(1)];
    for step in 0..1000u32 {
        for sequence in sequences {
            if engine.sequence_tokens(sequence).unwrap().len() >= 60 {
                engine.truncate_sequence(sequence, 3).unwrap();
            }
        }
        let tokens = [step % 50];
        let batch = sequences.map(|sequence| SequenceInput::new(sequence, &tokens, 1));
        engine.forward(&batch[..1 + step as usize % 2]).unwrap();
    }
    assert_eq!(tracking.report().allocations_total, allocations, "a step allocated");
    assert_eq!([used(0), used(1)], counted, "the driver's count moved");
    assert_eq!(recorded(&tracking), planned(&plan), "after running");
    drop(engine);
    assert_eq!(tracking.report().total.live_bytes, 0);
    assert_eq!([used(0), used(1)], before);
    drop((devices, contexts));
    nothing_is_found(&emulator);
}

/// The configuration of a well-known model.
fn preset(
    hidden: usize,
    inner: usize,
    layers: usize,
    heads: (usize, usize),
    head_dim: usize,
    vocab: usize,
) -> ModelConfig {
    ModelConfig {
        hidden_size: hidden,
        intermediate_size: inner,
        num_hidden_layers: layers,
        num_attention_heads: heads.0,
        num_key_value_heads: heads.1,
        head_dim,
        vocab_size: vocab,
        max_position_embeddings: 8192,
        tie_word_embeddings: hidden == 576,
        sliding_windows: vec![None; layers],
        ..small_config()
    }
}

/// Allocates what is planned for models of usual sizes, without weights, and counts it: by category, by the driver, and its
/// page-locked part. What does not fit is refused before anything is allocated.
#[test]
fn models_of_usual_sizes_take_what_is_planned() {
    let presets = [
        ("smollm2-135m", preset(576, 1536, 30, (9, 3), 64, 49_152)),
        ("llama-7b", preset(4096, 11_008, 32, (32, 32), 128, 32_000)),
        ("llama-3-8b", preset(4096, 14_336, 32, (32, 8), 128, 128_256)),
    ];
    let options = EngineOptions::default().with_kv(KvCacheConfig::of_tokens(2048));
    for (gib, fit) in [(8u64, [true, true, false]), (16, [true; 3]), (24, [true; 3])] {
        for ((name, config), fits) in presets.iter().zip(fit) {
            let emulator = Builder::from_env().unwrap().memory(gib << 30).build();
            let context = Context::primary(Arc::new(emulator.clone()), 0).unwrap();
            let tracking = Arc::new(Tracking::new(HostResource::shared()));
            let cuda = tracked(&context, &tracking);
            let plan = EnginePlan::of_config(&cuda, config, &options).unwrap();
            let free = context.memory_info().unwrap().free_bytes;
            let device = &plan.devices()[0];
            assert_eq!(
                device.device_bytes as u64 <= free,
                fits,
                "{name} on {gib} GiB: {}",
                device.device_bytes
            );
            let budget = LayerSplit::new(vec![DeviceLayers::all(&cuda).with_budget_bytes(free as usize)]);
            let plan = EnginePlan::of_config(budget, config, &options).unwrap();
            assert_eq!(plan.keeps_budgets(&options), fits, "{name} on {gib} GiB");
            if fits {
                let bound = compiled(&cuda, config, &options).bind().unwrap();
                let mut expected = planned(&plan);
                // The sequences' slots are the engine's own.
                expected.remove(&Category::Slots);
                assert_eq!(recorded(&tracking), expected, "{name} on {gib} GiB");
                let counted = free - context.memory_info().unwrap().free_bytes;
                let needed = device.device_bytes as u64;
                assert!((needed..needed + 3 * GRANULARITY).contains(&counted), "{name}: {needed}, {counted}");
                drop(bound);
            }
            assert_eq!(tracking.report().total.live_bytes, 0);
            drop((cuda, context));
            nothing_is_found(&emulator);
        }
    }
}

fn compiled(cuda: &Cuda, config: &ModelConfig, options: &EngineOptions) -> Box<dyn Compiled> {
    let plan = EnginePlan::of_config(cuda, config, options).unwrap();
    cuda.compile(Arc::clone(&plan.programs()[0])).unwrap()
}

/// A device without room for what was planned on another: an error that names it, and nothing stays allocated.
#[test]
fn memory_that_others_took_is_refused() {
    let model = RandomModel::new(small_config(), 3);
    let emulator = Builder::from_env().unwrap().memory(1 << 20).build();
    let tracking = Arc::new(Tracking::new(HostResource::shared()));
    let context = Context::primary(Arc::new(emulator.clone()), 0).unwrap();
    let cuda = tracked(&context, &tracking);
    let options = EngineOptions::default().with_kv(KvCacheConfig::of_tokens(4096));
    let memory: HostMemory = tracking.clone();
    let refused = Engine::load_on(&cuda, &model, &options, &memory, &|_| {}).err().unwrap();
    assert!(matches!(&refused, ModelError::Device { device, .. } if device == "cuda:0"), "{refused}");
    assert!(refused.to_string().contains("out of memory"), "{refused}");
    assert_eq!(tracking.report().total.live_bytes, 0);
    // Nothing is taken of a budget that it does not keep.
    let before = tracking.report().allocations_total;
    let split = LayerSplit::new(vec![DeviceLayers::all(&cuda).with_budget_bytes(1 << 20)]);
    let refused = Engine::load_on(split, &model, &options, &memory, &|_| {}).err().unwrap();
    let fits = match &refused {
        ModelError::OverDeviceBudget { device, source } if device == "cuda:0" => match **source {
            ModelError::OverBudget { largest_context, .. } => largest_context,
            _ => panic!("{refused}"),
        },
        _ => panic!("{refused}"),
    };
    assert_eq!(tracking.report().allocations_total, before);
    assert!(fits.is_none_or(|tokens| tokens < 4096), "{refused}");
    drop((cuda, context));
    nothing_is_found(&emulator);
}

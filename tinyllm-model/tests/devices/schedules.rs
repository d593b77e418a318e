//! Batches whose sequences arrive, share prefixes, fork, are cut and leave: a device and the processor do the same, and every
//! row of logits has the same bits.

use tinyllm_kernels::{Backend, KvFormat};
use tinyllm_mem::HostResource;
use tinyllm_model::{
    Engine,
    engine::{EngineOptions, KvCacheConfig, SequenceId, SequenceInput},
};

use crate::{
    common::{RandomModel, small_config},
    tested::{Tested, bits, load},
};

const VOCAB: usize = 50;
const MAX_SEQUENCES: usize = 8;
const MAX_SEQ_LEN: usize = 100;
const STEP_TOKENS: usize = 40;
const STEPS: usize = 60;

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// Rows of logits of a schedule that `seed` draws, and how often sequences began with others' blocks.
fn run(
    backend: &dyn Backend,
    model: &RandomModel,
    options: &EngineOptions,
    seed: u64,
) -> (Vec<Vec<u32>>, usize) {
    let mut engine = load(backend, model, options);
    let mut random = Random(seed);
    let mut running: Vec<SequenceId> = Vec::new();
    let (mut rows, mut shared) = (Vec::new(), 0);
    for _ in 0..STEPS {
        if running.len() < MAX_SEQUENCES && random.below(2) == 0 {
            // Prompts begin alike, so that prefixes are found again.
            let length = 4 + random.below(44);
            let start = random.below(2);
            let prompt: Vec<u32> =
                (0..length).map(|i| if i < 36 { start + i } else { random.below(VOCAB) } as u32).collect();
            let (sequence, cached) = engine.create_sequence_with_prefix(&prompt).unwrap();
            shared += usize::from(cached > 0);
            for tokens in prompt[cached..].chunks(STEP_TOKENS) {
                engine.forward(&[SequenceInput::new(sequence, tokens, 1)]).unwrap();
                rows.push(bits(engine.step_logits(0).unwrap()));
            }
            running.push(sequence);
        }
        if running.len() < MAX_SEQUENCES && !running.is_empty() && random.below(6) == 0 {
            let from = running[random.below(running.len())];
            running.push(engine.fork_sequence(from).unwrap());
        }
        if !running.is_empty() && random.below(5) == 0 {
            let sequence = running[random.below(running.len())];
            let length = engine.sequence_tokens(sequence).unwrap().len();
            engine.truncate_sequence(sequence, 1 + random.below(length)).unwrap();
        }
        if running.len() > 2 && random.below(6) == 0 {
            engine.free_sequence(running.swap_remove(random.below(running.len()))).unwrap();
        }
        // Each goes on with one to four tokens, some of whose logits are wanted.
        let mut inputs: Vec<(SequenceId, Vec<u32>, usize)> = Vec::new();
        for &sequence in &running {
            let count = 1 + random.below(4);
            if engine.sequence_tokens(sequence).unwrap().len() + count <= MAX_SEQ_LEN && random.below(4) > 0 {
                let tokens = (0..count).map(|_| random.below(VOCAB) as u32).collect();
                inputs.push((sequence, tokens, random.below(count + 1)));
            }
        }
        let batch: Vec<SequenceInput<'_>> = inputs
            .iter()
            .map(|(sequence, tokens, rows)| SequenceInput::new(*sequence, tokens, *rows))
            .collect();
        if !batch.is_empty() {
            engine.forward(&batch).unwrap();
            let sampled: usize = inputs.iter().map(|(_, _, rows)| rows).sum();
            rows.extend((0..sampled).map(|row| bits(engine.step_logits(row).unwrap())));
        }
    }
    (rows, shared)
}

#[test]
fn rows_of_ragged_batches_have_the_same_bits() {
    for (index, format) in [KvFormat::F16, KvFormat::Int8, KvFormat::F32].into_iter().enumerate() {
        let mut config = small_config();
        config.sliding_windows = vec![(index == 1).then_some(30), None];
        config.qk_norm = index == 2;
        let model = RandomModel::new(config, index as u64);
        let options = EngineOptions::default()
            .with_prefill_chunk(STEP_TOKENS)
            .with_sampled_rows(4 * MAX_SEQUENCES)
            .with_kv(
                KvCacheConfig::of_tokens(MAX_SEQ_LEN).with_max_batch_size(MAX_SEQUENCES).with_format(format),
            );
        let cpu = Engine::cpu(&options, &HostResource::shared()).unwrap();
        let (expected, shared) = run(&cpu, &model, &options, 7 + index as u64);
        assert!(shared > 0 && expected.len() > 100, "{shared} shared prefixes, {} rows", expected.len());
        for device in Tested::all() {
            let (found, _) = run(&device.cuda, &model, &options, 7 + index as u64);
            assert!(found == expected, "{format:?}");
            device.end();
        }
    }
}

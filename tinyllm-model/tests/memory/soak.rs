//! Twenty thousand tokens with restarts at random: nothing grows.

use std::sync::Arc;

use tinyllm_mem::{HostMemory, HostResource, Tracking};
use tinyllm_model::{
    Engine,
    engine::{EngineOptions, KvCacheConfig, SequenceInput},
};

use crate::common::{RandomModel, next, small_config};

/// Memory of this process that is not a file's, in KiB.
fn anonymous_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().split(' ').next()?.parse().ok()
}

#[test]
fn nothing_grows() {
    let tracking = Arc::new(Tracking::new(HostResource::shared()));
    let memory: HostMemory = tracking.clone();
    let model = RandomModel::new(small_config(), 11);
    let kv = KvCacheConfig::of_tokens(100).with_max_batch_size(4);
    let options = EngineOptions::default().with_kv(kv).with_threads(Some(1)).with_prefill_chunk(16);
    let mut engine = Engine::load(&model, &options, &memory, &|_| {}).unwrap();
    let loaded = tracking.report();
    let (mut random, mut sequences, mut tokens, mut early) = (9, Vec::new(), 0, None);
    while tokens < 20_000 {
        if sequences.len() < 4 && next(&mut random) > 0.0 {
            let prompt: Vec<u32> = (0..10 + (next(&mut random).abs() * 30.0) as u32).collect();
            let (sequence, common) = engine.create_sequence_with_prefix(&prompt).unwrap();
            for chunk in prompt[common..].chunks(16) {
                engine.forward(&[SequenceInput::new(sequence, chunk, 0)]).unwrap();
                tokens += chunk.len();
            }
            sequences.push(sequence);
        }
        let mut index = 0;
        while index < sequences.len() {
            let is_full = engine.sequence_tokens(sequences[index]).unwrap().len() >= 100;
            if is_full || next(&mut random) > 0.98 {
                engine.free_sequence(sequences.swap_remove(index)).unwrap();
            } else {
                index += 1;
            }
        }
        let batch: Vec<_> = sequences.iter().map(|sequence| SequenceInput::new(*sequence, &[7], 1)).collect();
        if !batch.is_empty() {
            engine.forward(&batch).unwrap();
            tokens += batch.len();
        }
        if tokens > 2_000 && early.is_none() {
            early = anonymous_kib();
        }
    }
    assert_eq!(tracking.report(), loaded, "the record is what it was after loading");
    if let (Some(early), Some(late)) = (early, anonymous_kib()) {
        // Other tests of this process run beside; what leaked a block a token would be tens of MiB.
        assert!(late < early + 16 * 1024, "{early} KiB became {late} KiB");
    }
    for sequence in sequences {
        engine.free_sequence(sequence).unwrap();
    }
    assert_eq!(engine.free_blocks(), 4 * 7, "every block came back");
}

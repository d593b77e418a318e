//! A driver that fails: each of its calls once, and from each call on. The error says so, nothing is leaked, what is computed
//! afterwards has the right bits, and nothing panics.

use std::sync::Arc;

use tinyllm_emulator::{Builder, Check, Emulator, InjectedFailure};
use tinyllm_kernels::Cuda;
use tinyllm_mem::{Context, HostResource};
use tinyllm_model::{
    Engine, ModelError,
    engine::{EngineOptions, KvCacheConfig, SequenceInput},
};
use tinyllm_sys::DriverCode;

use crate::{
    common::{RandomModel, small_config},
    tested::bits,
};

/// What a run gave: rows of logits, in order, or the errors of the steps that failed.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    rows: Vec<Vec<u32>>,
    errors: Vec<String>,
}

fn options() -> EngineOptions {
    EngineOptions::default()
        .with_kv(KvCacheConfig::of_tokens(32).with_max_batch_size(2))
        .with_prefill_chunk(8)
        .with_sampled_rows(2)
}

/// Loads, runs a prompt, a fork with its copied block, and tokens of both; a step that fails is tried again, as often as the
/// driver may have failed.
fn run(emulator: &Emulator, model: &RandomModel) -> Outcome {
    let mut outcome = Outcome::default();
    let run = |outcome: &mut Outcome| -> Result<(), String> {
        let context = Context::primary(Arc::new(emulator.clone()), 0).map_err(|error| error.to_string())?;
        let cuda = Cuda::new(&context).map_err(|error| error.to_string())?;
        let mut engine = Engine::load_on(&cuda, model, &options(), &HostResource::shared(), &|_| {})
            .map_err(|error| error.to_string())?;
        let one = engine.create_sequence().unwrap();
        step(&mut engine, &[SequenceInput::new(one, &[1, 2, 3, 4, 5], 1)], outcome)?;
        let two = engine.fork_sequence(one).unwrap();
        for token in 6..8u32 {
            let tokens = [token];
            let batch = [SequenceInput::new(one, &tokens, 1), SequenceInput::new(two, &tokens, 1)];
            step(&mut engine, &batch, outcome)?;
        }
        Ok(())
    };
    if let Err(error) = run(&mut outcome) {
        outcome.errors.push(error);
    }
    outcome
}

fn step(engine: &mut Engine, batch: &[SequenceInput<'_>], outcome: &mut Outcome) -> Result<(), String> {
    // The second attempt is that after a call that failed once.
    for attempt in 0..3 {
        match engine.forward(batch) {
            Ok(()) => break,
            Err(error) => {
                assert!(matches!(error, ModelError::Device { .. }), "{error}");
                if attempt == 2 {
                    return Err(error.to_string());
                }
                outcome.errors.push(error.to_string());
            }
        }
    }
    for row in 0..batch.len() {
        outcome.rows.push(bits(engine.step_logits(row).map_err(|error| error.to_string())?));
    }
    Ok(())
}

/// Whether a call gives something back, or makes the context current in which something is given back: where it fails, that
/// stays.
fn gives_back(call: &str) -> bool {
    ["mem_free", "destroy", "unload", "release", "context_"].iter().any(|part| call.contains(part))
}

#[test]
fn each_call_fails_once_or_for_good() {
    let mut config = small_config();
    config.num_hidden_layers = 1;
    config.sliding_windows = vec![None];
    let model = RandomModel::new(config, 5);
    let builder = || Builder::default().check(Check::parse("leak").unwrap());
    let emulator = builder().build();
    let expected = run(&emulator, &model);
    assert!(expected.errors.is_empty() && expected.rows.len() == 5, "{:?}", expected.errors);
    let calls = emulator.calls();
    let mut silent = 0;
    for call in 0..calls {
        for failure in [
            InjectedFailure::once(call, DriverCode::OutOfMemory),
            InjectedFailure::lasting(call, DriverCode::LaunchFailed),
        ] {
            let emulator = builder().inject(failure).build();
            let found = run(&emulator, &model);
            // Never a wrong row: what was computed is the beginning of what is right.
            assert!(expected.rows.starts_with(&found.rows), "{failure:?}: {:?}", found.errors);
            for error in &found.errors {
                let says_it = error.contains("injected failure") || error.contains("out of memory");
                assert!(says_it, "{failure:?}: {error}");
            }
            let failed = emulator.injected_call().unwrap();
            if failure == InjectedFailure::once(call, DriverCode::OutOfMemory) && !gives_back(failed) {
                let findings: Vec<String> = emulator.finish().iter().map(ToString::to_string).collect();
                assert!(findings.is_empty(), "{failed}: {}", findings.join("\n"));
            }
            let is_whole = found.rows.len() == expected.rows.len();
            assert!(is_whole || !found.errors.is_empty(), "{failure:?}: rows are missing without an error");
            silent += usize::from(found.errors.is_empty());
        }
    }
    // What fails without an error of a step is at the end: it frees what nobody uses any more.
    assert!(silent < calls as usize / 2, "{silent} of {calls}");
}

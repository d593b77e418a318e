//! Fuzz targets for everything a user may hand over: GGUF files, model directories, tokenizers, chat templates.
//!
//! `cargo test` runs each for a fixed number of seeded inputs; with `TINYLLM_FUZZ_INPUTS=1000000` for that many, and with
//! `TINYLLM_FUZZ_FROM=n` from another seed (`cargo test --release -p tinyllm-model --test fuzz template`);
//! `cargo bolero test gguf::reading` goes on for as long as one likes, led by coverage. An input is damage to a sound file,
//! or made of the parts that such files have. The property: an answer or an error of readable length, no panic, and less
//! than 256 MiB.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test ends where it fails, and says how many inputs it had

mod damage;
mod directory;
mod gguf;
mod memory;
mod phrases;
mod pipeline;
mod template;
mod tokenizer;

use std::{
    fmt::Debug,
    panic::{AssertUnwindSafe, RefUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use bolero::TypeGenerator;

/// Inputs of a target under `cargo test`.
const SEEDED_INPUTS: u64 = 3000;

/// Inputs of a thread: the tokenizer library keeps what it has seen for as long as its thread lives.
const INPUTS_PER_THREAD: u64 = 1000;

/// Gives `target` one input after another: from the fuzzer where there is one, else from seeds.
fn fuzz<T: TypeGenerator + Debug + 'static>(target: impl Fn(&T) + RefUnwindSafe + Sync) {
    if cfg!(fuzzing) {
        return bolero::check!().with_type::<T>().for_each(target);
    }
    let inputs = setting("TINYLLM_FUZZ_INPUTS").unwrap_or(SEEDED_INPUTS);
    let from = setting("TINYLLM_FUZZ_FROM").unwrap_or(0);
    let (mut run, mut seed) = (0, from);
    while run < inputs {
        let count = INPUTS_PER_THREAD.min(inputs - run);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| (seed..seed + count).for_each(|seed| once(seed, &target)));
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
        (run, seed) = (run + count, seed + count);
    }
    println!("{run} inputs from {from}");
}

fn once<T: TypeGenerator + Debug + 'static>(seed: u64, target: &(impl Fn(&T) + RefUnwindSafe)) {
    let mut state = seed;
    let bytes: Vec<u8> = (0..256).flat_map(|_| random(&mut state).to_le_bytes()).collect();
    let options = bolero::generator::bolero_generator::driver::Options::default();
    let mut driver = bolero::generator::bolero_generator::driver::ByteSliceDriver::new(&bytes, &options);
    let input = T::generate(&mut driver).unwrap();
    let outcome = catch_unwind(AssertUnwindSafe(|| target(&input)));
    assert!(outcome.is_ok(), "input {seed}: {input:?}");
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A file of the sound models among the malformed ones.
fn sound(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/malformed").join(name)
}

/// A message that somebody can read.
fn check_message<T>(result: tinyllm_model::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let message = error.to_string();
            assert!(!message.is_empty() && message.len() < 4000, "{} bytes: {message:.200}", message.len());
            None
        }
    }
}

//! A program of several streams under many seeds: the same results, unless an event is missing, and that is found.

use tinyllm_emulator::{Builder, Emulator, report::Kind};
use tinyllm_sys::{DriverApi, EventTiming, LaunchConfig, StreamFlags, StreamHandle};

use crate::{
    corpus::{WORDS, kernel, word},
    program::{Program, same_on_each},
};

const SEEDS: u64 = 1000;

fn emulator(seed: u64) -> Builder {
    Emulator::builder().seed(seed).memory(64 << 20).threads(1)
}

/// Three streams: one fills, one doubles what it filled, one adds to both halves; pools in between, the result on the host.
/// Without `ordered` the event between filling and doubling is left out.
fn pipeline(program: &Program<dyn DriverApi>, ordered: bool) -> Vec<u32> {
    let driver = &program.driver;
    let double = program
        .kernel(&kernel("ld.global.u32 %r1, [%a]; shl.b32 %r1, %r1, 1; st.global.u32 [%b], %r1;"), "k");
    let add = program
        .kernel(&kernel("ld.global.u32 %r1, [%a]; add.u32 %r1, %r1, 3; st.global.u32 [%b], %r1;"), "k");
    let streams: Vec<StreamHandle> =
        (0..3).map(|_| driver.stream_create(StreamFlags::NonBlocking).unwrap()).collect();
    let pool = driver.mem_pool_create(0, 1 << 20).unwrap();
    let config = LaunchConfig::new([1, 1, 1], [WORDS as u32, 1, 1]);
    let out = driver.mem_alloc_host(WORDS * 4).unwrap();
    // SAFETY: every piece of work stays inside of its memory; where `ordered` is false one order is missing, and that is
    // what the checks are asked about.
    unsafe {
        let filled = driver.event_create(EventTiming::Disabled).unwrap();
        let doubled = driver.event_create(EventTiming::Disabled).unwrap();
        let source = driver.mem_alloc_from_pool_async(WORDS * 4, pool, streams[0]).unwrap();
        driver.event_record(filled, streams[0]).unwrap();
        // The memory is known to the second stream, what is in it not yet.
        driver.stream_wait_event(streams[1], filled).unwrap();
        driver.memset_d32_async(source, 5, WORDS / 2, streams[0]).unwrap();
        driver.memset_d32_async(word(source, WORDS as u64 / 2), 9, WORDS / 2, streams[0]).unwrap();
        driver.event_record(filled, streams[0]).unwrap();
        if ordered {
            driver.stream_wait_event(streams[1], filled).unwrap();
        }
        let twice = driver.mem_alloc_from_pool_async(WORDS * 4, pool, streams[1]).unwrap();
        program.launch_on(streams[1], double, config, &mut [source.0, twice.0, 0]).unwrap();
        driver.event_record(doubled, streams[1]).unwrap();
        driver.stream_wait_event(streams[2], doubled).unwrap();
        let sum = driver.mem_alloc_from_pool_async(WORDS * 4, pool, streams[2]).unwrap();
        program.launch_on(streams[2], add, config, &mut [twice.0, sum.0, 0]).unwrap();
        driver.memcpy_dtoh_async(out, sum, WORDS * 4, streams[2]).unwrap();
        driver.mem_free_async(sum, streams[2]).unwrap();
        // Freed where it was used last.
        driver.mem_free_async(twice, streams[2]).unwrap();
        driver.mem_free_async(source, streams[2]).unwrap();
        // Without its order the program may use memory after it was freed: then the context is gone.
        let done = driver.stream_synchronize(streams[2]).and_then(|()| driver.context_synchronize());
        match done {
            Ok(()) => std::slice::from_raw_parts(out.cast::<u32>(), WORDS).to_vec(),
            Err(error) if ordered => panic!("{error}"),
            Err(_) => Vec::new(),
        }
    }
}

#[test]
fn the_same_results_with_every_seed() {
    let expected: Vec<u32> = (0..WORDS).map(|word| if word < WORDS / 2 { 13 } else { 21 }).collect();
    for seed in 0..SEEDS {
        let program = Program::new(emulator(seed));
        assert_eq!(pipeline(&program, true), expected, "seed {seed}");
        assert_eq!(program.driver.findings(), [], "seed {seed}");
    }
    same_on_each(emulator(0), "the pipeline", |program| pipeline(program, true));
}

#[test]
fn a_missing_event_is_found_with_every_seed() {
    let mut wrong = 0;
    let expected: Vec<u32> = (0..WORDS).map(|word| if word < WORDS / 2 { 13 } else { 21 }).collect();
    for seed in 0..SEEDS {
        let program = Program::new(emulator(seed));
        let result = pipeline(&program, false);
        let kinds: Vec<Kind> = program.driver.findings().iter().map(|finding| finding.kind).collect();
        let found = kinds.iter().any(|kind| matches!(kind, Kind::StreamRace | Kind::UseAfterFree));
        assert!(found, "seed {seed}: {kinds:?}");
        wrong += usize::from(result != expected);
    }
    // And often enough it shows in the result.
    assert!(wrong > SEEDS as usize / 10, "{wrong} of {SEEDS}");
}

//! Sequences are made of memory that was taken at start: this thread's heap sees nothing of them.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use tinyllm_mem::HostResource;
use tinyllm_model::{
    Engine,
    engine::{EngineOptions, KvCacheConfig, SequenceInput},
    generation::{GenerationParameters, GenerationState},
    sampling::Sampling,
};

use crate::common::{RandomModel, next, small_config};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator; counts what each thread allocates.
struct Counting;

// SAFETY: every call is the system allocator's, with the caller's arguments and promises; counting touches a thread-local
// of plain memory, which allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's layout, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from the system's allocator with this layout: no other is behind this one.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as `dealloc`; the size is the caller's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

/// What `call` returns, which must allocate nothing.
fn without_heap<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let before = ALLOCATIONS.get();
    let result = call();
    assert_eq!(ALLOCATIONS.get() - before, 0, "{what} allocated");
    result
}

#[test]
fn creating_forking_cutting_and_freeing_allocates_nothing() {
    for window in [None, Some(20)] {
        let mut config = small_config();
        config.sliding_windows = vec![window; 2];
        let model = RandomModel::new(config, 12);
        let kv = KvCacheConfig::of_tokens(100).with_max_batch_size(4);
        let options = EngineOptions::default().with_kv(kv).with_threads(Some(1)).with_prefill_chunk(16);
        let mut engine = Engine::load(&model, &options, &HostResource::shared(), &|_| {}).unwrap();
        let (mut random, mut sequences) = (3, Vec::with_capacity(4));
        let tokens: Vec<u32> = (0..40).collect();
        for _ in 0..500 {
            let mut below = |bound: usize| ((next(&mut random) + 1.0) / 2.0 * bound as f32) as usize % bound;
            match (below(6), sequences.len()) {
                (0, 0..4) => {
                    sequences.push(without_heap("create", || engine.create_sequence()).unwrap());
                }
                (1, 0..4) => {
                    let made = without_heap("prefix", || engine.create_sequence_with_prefix(&tokens));
                    sequences.push(made.unwrap().0);
                }
                (2, 1..4) => {
                    let which = sequences[below(sequences.len())];
                    sequences.push(without_heap("fork", || engine.fork_sequence(which)).unwrap());
                }
                (3, 1..) => {
                    let (which, length) = (sequences[below(sequences.len())], below(100));
                    without_heap("cut", || engine.truncate_sequence(which, length)).unwrap();
                }
                (4, 2..) => {
                    let which = sequences.swap_remove(below(sequences.len()));
                    without_heap("free", || engine.free_sequence(which)).unwrap();
                }
                (_, 1..) => {
                    let which = sequences[below(sequences.len())];
                    let length = engine.sequence_tokens(which).unwrap().len();
                    let count = (1 + below(16)).min(100 - length);
                    if count > 0 {
                        let step = [(which, count)];
                        without_heap("blocks_needed", || engine.blocks_needed(&step)).unwrap();
                        engine.forward(&[SequenceInput::new(which, &tokens[..count], 1)]).unwrap();
                    }
                }
                _ => {}
            }
        }
    }
}

#[test]
fn choosing_a_token_allocates_nothing() {
    let model = RandomModel::new(small_config(), 13);
    let kv = KvCacheConfig::of_tokens(64);
    let options = EngineOptions::default().with_kv(kv).with_threads(Some(1));
    let mut engine = Engine::load(&model, &options, &HostResource::shared(), &|_| {}).unwrap();
    let sequence = engine.create_sequence().unwrap();
    for sampling in [
        Sampling::greedy(),
        Sampling::default().with_repetition_penalty(1.1).with_frequency_penalty(0.5),
        Sampling::default().with_temperature(1.0).with_top_k(0).with_top_p(1.0).with_min_p(0.0),
    ] {
        let parameters = GenerationParameters::default().with_sampling(sampling);
        let mut state = GenerationState::new(&parameters, engine.config(), None, 40).unwrap();
        engine.prefill(sequence, &[1, 2, 3], &mut || true).unwrap();
        for _ in 0..20 {
            let token = without_heap("advance", || {
                let advance = state.advance(engine.sampled_row(0).unwrap()).unwrap();
                advance.token.unwrap()
            });
            engine.decode(sequence, token).unwrap();
        }
    }
}

//! Resources and stacks of adaptors, and what the adaptors report.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use tinyllm_emulator::Emulator;
use tinyllm_mem::{
    Budget, Buffer, Category, Context, DeviceResource, FailureInjection, Failures, HostMemory, HostResource,
    HugePages, Limiting, Logging, MemError, MemoryResource, Request, Stream, Tracking, replay,
};
use tinyllm_sys::StreamFlags;

use crate::{device::Gpu, suite};

/// A log that can be read while it is written.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn plenty() -> Budget {
    Budget::total(1 << 30).with(Category::Workspace, 1 << 30)
}

#[test]
fn host_memory() {
    suite::run(&|| HostResource::shared());
    suite::run(&|| Arc::new(HostResource::new(HugePages::Never)));
}

#[test]
fn single_adaptors() {
    suite::run(&|| Arc::new(Tracking::new(HostResource::shared())));
    suite::run(&|| Arc::new(Limiting::new(HostResource::shared(), plenty())));
    suite::run(&|| Arc::new(Logging::new(HostResource::shared(), Log::default())));
    suite::run(&|| Arc::new(FailureInjection::new(HostResource::shared(), Failures::Never)));
}

#[test]
fn stacks_in_either_order() {
    suite::run(&|| {
        let limited = Arc::new(Limiting::new(HostResource::shared(), plenty()));
        let logged = Arc::new(Logging::new(limited, Log::default()));
        Arc::new(Tracking::new(Arc::new(FailureInjection::new(logged, Failures::Never))))
    });
    let gpu = Gpu::new(1 << 30);
    suite::run_on(&gpu, &|| {
        let tracked = Arc::new(Tracking::new(Arc::new(DeviceResource::new(&gpu.context))));
        let failing = Arc::new(FailureInjection::new(tracked, Failures::Never));
        Arc::new(Logging::new(Arc::new(Limiting::new(failing, plenty())), Log::default()))
    });
    gpu.end();
}

/// Three buffers, of which the second is freed first.
fn story(memory: &HostMemory, stream: &Stream) {
    let first = Buffer::<u8>::zeroed(memory, Category::Weights, "first", 1000).unwrap();
    let parts = vec![
        tinyllm_mem::Part::new(Category::Kv, "keys", 300),
        tinyllm_mem::Part::new(Category::Padding, "padding", 212),
    ];
    let second = Buffer::<u8>::allocate(memory, Request::slab("second", parts, 256).on(stream)).unwrap();
    drop(second);
    let third = Buffer::<f32>::zeroed(memory, Category::Kv, "third", 25).unwrap();
    drop((first, third));
}

#[test]
fn a_log_replays_to_the_same_counts() {
    let log = Log::default();
    let tracking = Arc::new(Tracking::new(HostResource::shared()));
    let memory: HostMemory = Arc::new(Logging::new(tracking.clone(), log.clone()));
    // Whose number the log has; host memory ignores it.
    let context = Context::primary(Arc::new(Emulator::default()), 0).unwrap();
    let stream = Stream::new(&context, StreamFlags::NonBlocking).unwrap();
    story(&memory, &stream);
    let streams = |number| if number == 0 { Stream::DEFAULT } else { stream.clone() };
    let text = log.0.lock().unwrap().clone();
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 6);
    let replayed = Arc::new(Tracking::new(HostResource::shared()));
    let done = replay(text.as_slice(), &(replayed.clone() as HostMemory), streams).unwrap();
    assert_eq!((done.allocations, done.peak_bytes, done.leaked_bytes), (3, 1512, 0));
    assert_eq!(replayed.report(), tracking.report());
    assert_eq!(tracking.report().categories[&Category::Kv].peak_bytes, 300);
    assert_eq!(tracking.report().total.peak_bytes, 1512);

    // Cut short, it leaks, and the leak is freed.
    let cut = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let done = replay(&text[..cut], &(replayed.clone() as HostMemory), streams).unwrap();
    assert_eq!(done.leaked_bytes, 1000);
    assert_eq!(replayed.report().total.live_bytes, 0);
    for wrong in ["{", r#"{"call":"deallocate","id":5,"stream":0}"#] {
        let error = replay(wrong.as_bytes(), &(replayed.clone() as HostMemory), streams).unwrap_err();
        assert!(matches!(error, MemError::Log { line: 1, .. }), "{error}");
    }
}

#[test]
fn custom_categories_are_counted_limited_and_logged_as_any_other() {
    let (meshes, sprites) = (Category::custom("meshes"), Category::custom("sprites"));
    let log = Log::default();
    let tracking = Arc::new(Tracking::new(HostResource::shared()));
    let limiting = Arc::new(Limiting::new(tracking.clone(), Budget::default().with(sprites, 100)));
    let memory: HostMemory = Arc::new(Logging::new(limiting, log.clone()));
    let parts = [(sprites, 60), (meshes, 30), (Category::Padding, 6)];
    let parts = parts.map(|(category, bytes)| tinyllm_mem::Part::new(category, category.name(), bytes));
    let scene = Buffer::<u8>::allocate(&memory, Request::slab("scene", parts.into(), 64)).unwrap();
    let error = Buffer::<u8>::zeroed(&memory, sprites, "more", 41).unwrap_err();
    let expected = "more: 41 bytes do not fit the budget for sprites: 60 of 100 bytes are used";
    assert_eq!(error.to_string(), expected);
    let report = tracking.report();
    let by_name: Vec<(&str, usize)> =
        report.categories.iter().map(|(category, usage)| (category.name(), usage.live_bytes)).collect();
    assert_eq!(by_name, [("padding", 6), ("meshes", 30), ("sprites", 60)]);
    assert_eq!(report.total.live_bytes, 96);
    drop(scene);
    let replayed = Arc::new(Tracking::new(HostResource::shared()));
    let text = log.0.lock().unwrap().clone();
    replay(text.as_slice(), &(replayed.clone() as HostMemory), |_| Stream::DEFAULT).unwrap();
    assert_eq!(replayed.report(), tracking.report());
}

#[test]
fn budgets_hold_by_category_and_in_all() {
    let budget = Budget::total(2000).with(Category::Kv, 100);
    let limiting = Arc::new(Limiting::new(HostResource::shared(), budget));
    let memory: HostMemory = limiting.clone();
    let weights = Buffer::<u8>::zeroed(&memory, Category::Weights, "w", 1500).unwrap();
    let kv = Buffer::<u8>::zeroed(&memory, Category::Kv, "kv", 100).unwrap();
    let error = Buffer::<u8>::zeroed(&memory, Category::Kv, "more", 1).unwrap_err();
    let expected = "more: 1 bytes do not fit the budget for kv: 100 of 100 bytes are used";
    assert_eq!(error.to_string(), expected);
    let error = Buffer::<u8>::zeroed(&memory, Category::Weights, "more", 401).unwrap_err();
    assert!(matches!(
        error,
        MemError::OverBudget { category: None, used_bytes: 1600, limit_bytes: 2000, .. }
    ));
    assert_eq!(limiting.memory_info().unwrap().free_bytes, 400);
    drop((weights, kv));
    assert_eq!(limiting.used_bytes(), 0);
}

#[test]
fn a_refused_allocation_counts_nowhere() {
    for nth in 0..3 {
        let tracking = Arc::new(Tracking::new(HostResource::shared()));
        let failing = Arc::new(FailureInjection::new(tracking.clone(), Failures::Nth(nth)));
        let memory: HostMemory = failing.clone();
        let made = (0..3).filter(|_| Buffer::<u8>::zeroed(&memory, Category::Kv, "kv", 10).is_ok()).count();
        assert_eq!((made, failing.calls()), (2, 3));
        assert_eq!(tracking.report().allocations_total, 2);
        assert_eq!(tracking.report().total.live_bytes, 0);
    }
}

#[test]
fn a_fraction_fails_the_same_calls_in_every_run() {
    let run = |seed| {
        let failures = Failures::Fraction { probability: 0.3, seed };
        let memory: HostMemory = Arc::new(FailureInjection::new(HostResource::shared(), failures));
        let calls = (0..1000).map(|_| Buffer::<u8>::zeroed(&memory, Category::Kv, "kv", 1).is_ok());
        calls.collect::<Vec<bool>>()
    };
    let failed = run(1).iter().filter(|ok| !**ok).count();
    assert!((220..380).contains(&failed), "{failed} of 1000");
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_leak_can_be_traced_to_its_place() {
    let tracking = Arc::new(Tracking::with_backtraces(HostResource::shared()));
    let memory: HostMemory = tracking.clone();
    let leaked = Buffer::<u8>::zeroed(&memory, Category::Kv, "leaked", 10).unwrap();
    let places = tracking.live_backtraces();
    assert_eq!(places.len(), 1);
    assert!(
        places[0].0 == "leaked" && places[0].1.contains("a_leak_can_be_traced_to_its_place"),
        "{places:?}"
    );
    drop(leaked);
    assert!(tracking.live_backtraces().is_empty());
}

#[test]
fn what_lives_is_named_largest_first() {
    let tracking = Arc::new(Tracking::new(HostResource::shared()));
    let memory: HostMemory = tracking.clone();
    let _small = Buffer::<u8>::zeroed(&memory, Category::Kv, "small", 10).unwrap();
    let _large = Buffer::<u8>::zeroed(&memory, Category::Kv, "large", 20).unwrap();
    assert_eq!(tracking.report().live, [("large".to_owned(), 20), ("small".to_owned(), 10)]);
}

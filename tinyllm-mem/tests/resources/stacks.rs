//! Resources and stacks of adaptors, and what the adaptors say afterwards.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Arc, Mutex},
};

use tinyllm_mem::{
    Budget, Buffer, Category, DeviceResource, FailureInjection, Failures, HostMemory, HostResource,
    HugePages, Limiting, Logging, MemError, MemoryResource, Request, Tracking, replay,
};

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
    let category_bytes = BTreeMap::from([(Category::Workspace, 1 << 30)]);
    Budget { total_bytes: Some(1 << 30), category_bytes }
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
        let tracked = Arc::new(Tracking::new(Arc::new(DeviceResource::new(gpu.driver.clone(), 0).unwrap())));
        let failing = Arc::new(FailureInjection::new(tracked, Failures::Never));
        Arc::new(Logging::new(Arc::new(Limiting::new(failing, plenty())), Log::default()))
    });
    gpu.end();
}

/// Three buffers, of which the second is freed first.
fn story(memory: &HostMemory) {
    let first = Buffer::<u8>::zeroed(memory, Category::Weights, "first", 1000).unwrap();
    let parts = vec![
        tinyllm_mem::Part::new(Category::Kv, "keys", 300),
        tinyllm_mem::Part::new(Category::Padding, "padding", 212),
    ];
    let second =
        Buffer::<u8>::allocate(memory, Request::slab("second", parts, 256).on(suite::stream(7))).unwrap();
    drop(second);
    let third = Buffer::<f32>::zeroed(memory, Category::Kv, "third", 25).unwrap();
    drop((first, third));
}

#[test]
fn a_log_replays_to_the_same_counts() {
    let log = Log::default();
    let tracking = Arc::new(Tracking::new(HostResource::shared()));
    let memory: HostMemory = Arc::new(Logging::new(tracking.clone(), log.clone()));
    story(&memory);
    let text = log.0.lock().unwrap().clone();
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 6);
    let replayed = Arc::new(Tracking::new(HostResource::shared()));
    let done = replay(text.as_slice(), &(replayed.clone() as HostMemory), suite::stream).unwrap();
    assert_eq!((done.allocations, done.peak_bytes, done.leaked_bytes), (3, 1512, 0));
    assert_eq!(replayed.report(), tracking.report());
    assert_eq!(tracking.report().categories[&Category::Kv].peak_bytes, 300);
    assert_eq!(tracking.report().total.peak_bytes, 1512);

    // Cut short, it leaks, and the leak is freed.
    let cut = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let done = replay(&text[..cut], &(replayed.clone() as HostMemory), suite::stream).unwrap();
    assert_eq!(done.leaked_bytes, 1000);
    assert_eq!(replayed.report().total.live_bytes, 0);
    for wrong in ["{", r#"{"call":"deallocate","id":5,"stream":0}"#] {
        let error = replay(wrong.as_bytes(), &(replayed.clone() as HostMemory), suite::stream).unwrap_err();
        assert!(matches!(error, MemError::Log { line: 1, .. }), "{error}");
    }
}

#[test]
fn budgets_hold_by_category_and_in_all() {
    let budget = Budget { total_bytes: Some(2000), category_bytes: BTreeMap::from([(Category::Kv, 100)]) };
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

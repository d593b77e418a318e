//! The driver's calls beside kernels: devices, default streams, events, graphs, pools, mapped memory, limits, errors.

use tinyllm_emulator::Emulator;
use tinyllm_sys::{
    CaptureMode, CaptureStatus, DeviceAttribute, DriverApi, DriverCode, EventTiming, FunctionAttribute,
    LaunchConfig, StreamFlags, StreamHandle,
};

use crate::{
    corpus::{WORDS, kernel, word},
    program::{Program, on_each},
};

const DOUBLE: &str = "ld.global.u32 %r1, [%a]; shl.b32 %r1, %r1, 1; st.global.u32 [%b], %r1;";
const ROW: LaunchConfig = LaunchConfig::new([1, 1, 1], [WORDS as u32, 1, 1]);

fn code<T: std::fmt::Debug>(result: Result<T, tinyllm_sys::DriverError>) -> Option<DriverCode> {
    result.unwrap_err().driver_code()
}

#[test]
fn devices_have_memory_of_their_own() {
    let program = Program::new(Emulator::builder().devices(2).memory(1 << 20));
    let driver = &program.driver;
    assert_eq!(driver.device_count().unwrap(), 2);
    let first = driver.mem_alloc(700_000).unwrap();
    assert_eq!(code(driver.mem_alloc(700_000)), Some(DriverCode::OutOfMemory));
    let device = driver.device_get(1).unwrap();
    // SAFETY: contexts and memory are this driver's.
    unsafe {
        let context = driver.primary_context_retain(device).unwrap();
        driver.context_set_current(context).unwrap();
        assert_eq!(driver.context_get_current().unwrap(), Some(context));
        let second = driver.mem_alloc(700_000).unwrap();
        assert!(second.0.abs_diff(first.0) > 1 << 30);
        driver.memset_d8(second, 1, 700_000).unwrap();
        assert_eq!(driver.mem_get_info().unwrap(), ((1 << 20) - 700_416, 1 << 20));
        driver.mem_free(second).unwrap();
    }
    assert_eq!(code(driver.device_get(2)), Some(DriverCode::InvalidDevice));
    assert_eq!(driver.device_attribute(DeviceAttribute::ComputeCapabilityMajor, device).unwrap(), 8);
}

#[test]
fn contexts_are_a_stack_of_each_thread() {
    let program = Program::new(Emulator::builder().devices(2));
    let driver = &program.driver;
    let [first, second] =
        [0, 1].map(|ordinal| driver.primary_context_retain(driver.device_get(ordinal).unwrap()).unwrap());
    let run = || {
        assert_eq!(driver.context_get_current().unwrap(), None);
        assert_eq!(code(driver.context_pop_current()), Some(DriverCode::InvalidContext));
        // SAFETY: contexts of this driver that are retained.
        unsafe {
            driver.context_push_current(first).unwrap();
            driver.context_push_current(second).unwrap();
            assert_eq!(driver.context_get_current().unwrap(), Some(second));
            // What is current is replaced, and what is below it stays.
            driver.context_set_current(first).unwrap();
            driver.context_push_current(second).unwrap();
        }
        assert_eq!(driver.context_pop_current().unwrap(), second);
        assert_eq!(driver.context_pop_current().unwrap(), first);
        assert_eq!(driver.context_get_current().unwrap(), Some(first));
        assert_eq!(driver.context_pop_current().unwrap(), first);
        assert_eq!(code(driver.mem_alloc(1)), Some(DriverCode::InvalidContext));
    };
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap();
    assert_eq!(driver.context_get_current().unwrap(), Some(first), "another thread's stack is its own");
}

#[test]
fn the_default_stream_waits_for_others_and_they_for_it() {
    for seed in 0..50 {
        on_each(Emulator::builder().seed(seed), |program| {
            let double = program.kernel(&kernel(DOUBLE), "k");
            let blocking = program.driver.stream_create(StreamFlags::Default).unwrap();
            let [x, y, z] = [1u32, 0, 0].map(|value| program.upload(&[value; WORDS]));
            program.launch_on(blocking, double, ROW, &mut [x.0, y.0, 0]).unwrap();
            program.launch_on(StreamHandle::LEGACY, double, ROW, &mut [y.0, z.0, 0]).unwrap();
            program.launch_on(blocking, double, ROW, &mut [z.0, x.0, 0]).unwrap();
            assert_eq!(program.download::<u32>(x, WORDS), [8; WORDS]);
        });
        // A stream that stands apart is another matter.
        let program = Program::new(Emulator::builder().seed(seed));
        let driver = &program.driver;
        let double = program.kernel(&kernel(DOUBLE), "k");
        let apart = driver.stream_create(StreamFlags::NonBlocking).unwrap();
        let [x, y, z] = [1u32, 0, 0].map(|value| program.upload(&[value; WORDS]));
        program.launch_on(apart, double, ROW, &mut [x.0, y.0, 0]).unwrap();
        program.launch_on(StreamHandle::LEGACY, double, ROW, &mut [y.0, z.0, 0]).unwrap();
        driver.context_synchronize().unwrap();
        assert_eq!(driver.findings().len(), 1, "seed {seed}");
    }
}

#[test]
fn page_locked_memory_is_read_when_the_copy_runs_and_ordinary_memory_at_once() {
    let (mut early, mut late) = (0, 0);
    for seed in 0..50 {
        let program = Program::new(Emulator::builder().seed(seed));
        let driver = &program.driver;
        let stream = driver.stream_create(StreamFlags::NonBlocking).unwrap();
        let memory = program.upload(&[0u32; 2]);
        let mut ordinary = 5u32;
        let locked = driver.mem_alloc_host(4).unwrap().cast::<u32>();
        // SAFETY: four bytes each; that the locked ones change while the copy may run is what is looked at.
        unsafe {
            locked.write(5);
            driver.memcpy_htod_async(memory, std::ptr::from_ref(&ordinary).cast(), 4, stream).unwrap();
            driver.memcpy_htod_async(word(memory, 1), locked.cast(), 4, stream).unwrap();
            ordinary += 2;
            locked.write(7);
            driver.stream_synchronize(stream).unwrap();
        }
        let [first, second] = program.download::<u32>(memory, 2)[..] else { panic!("two words") };
        assert_eq!((first, ordinary), (5, 7));
        match second {
            5 => early += 1,
            _ => late += 1,
        }
    }
    assert!(early > 0 && late > 0, "{early} {late}");
}

#[test]
fn a_fill_of_page_locked_memory_is_there_when_the_call_returns() {
    for seed in 0..20 {
        on_each(Emulator::builder().seed(seed), |program| {
            let locked = program.driver.mem_alloc_host(4).unwrap();
            let address = tinyllm_sys::DevicePointer(locked.expose_provenance() as u64);
            // SAFETY: four bytes, and nothing else uses them.
            unsafe {
                program.driver.memset_d8(address, 7, 4).unwrap();
                assert_eq!(locked.cast::<[u8; 4]>().read(), [7; 4], "seed {seed}");
            }
        });
    }
}

#[test]
fn events_say_what_is_done_and_how_long_it_took() {
    on_each(Emulator::builder(), events);
    let driver = Program::new(Emulator::builder()).driver;
    let event = driver.event_create(EventTiming::Disabled).unwrap();
    // SAFETY: this driver's; that it is asked for after its end is what is looked at.
    unsafe {
        driver.event_destroy(event).unwrap();
        assert_eq!(code(driver.event_query(event)), Some(DriverCode::InvalidHandle));
    }
}

fn events(program: &Program<dyn DriverApi>) {
    let driver = &program.driver;
    let stream = driver.stream_create(StreamFlags::NonBlocking).unwrap();
    let [start, end, plain] = [EventTiming::Enabled, EventTiming::Enabled, EventTiming::Disabled]
        .map(|timing| driver.event_create(timing).unwrap());
    let memory = program.upload(&[0u32; WORDS]);
    // SAFETY: events and streams are this driver's; the memory is as large.
    unsafe {
        // What was never recorded is done.
        assert!(driver.event_query(start).unwrap());
        assert_eq!(code(driver.event_elapsed_time(start, end)), Some(DriverCode::InvalidHandle));
        driver.event_record(start, stream).unwrap();
        driver.memset_d8_async(memory, 1, 128, stream).unwrap();
        driver.event_record(end, stream).unwrap();
        driver.event_record(plain, stream).unwrap();
        driver.event_synchronize(end).unwrap();
        assert!(driver.event_query(start).unwrap());
        assert!(driver.event_elapsed_time(start, end).unwrap() >= 0.0);
        assert_eq!(code(driver.event_elapsed_time(start, plain)), Some(DriverCode::InvalidHandle));
        // Asked again and again, everything is done some time.
        while !driver.stream_query(stream).unwrap() {}
    }
}

#[test]
fn graphs_are_captured_launched_and_given_new_arguments() {
    for seed in 0..20 {
        on_each(Emulator::builder().seed(seed), graphs);
    }
}

fn graphs(program: &Program<dyn DriverApi>) {
    let driver = &program.driver;
    let double = program.kernel(&kernel(DOUBLE), "k");
    let [main, side] = [0; 2].map(|_| driver.stream_create(StreamFlags::NonBlocking).unwrap());
    let [fork, join] = [0; 2].map(|_| driver.event_create(EventTiming::Disabled).unwrap());
    let [x, y, z, other] = [1u32, 0, 0, 0].map(|value| program.upload(&[value; WORDS]));
    let capture = |target: u64| {
        // SAFETY: handles live, memory is as large; the two branches write different memory and join.
        unsafe {
            driver.stream_begin_capture(main, CaptureMode::Global).unwrap();
            assert_eq!(driver.stream_capture_status(main).unwrap(), CaptureStatus::Active);
            program.launch_on(main, double, ROW, &mut [x.0, y.0, 0]).unwrap();
            driver.event_record(fork, main).unwrap();
            driver.stream_wait_event(side, fork).unwrap();
            program.launch_on(side, double, ROW, &mut [y.0, z.0, 0]).unwrap();
            driver.memset_d32_async(x, 100, WORDS, main).unwrap();
            driver.event_record(join, side).unwrap();
            driver.stream_wait_event(main, join).unwrap();
            program.launch_on(main, double, ROW, &mut [z.0, target, 0]).unwrap();
            driver.stream_end_capture(main).unwrap()
        }
    };
    // SAFETY: as above.
    unsafe {
        let graph = capture(x.0);
        let exec = driver.graph_instantiate(graph).unwrap();
        // Nothing has run, and a graph runs as often as it is launched: 1 becomes 8, 64.
        assert_eq!(program.download::<u32>(x, WORDS), [1; WORDS]);
        driver.graph_launch(exec, main).unwrap();
        driver.graph_launch(exec, main).unwrap();
        driver.stream_synchronize(main).unwrap();
        assert_eq!(program.download::<u32>(x, WORDS), [64; WORDS]);
        let second = capture(other.0);
        assert!(driver.graph_exec_update(exec, second).unwrap());
        driver.graph_launch(exec, main).unwrap();
        driver.stream_synchronize(main).unwrap();
        assert_eq!(program.download::<u32>(other, WORDS), [512; WORDS]);
        assert_eq!(program.download::<u32>(x, WORDS), [100; WORDS]);
        // Another shape is instantiated anew.
        driver.stream_begin_capture(main, CaptureMode::Relaxed).unwrap();
        driver.memset_d32_async(x, 1, WORDS, main).unwrap();
        let third = driver.stream_end_capture(main).unwrap();
        assert!(!driver.graph_exec_update(exec, third).unwrap());
    }
}

#[test]
fn captures_that_are_spoiled() {
    on_each(Emulator::builder(), spoiled_captures);
}

fn spoiled_captures(program: &Program<dyn DriverApi>) {
    let driver = &program.driver;
    let [main, side] = [0; 2].map(|_| driver.stream_create(StreamFlags::NonBlocking).unwrap());
    let event = driver.event_create(EventTiming::Disabled).unwrap();
    let memory = program.upload(&[0u32; WORDS]);
    // SAFETY: handles live, memory is as large; the calls that are not allowed are what is looked at.
    unsafe {
        driver.stream_begin_capture(main, CaptureMode::Global).unwrap();
        assert_eq!(code(driver.mem_alloc(4)), Some(DriverCode::StreamCaptureUnsupported));
        assert_eq!(driver.stream_capture_status(main).unwrap(), CaptureStatus::Invalidated);
        assert_eq!(code(driver.stream_end_capture(main)), Some(DriverCode::StreamCaptureInvalidated));
        driver.stream_begin_capture(main, CaptureMode::Global).unwrap();
        assert_eq!(code(driver.stream_synchronize(main)), Some(DriverCode::StreamCaptureUnsupported));
        assert!(driver.stream_end_capture(main).is_err());
        // A branch that does not come back.
        driver.stream_begin_capture(main, CaptureMode::Relaxed).unwrap();
        driver.event_record(event, main).unwrap();
        driver.stream_wait_event(side, event).unwrap();
        driver.memset_d8_async(memory, 1, 4, side).unwrap();
        assert_eq!(code(driver.stream_end_capture(main)), Some(DriverCode::StreamCaptureUnjoined));
        assert_eq!(code(driver.stream_end_capture(main)), Some(DriverCode::IllegalState));
        assert_eq!(
            code(driver.stream_begin_capture(StreamHandle::LEGACY, CaptureMode::Global)),
            Some(DriverCode::StreamCaptureUnsupported)
        );
    }
}

/// A kernel with a limit of its own.
const LIMITED: &str = ".version 8.0\n.target sm_80\n.address_size 64\n\
    .visible .entry k() .maxntid 256 { .shared .b32 tile[250]; .reg .b32 %t; .reg .pred %first;\n\
    mov.u32 %t, %tid.x; setp.eq.u32 %first, %t, 0; @%first st.volatile.shared.b32 [tile], 1; ret; }";

#[test]
fn launches_within_the_device_s_limits() {
    on_each(Emulator::builder(), limits);
}

fn limits(program: &Program<dyn DriverApi>) {
    let driver = &program.driver;
    let function = program.kernel(LIMITED, "k");
    let launch = |grid: [u32; 3], block: [u32; 3], shared_bytes: u32| {
        let config = LaunchConfig { shared_bytes, ..LaunchConfig::new(grid, block) };
        program.launch_on(StreamHandle::LEGACY, function, config, &mut [])
    };
    launch([65_536, 1, 1], [256, 1, 1], 1024).unwrap();
    for (grid, block, shared, expected) in [
        ([0, 1, 1], [1, 1, 1], 0, DriverCode::InvalidValue),
        ([1, 65_536, 1], [1, 1, 1], 0, DriverCode::InvalidValue),
        ([1, 1, 1], [1, 1, 65], 0, DriverCode::InvalidValue),
        ([1, 1, 1], [257, 1, 1], 0, DriverCode::InvalidValue),
        ([1, 1, 1], [32, 1, 1], 48 << 10, DriverCode::InvalidValue),
    ] {
        assert_eq!(code(launch(grid, block, shared)), Some(expected), "{grid:?} {block:?} {shared}");
    }
    let at_once = |threads| {
        // SAFETY: the function is of a module that lives.
        unsafe { driver.occupancy_max_active_blocks(function, threads, 0) }.unwrap()
    };
    // 2048 threads of a multiprocessor.
    assert_eq!(at_once(256), 8);
    // SAFETY: as above.
    unsafe {
        assert_eq!(driver.function_attribute(function, FunctionAttribute::MaxThreadsPerBlock).unwrap(), 256);
        assert_eq!(driver.function_attribute(function, FunctionAttribute::SharedSizeBytes).unwrap(), 1000);
        let device = driver.device_get(0).unwrap();
        let most = DeviceAttribute::MaxSharedMemoryPerBlockOptin;
        let most = driver.device_attribute(most, device).unwrap();
        let bytes = FunctionAttribute::MaxDynamicSharedSizeBytes;
        assert!(driver.function_set_attribute(function, bytes, most).is_err(), "1000 are taken already");
        driver.function_set_attribute(function, bytes, 100 << 10).unwrap();
        launch([1, 1, 1], [32, 1, 1], 100 << 10).unwrap();
        let processors = driver.device_attribute(DeviceAttribute::MultiprocessorCount, device).unwrap();
        let cooperative =
            |blocks| LaunchConfig { cooperative: true, ..LaunchConfig::new([blocks, 1, 1], [256, 1, 1]) };
        let blocks = processors as u32 * at_once(256);
        program.launch_on(StreamHandle::LEGACY, function, cooperative(blocks), &mut []).unwrap();
        let too_large = program.launch_on(StreamHandle::LEGACY, function, cooperative(blocks + 1), &mut []);
        assert_eq!(code(too_large), Some(DriverCode::CooperativeLaunchTooLarge));
    }
    driver.context_synchronize().unwrap();
}

#[test]
fn the_emulated_device_has_the_limits_of_an_a100() {
    let program = Program::new(Emulator::builder());
    let function = program.kernel(LIMITED, "k");
    // SAFETY: the function is of a module that lives.
    unsafe {
        // 164 KiB of shared memory, of which each block takes a KiB more than it asks for.
        assert_eq!(program.driver.occupancy_max_active_blocks(function, 32, 40 << 10).unwrap(), 3);
    }
    let cooperative =
        |blocks| LaunchConfig { cooperative: true, ..LaunchConfig::new([blocks, 1, 1], [256, 1, 1]) };
    program.launch_on(StreamHandle::LEGACY, function, cooperative(864), &mut []).unwrap();
    let too_large = program.launch_on(StreamHandle::LEGACY, function, cooperative(865), &mut []);
    assert_eq!(code(too_large), Some(DriverCode::CooperativeLaunchTooLarge));
    assert_eq!(
        code(program.launch_on(StreamHandle::LEGACY, function, ROW, &mut [1])),
        Some(DriverCode::InvalidValue)
    );
    program.driver.context_synchronize().unwrap();
}

#[test]
fn mapped_memory_moves_behind_its_addresses() {
    const GRANULE: usize = 2 << 20;
    let program = Program::new(Emulator::builder().memory(16 << 20));
    let driver = &program.driver;
    assert_eq!(driver.mem_allocation_granularity(0).unwrap(), GRANULE);
    // SAFETY: ranges are reserved and mapped before they are used; what is not allowed is what is looked at.
    unsafe {
        let start = driver.mem_address_reserve(2 * GRANULE, 0).unwrap();
        let (first, second) =
            (driver.mem_create(0, GRANULE).unwrap(), driver.mem_create(0, GRANULE).unwrap());
        driver.mem_map(start, GRANULE, 0, first).unwrap();
        assert!(driver.memset_d8(start, 1, 4).is_err(), "no access yet");
        driver.mem_set_access(start, GRANULE, 0).unwrap();
        driver.memset_d8(start, 1, GRANULE).unwrap();
        assert_eq!(code(driver.mem_map(start, GRANULE, 0, second)), Some(DriverCode::InvalidValue));
        assert_eq!(code(driver.mem_address_free(start, 2 * GRANULE)), Some(DriverCode::InvalidValue));
        // Unmapping does not wait for the fill.
        driver.context_synchronize().unwrap();
        driver.mem_unmap(start, GRANULE).unwrap();
        // The same memory, elsewhere.
        let moved = word(start, GRANULE as u64 / 4);
        driver.mem_map(moved, GRANULE, 0, first).unwrap();
        driver.mem_set_access(moved, GRANULE, 0).unwrap();
        assert_eq!(program.download::<u8>(moved, 3), [1, 1, 1]);
        driver.mem_release(first).unwrap();
        assert_eq!(driver.mem_get_info().unwrap().0, 12 << 20, "mapped still");
        driver.mem_unmap(moved, GRANULE).unwrap();
        driver.mem_release(second).unwrap();
        driver.mem_address_free(start, 2 * GRANULE).unwrap();
        assert_eq!(driver.mem_get_info().unwrap().0, 16 << 20);
    }
}

#[test]
fn modules_and_their_variables() {
    on_each(Emulator::builder(), variables);
    let driver = Program::new(Emulator::builder()).driver;
    let module =
        driver.module_load_data(c".version 8.0\n.target sm_80\n.address_size 64\n.global .u32 x;").unwrap();
    // SAFETY: this driver's; that it is asked for after its end is what is looked at.
    unsafe {
        driver.module_unload(module).unwrap();
        assert_eq!(code(driver.module_get_global(module, c"x")), Some(DriverCode::InvalidHandle));
    }
    let (free, total) = driver.mem_get_info().unwrap();
    assert_eq!(free, total);
}

fn variables(program: &Program<dyn DriverApi>) {
    let driver = &program.driver;
    let text = ".version 8.0\n.target sm_80\n.address_size 64\n.global .align 4 .u32 table[4] = {1, 2};\n\
        .global .align 8 .u64 pointer = table;\n.visible .entry k() { .reg .b32 %r1; .reg .b64 %rd1; ld.global.u64 %rd1, [pointer];\n\
        ld.global.u32 %r1, [%rd1+4]; st.global.u32 [table+8], %r1; ret; }";
    let (module, function) = program.load(text, "k").unwrap();
    // SAFETY: the module lives until it is unloaded.
    unsafe {
        let (table, bytes) = driver.module_get_global(module, c"table").unwrap();
        assert_eq!(bytes, 16);
        program.launch_on(StreamHandle::LEGACY, function, ROW, &mut []).unwrap();
        assert_eq!(program.download::<u32>(table, 4), [1, 2, 2, 0]);
        assert_eq!(code(driver.module_get_global(module, c"nothing")), Some(DriverCode::NotFound));
        assert_eq!(code(driver.module_get_function(module, c"nothing")), Some(DriverCode::NotFound));
        driver.module_unload(module).unwrap();
    }
}

#[test]
fn results_and_counters_do_not_depend_on_threads() {
    let body =
        "ld.global.u32 %r1, [%a]; mul.lo.u32 %r1, %r1, %r1; and.b32 %r2, %t, 3; setp.eq.u32 %p1, %r2, 0;
        @%p1 add.u32 %r1, %r1, 7; st.global.u32 [%b], %r1;";
    let run = |threads| {
        let program = Program::new(Emulator::builder().threads(threads));
        let function = program.kernel(&kernel(body), "k");
        let words: Vec<u32> = (0..64 * 512).collect();
        let (a, b) = (program.upload(&words), program.upload(&words));
        program.launch(function, 512, 64, &mut [a.0, b.0, 0]);
        (program.download::<u32>(b, words.len()), program.driver.counters()["k"])
    };
    let (one, counters) = run(1);
    assert_eq!((one.clone(), counters), run(3));
    assert_eq!(one[5], 25);
    // By hand: 64 threads are two warps; a load of 32 words in a row is four sectors.
    let total = counters.total;
    assert_eq!((total.global_load_requests, total.global_load_sectors), (1024, 4096));
    assert_eq!((total.unique_bytes_read, total.unique_bytes_written), (131_072, 131_072));
    assert_eq!((total.divergent_branches, total.mma, total.shared_requests), (0, 0, 0));
}

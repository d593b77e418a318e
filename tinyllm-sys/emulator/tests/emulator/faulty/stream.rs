//! Work that no event orders.

use tinyllm_emulator::Emulator;
use tinyllm_sys::{DriverApi, EventTiming, LaunchConfig, StreamFlags, StreamHandle};

use crate::{
    corpus::{check, kernel},
    program::Program,
};

/// Two streams that do not wait for each other, and memory of 128 bytes.
fn two_streams(program: &Program) -> (StreamHandle, StreamHandle) {
    let stream = || program.driver.stream_create(StreamFlags::NonBlocking).unwrap();
    (stream(), stream())
}

const ROW: LaunchConfig = LaunchConfig::new([1, 1, 1], [32, 1, 1]);

#[test]
fn a_kernel_and_another_without_an_event() {
    let program = Program::new(Emulator::builder());
    let writes = program.kernel(&kernel("st.global.u32 [%b], %t;"), "k");
    let reads = program.kernel(&kernel("ld.global.u32 %r1, [%b];"), "k");
    let memory = program.upload(&[0u32; 32]);
    program.driver.name_memory(memory, 128, "x");
    let (first, second) = two_streams(&program);
    program.launch_on(first, writes, ROW, &mut [memory.0, memory.0, 0]).unwrap();
    program.launch_on(second, reads, ROW, &mut [memory.0, memory.0, 0]).unwrap();
    program.driver.context_synchronize().unwrap();
    check(
        "two kernels",
        &program.driver.findings(),
        &[&[
            "race between streams: read of 4 bytes of global memory",
            "byte 0 of x (128 bytes): kernel k on stream 2; no event orders the two",
            "against write in kernel k on stream 1 at k of module 1 case.cu:10",
        ]],
    );
}

#[test]
fn an_event_on_the_wrong_side() {
    let program = Program::new(Emulator::builder());
    let driver = &program.driver;
    let (first, second) = two_streams(&program);
    let memory = program.upload(&[0u32; 32]);
    let event = driver.event_create(EventTiming::Disabled).unwrap();
    // SAFETY: inside of the memory; recorded before the work instead of after it: that is the mistake.
    unsafe {
        driver.event_record(event, first).unwrap();
        driver.memset_d8_async(memory, 1, 128, first).unwrap();
        driver.stream_wait_event(second, event).unwrap();
        driver.memset_d8_async(memory, 2, 64, second).unwrap();
        driver.context_synchronize().unwrap();
    }
    check(
        "event",
        &driver.findings(),
        &[&["race between streams: write", "memset on stream 2", "against write in memset on stream 1"]],
    );
}

#[test]
fn freed_while_another_stream_uses_it() {
    let program = Program::new(Emulator::builder());
    let driver = &program.driver;
    let (first, second) = two_streams(&program);
    let pool = driver.mem_pool_create(0, 0).unwrap();
    let event = driver.event_create(EventTiming::Disabled).unwrap();
    // SAFETY: freed on the first stream while the second uses it: that is the mistake.
    unsafe {
        let memory = driver.mem_alloc_from_pool_async(128, pool, first).unwrap();
        driver.name_memory(memory, 128, "scratch");
        driver.event_record(event, first).unwrap();
        driver.stream_wait_event(second, event).unwrap();
        driver.memset_d8_async(memory, 2, 128, second).unwrap();
        driver.mem_free_async(memory, first).unwrap();
    }
    let _ = driver.context_synchronize();
    let findings = driver.findings();
    // Where the free ran first the work hit nothing, and that is found too.
    let race = findings.iter().find(|finding| finding.kind.check() == "stream").cloned();
    match race {
        Some(race) => check(
            "free",
            &[race],
            &[&[
                "race between streams: allocation or free",
                "scratch",
                "cuMemFreeAsync on stream 1",
                "against write in memset on stream 2",
            ]],
        ),
        None => check(
            "free",
            &findings,
            &[&["use after free: write of 128 bytes", "scratch (128 bytes), which was freed"]],
        ),
    }
}

#[test]
fn used_on_a_stream_that_does_not_know_it() {
    let program = Program::new(Emulator::builder());
    let driver = &program.driver;
    let (first, second) = two_streams(&program);
    let pool = driver.mem_pool_create(0, 0).unwrap();
    // SAFETY: used on the second stream without an event after the first allocated it: that is the mistake.
    unsafe {
        let memory = driver.mem_alloc_from_pool_async(128, pool, first).unwrap();
        driver.memset_d8_async(memory, 2, 128, second).unwrap();
        driver.context_synchronize().unwrap();
    }
    check(
        "allocation",
        &driver.findings(),
        &[&[
            "race between streams: write",
            "memset on stream 2",
            "against allocation or free in cuMemAllocFromPoolAsync on stream 1",
        ]],
    );
}

#[test]
fn branches_of_a_graph() {
    use tinyllm_sys::CaptureMode;
    let program = Program::new(Emulator::builder());
    let driver = &program.driver;
    let (first, second) = two_streams(&program);
    let memory = program.upload(&[0u32; 32]);
    let (begun, joined) = (
        driver.event_create(EventTiming::Disabled).unwrap(),
        driver.event_create(EventTiming::Disabled).unwrap(),
    );
    // SAFETY: inside of the memory; both branches write the same bytes: that is the mistake.
    unsafe {
        driver.stream_begin_capture(first, CaptureMode::Global).unwrap();
        driver.event_record(begun, first).unwrap();
        driver.stream_wait_event(second, begun).unwrap();
        driver.memset_d8_async(memory, 1, 128, first).unwrap();
        driver.memset_d8_async(memory, 2, 128, second).unwrap();
        driver.event_record(joined, second).unwrap();
        driver.stream_wait_event(first, joined).unwrap();
        let graph = driver.stream_end_capture(first).unwrap();
        let exec = driver.graph_instantiate(graph).unwrap();
        driver.graph_launch(exec, first).unwrap();
        driver.stream_synchronize(first).unwrap();
    }
    check(
        "graph",
        &driver.findings(),
        &[&[
            "race between streams: write",
            "memset of a graph on stream 1",
            "against write in memset of a graph on stream 1",
        ]],
    );
}

//! Page-locked memory that the host changes while a copy from it is under way.

use tinyllm_emulator::{Emulator, report::Finding};
use tinyllm_sys::{CaptureMode, DevicePointer, DriverApi, EventTiming, StreamFlags, StreamHandle};

use crate::{corpus::check, program::Program};

const WORDS: usize = 32;
const BYTES: usize = 4 * WORDS;

/// A program with memory, a stream, and page-locked words that count from 0.
struct Staging {
    program: Program,
    memory: DevicePointer,
    stream: StreamHandle,
    host: *mut u32,
}

impl Staging {
    fn new(seed: u64) -> Self {
        let program = Program::new(Emulator::builder().seed(seed));
        let stream = program.driver.stream_create(StreamFlags::NonBlocking).unwrap();
        let memory = program.upload(&[0u32; WORDS]);
        let host = program.driver.mem_alloc_host(BYTES).unwrap().cast::<u32>();
        let staging = Staging { program, memory, stream, host };
        (0..WORDS).for_each(|index| staging.set(index, index as u32));
        staging
    }

    fn driver(&self) -> &Emulator {
        &self.program.driver
    }

    /// The host changes a word.
    fn set(&self, index: usize, value: u32) {
        // SAFETY: inside of the page-locked memory, which lives as long as the driver.
        unsafe { self.host.add(index).write_volatile(value) };
    }

    fn copy_in(&self) {
        // SAFETY: as many bytes on both sides.
        unsafe { self.driver().memcpy_htod_async(self.memory, self.host.cast(), BYTES, self.stream) }
            .unwrap();
    }

    fn copy_out(&self) {
        // SAFETY: as above.
        unsafe { self.driver().memcpy_dtoh_async(self.host.cast(), self.memory, BYTES, self.stream) }
            .unwrap();
    }

    fn synchronize(&self) {
        // SAFETY: the stream is this driver's.
        unsafe { self.driver().stream_synchronize(self.stream) }.unwrap();
    }

    fn findings(&self) -> Vec<Finding> {
        self.driver().findings()
    }
}

/// Some seeds let the copy run at once, some as late as may be.
const SEEDS: std::ops::Range<u64> = 0..16;

#[test]
fn changed_before_the_host_has_waited_for_the_copy() {
    for seed in SEEDS {
        let staging = Staging::new(seed);
        staging.copy_in();
        staging.set(2, u32::MAX);
        staging.set(4, u32::MAX);
        staging.synchronize();
        check(
            "changed",
            &staging.findings(),
            &[&[
                "source changed before its copy was done: write of 12 bytes",
                "byte 8 of page-locked memory of 128 bytes (128 bytes)",
                "the host changed it after the call of the copy to the device on stream 1, 128 bytes from 0x",
            ]],
        );
    }
}

#[test]
fn changed_after_the_wait() {
    for seed in SEEDS {
        let staging = Staging::new(seed);
        for round in 0..3 {
            staging.set(0, 100 + round);
            staging.copy_in();
            staging.synchronize();
        }
        // An event is waited for as well as its stream.
        let event = staging.driver().event_create(EventTiming::Disabled).unwrap();
        staging.copy_in();
        // SAFETY: handles of this driver.
        unsafe {
            staging.driver().event_record(event, staging.stream).unwrap();
            while !staging.driver().event_query(event).unwrap() {}
        }
        staging.set(1, 5);
        assert_eq!(staging.program.download::<u32>(staging.memory, 2), [102, 1]);
        assert_eq!(staging.findings(), []);
    }
}

#[test]
fn changed_and_never_waited_for() {
    let staging = Staging::new(3);
    staging.copy_in();
    staging.set(31, 0);
    let findings = staging.driver().finish();
    let found = findings.iter().filter(|finding| finding.kind.check() == "stream").count();
    assert_eq!(found, 1, "{findings:?}");
}

#[test]
fn written_by_the_device_in_the_order_of_the_stream() {
    for seed in SEEDS {
        let staging = Staging::new(seed);
        // SAFETY: inside of the memory.
        unsafe { staging.driver().memset_d32_async(staging.memory, 9, WORDS, staging.stream) }.unwrap();
        // The second copy reads what the first has written; a kernel or a fill may do the same.
        staging.copy_out();
        staging.copy_in();
        let host = DevicePointer(staging.host.expose_provenance() as u64);
        // SAFETY: page-locked memory is the device's too.
        unsafe { staging.driver().memset_d32_async(host, 11, 4, staging.stream) }.unwrap();
        staging.copy_in();
        staging.synchronize();
        assert_eq!(staging.program.download::<u32>(staging.memory, 5), [11, 11, 11, 11, 9]);
        assert_eq!(staging.findings(), []);
    }
}

#[test]
fn written_by_a_kernel_in_the_order_of_the_stream() {
    for seed in SEEDS {
        let staging = Staging::new(seed);
        let kernel = staging.program.kernel(&crate::corpus::kernel("st.global.u32 [%b], 6;"), "k");
        let host = staging.host.expose_provenance() as u64;
        let row = tinyllm_sys::LaunchConfig::new([1, 1, 1], [8, 1, 1]);
        staging.program.launch_on(staging.stream, kernel, row, &mut [host, host, 8]).unwrap();
        staging.copy_in();
        staging.synchronize();
        assert_eq!(staging.program.download::<u32>(staging.memory, 9)[7..], [6, 8]);
        assert_eq!(staging.findings(), []);
    }
}

#[test]
fn a_graph_reads_what_is_there_at_each_launch() {
    let staging = Staging::new(1);
    let driver = staging.driver();
    // SAFETY: handles of this driver, copies inside of their memory.
    let exec = unsafe {
        driver.stream_begin_capture(staging.stream, CaptureMode::Global).unwrap();
        staging.copy_in();
        let graph = driver.stream_end_capture(staging.stream).unwrap();
        driver.graph_instantiate(graph).unwrap()
    };
    for value in [7, 8] {
        staging.set(0, value);
        // SAFETY: as above.
        unsafe { driver.graph_launch(exec, staging.stream) }.unwrap();
        staging.synchronize();
        assert_eq!(staging.program.download::<u32>(staging.memory, 1), [value]);
    }
    assert_eq!(staging.findings(), []);
    // SAFETY: as above.
    unsafe { driver.graph_launch(exec, staging.stream) }.unwrap();
    staging.set(0, 9);
    staging.synchronize();
    check("graph", &staging.findings(), &[&["source changed before its copy was done: write of 1 bytes"]]);
}

#[test]
fn ordinary_memory_is_read_at_the_call() {
    let staging = Staging::new(0);
    let mut ordinary = [3u32; WORDS];
    // SAFETY: as many bytes on both sides. The driver has copied ordinary memory when it returns.
    unsafe {
        staging
            .driver()
            .memcpy_htod_async(staging.memory, ordinary.as_ptr().cast(), BYTES, staging.stream)
            .unwrap();
    }
    ordinary.fill(4);
    staging.synchronize();
    assert_eq!(staging.program.download::<u32>(staging.memory, 1), [3]);
    assert_eq!(ordinary[0], 4);
    assert_eq!(staging.findings(), []);
}

//! Functions of the host that streams call: in their order, beside other calls, and as what a program may learn from.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
    mpsc::{Receiver, Sender, channel},
};

use tinyllm_emulator::{Emulator, HostFunction};
use tinyllm_sys::{
    CaptureMode, DevicePointer, DriverApi, DriverCode, LaunchConfig, StreamFlags, StreamHandle,
};

use crate::{corpus::kernel, program::Program};

const WORDS: usize = 32;
const BYTES: usize = 4 * WORDS;
const SEEDS: std::ops::Range<u64> = 0..16;

fn stream(program: &Program) -> StreamHandle {
    program.driver.stream_create(StreamFlags::NonBlocking).unwrap()
}

fn wait(program: &Program, stream: StreamHandle) {
    // SAFETY: the stream is this driver's.
    unsafe { program.driver.stream_synchronize(stream) }.unwrap();
}

/// Page-locked words, which functions on another thread may change.
#[derive(Clone, Copy)]
struct Words(usize);

impl Words {
    fn new(program: &Program) -> Self {
        Words(program.driver.mem_alloc_host(BYTES).unwrap().expose_provenance())
    }

    fn pointer(self) -> *mut u32 {
        std::ptr::with_exposed_provenance_mut(self.0)
    }

    fn get(self, index: usize) -> u32 {
        // SAFETY: one of the words, which live as long as the driver.
        unsafe { self.pointer().add(index).read_volatile() }
    }

    fn set(self, index: usize, value: u32) {
        // SAFETY: as above.
        unsafe { self.pointer().add(index).write_volatile(value) }
    }
}

/// A function that says that it has begun, and ends when it is told to.
fn gate() -> (HostFunction, Receiver<()>, Sender<()>) {
    let (begins, begun) = channel();
    let (end, ends) = channel::<()>();
    let ends = Mutex::new(ends);
    let function = HostFunction::new(move || {
        let _ = begins.send(());
        let _ = ends.lock().map(|ends| ends.recv());
    });
    (function, begun, end)
}

#[test]
fn a_function_runs_between_what_is_before_it_and_what_is_after() {
    for seed in SEEDS {
        let program = Program::new(Emulator::builder().seed(seed));
        let (stream, words) = (stream(&program), Words::new(&program));
        let (first, second) = (program.upload(&[0u32; WORDS]), program.upload(&[0u32; WORDS]));
        let driver = &program.driver;
        // It sees what was copied out, and what it writes is copied in.
        let double =
            HostFunction::new(move || (0..WORDS).for_each(|index| words.set(index, 2 * words.get(index))));
        // SAFETY: copies and fills stay inside of their memory.
        unsafe {
            driver.memset_d32_async(first, 21, WORDS, stream).unwrap();
            driver.memcpy_dtoh_async(words.pointer().cast(), first, BYTES, stream).unwrap();
            driver.call_on_host(stream, double).unwrap();
            driver.memcpy_htod_async(second, words.pointer().cast(), BYTES, stream).unwrap();
        }
        wait(&program, stream);
        assert_eq!(program.download::<u32>(second, WORDS), [42; WORDS]);
        assert_eq!(driver.findings(), []);
    }
}

#[test]
fn calls_go_on_while_a_function_runs() {
    for seed in SEEDS {
        let program = Program::new(Emulator::builder().seed(seed));
        let stream = stream(&program);
        let (function, begun, end) = gate();
        program.driver.call_on_host(stream, function).unwrap();
        // A program that polls gets no further than the function.
        // SAFETY: the stream is this driver's.
        let is_done = || unsafe { program.driver.stream_query(stream) }.unwrap();
        while begun.try_recv().is_err() {
            assert!(!is_done());
        }
        assert!(!is_done());
        let memory = program.upload(&[1u32; WORDS]);
        assert_eq!(program.download::<u32>(memory, 1), [1]);
        end.send(()).unwrap();
        while !is_done() {}
    }
}

#[test]
fn a_function_may_wait_for_a_thread_that_makes_calls_while_another_waits_for_the_stream() {
    let program = Program::new(Emulator::builder());
    let stream = stream(&program);
    let (function, begun, end) = gate();
    program.driver.call_on_host(stream, function).unwrap();
    let driver = program.driver.clone();
    let other = std::thread::spawn(move || {
        begun.recv().unwrap();
        let program = Program { driver };
        let context = program.driver.primary_context_retain(program.driver.device_get(0).unwrap()).unwrap();
        // SAFETY: the context is this driver's.
        unsafe { program.driver.context_set_current(context) }.unwrap();
        program.upload(&[1u32; WORDS]);
        end.send(()).unwrap();
    });
    wait(&program, stream);
    other.join().unwrap();
}

#[test]
fn a_function_may_make_no_calls() {
    let program = Program::new(Emulator::builder());
    let (stream, driver) = (stream(&program), program.driver.clone());
    let answer = Arc::new(Mutex::new(None));
    let given = answer.clone();
    let function = HostFunction::new(move || {
        *given.lock().unwrap() = Some(driver.mem_alloc(16).map_err(|error| error.driver_code()));
    });
    program.driver.call_on_host(stream, function).unwrap();
    wait(&program, stream);
    assert_eq!(*answer.lock().unwrap(), Some(Err(Some(DriverCode::NotPermitted))));
}

#[test]
fn after_a_failure_callbacks_alone_are_called_with_its_number() {
    for seed in SEEDS {
        let program = Program::new(Emulator::builder().seed(seed));
        let stream = stream(&program);
        let fails = program.kernel(&kernel("st.global.u32 [%rda+4096], 1;"), "k");
        let memory = program.upload(&[0u32; WORDS]);
        // The failure is behind a gate, so that all that follows is asked for before it.
        let (function, _, end) = gate();
        let (tell, told) = channel();
        let (wrong, right) = (tell.clone(), tell);
        program.driver.call_on_host(stream, function).unwrap();
        let row = LaunchConfig::new([1, 1, 1], [1, 1, 1]);
        program.launch_on(stream, fails, row, &mut [memory.0, memory.0, 0]).unwrap();
        let not_called = HostFunction::new(move || wrong.send(u32::MAX).unwrap());
        program.driver.call_on_host(stream, not_called).unwrap();
        let callback = HostFunction::callback(move |status| right.send(status).unwrap());
        program.driver.call_on_host(stream, callback).unwrap();
        end.send(()).unwrap();
        // SAFETY: the stream is this driver's.
        let code = unsafe { program.driver.stream_synchronize(stream) }.unwrap_err().driver_code();
        assert_eq!(code, Some(DriverCode::IllegalAddress));
        assert_eq!(told.iter().collect::<Vec<_>>(), [DriverCode::IllegalAddress.number()]);
    }
}

#[test]
fn a_graph_calls_its_functions_at_each_launch() {
    let program = Program::new(Emulator::builder());
    let stream = stream(&program);
    let driver = &program.driver;
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let function = HostFunction::new(move || _ = counted.fetch_add(1, Ordering::Relaxed));
    // SAFETY: handles of this driver.
    unsafe {
        driver.stream_begin_capture(stream, CaptureMode::Global).unwrap();
        driver.call_on_host(stream, function).unwrap();
        let graph = driver.stream_end_capture(stream).unwrap();
        let exec = driver.graph_instantiate(graph).unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        for count in 1..4 {
            driver.graph_launch(exec, stream).unwrap();
            driver.stream_synchronize(stream).unwrap();
            assert_eq!(calls.load(Ordering::Relaxed), count);
        }
        driver.stream_begin_capture(stream, CaptureMode::Global).unwrap();
        let refused = driver.call_on_host(stream, HostFunction::callback(|_| ())).unwrap_err();
        assert_eq!(refused.driver_code(), Some(DriverCode::StreamCaptureUnsupported));
    }
}

#[test]
fn what_a_function_tells_the_program_is_an_order() {
    for seed in SEEDS {
        let program = Program::new(Emulator::builder().seed(seed));
        let (first, second, words) = (stream(&program), stream(&program), Words::new(&program));
        let memory = program.upload(&[0u32; WORDS]);
        let driver = &program.driver;
        let (tell, told) = channel();
        let function = HostFunction::new(move || tell.send(()).unwrap());
        // SAFETY: copies stay inside of their memory.
        unsafe { driver.memcpy_htod_async(memory, words.pointer().cast(), BYTES, first) }.unwrap();
        driver.call_on_host(first, function).unwrap();
        // No call waits: the program learns from the function that the copy is done.
        told.recv().unwrap();
        words.set(0, 5);
        // SAFETY: as above.
        unsafe { driver.memset_d32_async(memory, 1, WORDS, second) }.unwrap();
        driver.context_synchronize().unwrap();
        assert_eq!(driver.findings(), [], "{seed}");
        assert_eq!(program.download::<u32>(memory, 1), [1]);
    }
}

#[test]
fn functions_that_have_not_begun_at_the_end_are_not_called() {
    let program = Program::new(Emulator::builder());
    let stream = stream(&program);
    let memory: DevicePointer = program.upload(&[0u32; WORDS]);
    let (function, begun, _end) = gate();
    let (tell, told) = channel();
    program.driver.call_on_host(stream, function).unwrap();
    program.driver.call_on_host(stream, HostFunction::new(move || tell.send(()).unwrap())).unwrap();
    // SAFETY: inside of the memory, and the stream is this driver's.
    unsafe {
        program.driver.memset_d32_async(memory, 3, WORDS, stream).unwrap();
    }
    begun.recv().unwrap();
    // The gate is closed: the end does not wait for it, and runs what comes after.
    program.driver.finish();
    assert!(told.try_iter().next().is_none());
    assert_eq!(program.download::<u32>(memory, 1), [3]);
}

//! Contexts, streams and events: they live as long as anything that was made in them or is ordered on them, can be dropped on
//! any thread, and what the driver refuses then is returned by a later call.

use std::sync::Arc;

use tinyllm_emulator::Emulator;
use tinyllm_mem::{
    Buffer, Category, Context, Device, DeviceResource, Event, MappedResource, MemError, MemoryResource,
    PinnedHostResource, Request, Stream, StreamOrderedResource,
};
use tinyllm_sys::{DeviceHandle, DevicePointer, DriverApi, EventTiming, StreamFlags};

use crate::threads::Devices;

type DeviceMemory = Arc<dyn MemoryResource<Space = Device>>;

fn stream(context: &Context) -> Stream {
    Stream::new(context, StreamFlags::NonBlocking).unwrap()
}

fn event(context: &Context) -> Event {
    Event::new(context, EventTiming::Disabled).unwrap()
}

fn request(stream: &Stream) -> Request {
    Request::new(Category::Staging, "x", 4096, 256).on(stream)
}

/// A context on a device, retained once.
fn context() -> (Arc<Emulator>, Context) {
    let driver = Arc::new(Emulator::default());
    let context = Context::primary(driver.clone(), 0).unwrap();
    (driver, context)
}

/// Nothing was found, and nothing is left: the context is gone too.
fn end(driver: &Emulator) {
    // SAFETY: nothing of the context is used any more; the refusal of an unretained context is what is tested.
    assert!(unsafe { driver.primary_context_release(DeviceHandle(0)) }.is_err());
    let findings: Vec<String> = driver.finish().iter().map(ToString::to_string).collect();
    assert_eq!(findings, [""; 0]);
}

#[test]
fn a_buffer_keeps_its_stream_and_the_context() {
    let (driver, context) = context();
    let memory: DeviceMemory = Arc::new(StreamOrderedResource::new(&context, 0).unwrap());
    let made = stream(&context);
    let buffer = Buffer::<u8, Device>::allocate(&memory, request(&made)).unwrap();
    drop((made, memory, context));
    buffer.stream().synchronize().unwrap();
    assert_eq!(buffer.stream().context().unwrap().memory_info().unwrap().total_bytes % 4096, 0);
    drop(buffer);
    end(&driver);
}

#[test]
fn clones_of_a_stream_are_one_stream() {
    let (driver, context) = context();
    let first = stream(&context);
    let second = first.clone();
    let recorded = event(&context);
    drop((first, context));
    recorded.record(&second).unwrap();
    second.wait(&recorded).unwrap();
    second.synchronize().unwrap();
    drop(second);
    // The stream is destroyed; the event still stands for its work.
    assert!(recorded.is_done().unwrap());
    recorded.synchronize().unwrap();
    drop(recorded);
    end(&driver);
}

#[test]
fn owners_work_and_are_dropped_on_any_thread() {
    let devices = Devices::new();
    let other = devices.primary(1).handle();
    for context in [None, Some(other), Some(devices.primary(0).handle())] {
        let (stream, event, memory) = devices.on_thread(context, || {
            let primary = devices.primary(0);
            let memory: DeviceMemory = Arc::new(StreamOrderedResource::new(&primary, 0).unwrap());
            (stream(&primary), event(&primary), memory)
        });
        devices.on_thread(context, || {
            let buffer = Buffer::<u8, Device>::allocate(&memory, request(&stream)).unwrap();
            event.record(&stream).unwrap();
            stream.wait(&event).unwrap();
            event.synchronize().unwrap();
            assert!(event.is_done().unwrap());
            stream.synchronize().unwrap();
            drop(buffer);
        });
        devices.on_thread(context, move || drop((stream, event, memory)));
        assert_eq!(devices.used_bytes(), [0, 0]);
    }
    assert_eq!(devices.primary(0).take_error(), None);
    devices.end();
}

/// One stream writes, another waits for the event and copies to the host, in every order that the emulated device may choose.
#[test]
fn an_event_orders_two_streams() {
    for seed in 0..32 {
        let driver = Arc::new(Emulator::builder().seed(seed).build());
        let context = Context::primary(driver.clone(), 0).unwrap();
        let memory: DeviceMemory = Arc::new(DeviceResource::new(&context));
        let buffer = Buffer::<u8, Device>::allocate(&memory, request(&Stream::DEFAULT)).unwrap();
        let (writer, reader, written) = (stream(&context), stream(&context), event(&context));
        let address = DevicePointer(buffer.address().addr() as u64);
        let mut copy = [0u8; 4096];
        let fill = |byte| {
            let call = |driver: &dyn DriverApi| {
                // SAFETY: inside of the buffer, ordered by streams and the event.
                unsafe { driver.memset_d8_async(address, byte, 4096, writer.handle()) }
            };
            context.call(call).unwrap();
        };
        fill(1);
        fill(2);
        written.record(&writer).unwrap();
        reader.wait(&written).unwrap();
        let call = |driver: &dyn DriverApi| {
            // SAFETY: as many bytes on both sides, and nothing else touches the copy before it has been waited for.
            unsafe { driver.memcpy_dtoh_async(copy.as_mut_ptr(), address, 4096, reader.handle()) }
        };
        context.call(call).unwrap();
        reader.synchronize().unwrap();
        assert_eq!(copy, [2; 4096], "seed {seed}");
        drop((buffer, memory, writer, reader, written, context));
        end(&driver);
    }
}

#[test]
fn an_event_keeps_the_time_where_it_was_asked_to() {
    let (driver, context) = context();
    let stream = stream(&context);
    let timed = || Event::new(&context, EventTiming::Enabled).unwrap();
    let (start, end_of_it, untimed) = (timed(), timed(), event(&context));
    assert!(end_of_it.milliseconds_since(&start).is_err(), "nothing was recorded");
    for event in [&start, &end_of_it, &untimed] {
        event.record(&stream).unwrap();
    }
    stream.synchronize().unwrap();
    assert!(end_of_it.milliseconds_since(&start).unwrap() >= 0.0);
    assert!(untimed.milliseconds_since(&start).is_err());
    drop((start, end_of_it, untimed, stream, context));
    end(&driver);
}

#[test]
fn what_a_destructor_is_refused_a_later_call_returns_once() {
    let (_driver, context) = context();
    let made = stream(&context);
    // SAFETY: behind the owner's back; its own call is the mistake that is looked for.
    context.call(|driver| unsafe { driver.stream_destroy(made.handle()) }).unwrap();
    let handle = made.handle();
    drop(made);
    let error = Stream::new(&context, StreamFlags::NonBlocking).unwrap_err().to_string();
    assert_eq!(error, format!("stream: cuStreamDestroy({handle}): CUDA_ERROR_INVALID_HANDLE (400)"));
    assert!(Stream::new(&context, StreamFlags::NonBlocking).is_ok(), "once");

    let made = event(&context);
    let handle = made.handle();
    // SAFETY: as above.
    context.call(|driver| unsafe { driver.event_destroy(handle) }).unwrap();
    std::thread::spawn(move || drop(made)).join().unwrap();
    let memory: DeviceMemory = Arc::new(DeviceResource::new(&context));
    let error = Buffer::<u8, Device>::allocate(&memory, request(&Stream::DEFAULT)).unwrap_err().to_string();
    assert_eq!(error, format!("x: cuEventDestroy({handle}): CUDA_ERROR_INVALID_HANDLE (400)"));
    assert_eq!(context.take_error(), None);

    let made = event(&context);
    let handle = made.handle();
    // SAFETY: as above.
    context.call(|driver| unsafe { driver.event_destroy(handle) }).unwrap();
    drop(made);
    assert_eq!(context.take_error().unwrap().call, "cuEventDestroy");
    context.synchronize().unwrap();
}

#[test]
fn a_stream_of_another_context_is_refused() {
    let devices = Devices::new();
    let (first, second) = (devices.primary(0), devices.primary(1));
    let elsewhere = Context::primary(Arc::new(Emulator::default()), 0).unwrap();
    let is_refused = |error: MemError| matches!(error, MemError::WrongContext { .. });
    for foreign in [stream(&second), stream(&elsewhere)] {
        let resources: [DeviceMemory; 3] = [
            Arc::new(DeviceResource::new(&first)),
            Arc::new(StreamOrderedResource::new(&first, 0).unwrap()),
            Arc::new(MappedResource::new(&first).unwrap()),
        ];
        for memory in &resources {
            assert!(is_refused(memory.allocate(&request(&foreign)).unwrap_err()));
            let allocation = memory.allocate(&request(&Stream::DEFAULT)).unwrap();
            // SAFETY: nothing uses it; that the stream is another context's is the mistake that is looked for.
            unsafe { memory.deallocate(allocation, &foreign) };
            assert_eq!(first.take_error().unwrap().arguments, "a stream of another context");
            // SAFETY: nothing was freed, so this is the first time.
            unsafe { memory.deallocate(allocation, &Stream::DEFAULT) };
            assert_eq!(first.take_error(), None);
        }
        assert!(is_refused(PinnedHostResource::new(&first).allocate(&request(&foreign)).unwrap_err()));
        assert!(is_refused(event(&first).record(&foreign).unwrap_err()));
    }
    assert!(is_refused(stream(&first).wait(&event(&elsewhere)).unwrap_err()));
    assert!(is_refused(Stream::DEFAULT.synchronize().unwrap_err()), "of no context");
    // Devices of one driver may wait for each other.
    let recorded = event(&first);
    recorded.record(&Stream::DEFAULT).unwrap();
    stream(&second).wait(&recorded).unwrap();
    Stream::DEFAULT.wait(&recorded).unwrap();
    drop((first, second, recorded));
    devices.end();
}

#[test]
fn a_stream_of_other_code_is_not_destroyed() {
    let (driver, context) = context();
    let handle = context.call(|driver| driver.stream_create(StreamFlags::Default)).unwrap();
    // SAFETY: destroyed below, when nothing names it any more.
    let foreign = unsafe { Stream::from_raw(&context, handle) };
    let memory: DeviceMemory = Arc::new(StreamOrderedResource::new(&context, 0).unwrap());
    drop(Buffer::<u8, Device>::allocate(&memory, request(&foreign)).unwrap());
    drop(foreign);
    // SAFETY: made above, and nothing names it any more.
    context.call(|driver| unsafe { driver.stream_destroy(handle) }).unwrap();
    drop((memory, context));
    end(&driver);
}

//! The resources over the driver table, on the emulated device: every access, free and order is checked. What does not depend on
//! its size or on what it found runs on this machine's GPU too, where that is asked for.

use std::sync::Arc;

use tinyllm_emulator::{Builder, Emulator};
use tinyllm_mem::{
    Allocation, Buffer, Category, Context, Device, DeviceResource, Event, FailureInjection, Failures,
    MappedResource, MemError, MemoryResource, PinnedHostResource, Request, Stream, StreamOrderedResource,
    Tracking,
};
use tinyllm_sys::{DevicePointer, DriverApi, EventTiming, LibCuda, StreamFlags};

use crate::suite::{self, Memory};

type DeviceMemory = Arc<dyn MemoryResource<Space = Device>>;

/// Environment variable: anything but `0` asks for this machine's GPU too.
const REAL: &str = "TINYLLM_TEST_GPU";

/// A device with three streams; emulated by default.
pub(crate) struct Gpu<D: DriverApi = Emulator> {
    pub(crate) driver: Arc<D>,
    pub(crate) context: Context,
    streams: [Stream; 3],
}

impl Gpu {
    /// With the settings of the environment, so that `cargo xtask memcheck` gets the findings.
    pub(crate) fn new(bytes: u64) -> Self {
        Self::with(Builder::from_env().unwrap().memory(bytes))
    }

    fn with(builder: Builder) -> Self {
        Gpu::over(builder.build())
    }

    fn free_bytes(&self) -> u64 {
        self.context.memory_info().unwrap().free_bytes
    }

    /// Nothing was found, and nothing is left.
    pub(crate) fn end(self) {
        let driver = self.driver.clone();
        drop(self);
        let findings: Vec<String> = driver.finish().iter().map(ToString::to_string).collect();
        assert_eq!(findings, [""; 0]);
    }
}

/// This machine's GPU, where it is asked for.
fn real() -> Option<Gpu<LibCuda>> {
    let asked = std::env::var(REAL).is_ok_and(|value| value != "0");
    asked.then(|| Gpu::over(LibCuda::load().unwrap()))
}

impl<D: DriverApi + 'static> Gpu<D> {
    fn over(driver: D) -> Self {
        let driver = Arc::new(driver);
        let context = Context::primary(driver.clone(), 0).unwrap();
        let stream = || Stream::new(&context, StreamFlags::NonBlocking).unwrap();
        let streams = [Stream::DEFAULT, stream(), stream()];
        Gpu { driver, context, streams }
    }

    /// Each kind of resource.
    fn makes() -> [fn(&Self) -> DeviceMemory; 3] {
        [
            |gpu| Arc::new(DeviceResource::new(&gpu.context)),
            |gpu| Arc::new(StreamOrderedResource::new(&gpu.context, 0).unwrap()),
            |gpu| Arc::new(MappedResource::new(&gpu.context).unwrap()),
        ]
    }

    /// Writes bytes in the order of a stream.
    ///
    /// # Safety
    /// They can be written, and no other work uses them meanwhile.
    unsafe fn fill_at(&self, address: DevicePointer, bytes: usize, stream: u64, byte: u8) {
        let stream = self.stream(stream);
        let call = |driver: &dyn DriverApi| {
            // SAFETY: the caller's promise; the stream lives.
            unsafe { driver.memset_d8_async(address, byte, bytes, stream.handle()) }
        };
        self.context.call(call).unwrap();
    }
}

impl<D: DriverApi + 'static> Memory for Gpu<D> {
    fn stream(&self, stream: u64) -> Stream {
        self.streams[stream as usize % self.streams.len()].clone()
    }

    fn fill(&self, allocation: &Allocation, stream: u64, byte: u8) {
        let address = DevicePointer(allocation.address.as_ptr().addr() as u64);
        // SAFETY: as many bytes as were allocated, used by this test alone.
        unsafe { self.fill_at(address, allocation.bytes, stream, byte) }
    }

    fn read(&self, allocation: &Allocation, stream: u64) -> Vec<u8> {
        let mut bytes = vec![0; allocation.bytes];
        let address = DevicePointer(allocation.address.as_ptr().addr() as u64);
        let (out, stream) = (bytes.as_mut_ptr(), self.stream(stream).handle());
        let call = |driver: &dyn DriverApi| {
            // SAFETY: as many bytes on both sides; the copy has been waited for when the vector is looked at.
            unsafe {
                driver.memcpy_dtoh_async(out, address, allocation.bytes, stream)?;
                driver.stream_synchronize(stream)
            }
        };
        self.context.call(call).unwrap();
        bytes
    }
}

#[test]
fn every_resource_passes_the_suite() {
    let gpu = Gpu::new(1 << 30);
    every_resource(&gpu);
    assert_eq!(gpu.free_bytes(), 1 << 30);
    gpu.end();
    if let Some(gpu) = real() {
        every_resource(&gpu);
    }
}

fn every_resource<D: DriverApi + 'static>(gpu: &Gpu<D>) {
    suite::run_on(gpu, &|| Arc::new(DeviceResource::new(&gpu.context)));
    suite::run_on(gpu, &|| Arc::new(StreamOrderedResource::new(&gpu.context, 1 << 20).unwrap()));
    suite::run_on(gpu, &|| Arc::new(MappedResource::new(&gpu.context).unwrap()));
    suite::run_on(gpu, &|| Arc::new(Tracking::new(Arc::new(DeviceResource::new(&gpu.context)))));
    suite::run(&|| Arc::new(PinnedHostResource::new(&gpu.context)));
}

#[test]
fn freed_memory_comes_back_on_its_own_stream_first() {
    let gpu = Gpu::new(2 << 20);
    let memory: DeviceMemory = Arc::new(StreamOrderedResource::new(&gpu.context, 0).unwrap());
    let allocate = |stream| {
        let request = Request::new(Category::Workspace, "w", 2_000_000, 1).on(&gpu.stream(stream));
        Buffer::<u8, Device>::allocate(&memory, request)
    };
    let first = allocate(1).unwrap();
    let address = first.address();
    drop(first);
    assert!(
        matches!(allocate(2), Err(MemError::OutOfMemory { requested_bytes: 2_000_000, .. })),
        "stream 1 may use it"
    );
    assert_eq!(allocate(1).unwrap().address(), address);
    gpu.stream(1).synchronize().unwrap();
    drop(allocate(2).unwrap());
    drop(memory);
    gpu.end();
}

#[test]
fn an_event_carries_memory_from_stream_to_stream() {
    for seed in 0..20 {
        let gpu = Gpu::with(Builder::from_env().unwrap().memory(16 << 20).seed(seed));
        carry(&gpu);
        gpu.end();
    }
    if let Some(gpu) = real() {
        carry(&gpu);
    }
}

fn carry<D: DriverApi + 'static>(gpu: &Gpu<D>) {
    let memory: DeviceMemory = Arc::new(StreamOrderedResource::new(&gpu.context, 0).unwrap());
    let request = Request::new(Category::Activations, "x", 4096, 256).on(&gpu.stream(1));
    let buffer = Buffer::<u8, Device>::allocate(&memory, request).unwrap();
    let pointer = DevicePointer(buffer.address().addr() as u64);
    let event = Event::new(&gpu.context, EventTiming::Disabled).unwrap();
    // SAFETY: the buffer's bytes, ordered by the event there and back.
    unsafe {
        gpu.fill_at(pointer, 4096, 1, 1);
        event.record(&gpu.stream(1)).unwrap();
        gpu.stream(2).wait(&event).unwrap();
        gpu.fill_at(pointer, 4096, 2, 2);
        event.record(&gpu.stream(2)).unwrap();
        gpu.stream(1).wait(&event).unwrap();
    }
    // Freed on the first stream, which has waited for the second.
    drop(buffer);
    event.synchronize().unwrap();
    assert!(event.is_done().unwrap());
}

#[test]
fn memory_stays_until_the_work_with_it_is_done() {
    for (make, seed) in Gpu::makes().into_iter().flat_map(|make| (0..20).map(move |seed| (make, seed))) {
        let gpu = Gpu::with(Builder::from_env().unwrap().memory(16 << 20).seed(seed));
        drop_before_the_fill_ran(&gpu, make(&gpu));
        gpu.end();
    }
    for make in Gpu::<LibCuda>::makes() {
        let Some(gpu) = real() else { return };
        drop_before_the_fill_ran(&gpu, make(&gpu));
        gpu.context.synchronize().unwrap();
    }
}

fn drop_before_the_fill_ran<D: DriverApi + 'static>(gpu: &Gpu<D>, memory: DeviceMemory) {
    let request = Request::new(Category::Activations, "x", 4096, 256).on(&gpu.stream(1));
    let buffer = Buffer::<u8, Device>::allocate(&memory, request).unwrap();
    let pointer = DevicePointer(buffer.address().addr() as u64);
    // SAFETY: the buffer's bytes, in the order of its stream.
    unsafe { gpu.fill_at(pointer, 4096, 1, 1) };
    // The fill may not have run yet.
    drop(buffer);
}

#[test]
fn no_bytes_are_freed_as_no_bytes_whatever_their_address() {
    let gpu = Gpu::new(16 << 20);
    for make in Gpu::makes() {
        let memory = make(&gpu);
        let allocation = memory.allocate(&Request::new(Category::Kv, "kv", 10, 4096)).unwrap();
        // SAFETY: allocated just now, and not used; that it is freed once is what is tested.
        unsafe {
            memory.deallocate(Allocation { bytes: 0, ..allocation }, &Stream::DEFAULT);
            gpu.context.synchronize().unwrap();
            assert!(gpu.free_bytes() < 16 << 20);
            memory.deallocate(allocation, &Stream::DEFAULT);
            // What is no longer there is not freed again.
            memory.deallocate(allocation, &Stream::DEFAULT);
        }
        gpu.context.synchronize().unwrap();
        assert_eq!((gpu.free_bytes(), gpu.context.take_error()), (16 << 20, None));
    }
    gpu.end();
}

#[test]
fn page_locked_memory_is_zeroed_host_memory() {
    let gpu = Gpu::new(1 << 20);
    page_locked(&gpu);
    gpu.end();
    if let Some(gpu) = real() {
        page_locked(&gpu);
    }
}

fn page_locked<D: DriverApi + 'static>(gpu: &Gpu<D>) {
    let resource: tinyllm_mem::HostMemory = Arc::new(PinnedHostResource::new(&gpu.context));
    let buffer = Buffer::<u32>::zeroed(&resource, Category::Staging, "staging", 1000).unwrap();
    assert!(buffer.as_slice().iter().all(|value| *value == 0));
}

#[test]
fn an_error_of_a_free_is_returned_by_the_next_call() {
    // What is found here is meant to be.
    let gpu = Gpu::with(Emulator::builder().memory(1 << 20));
    let resource: DeviceMemory = Arc::new(DeviceResource::new(&gpu.context));
    let request = || Request::new(Category::Kv, "kv", 512, 256);
    let buffer = Buffer::<u8, Device>::allocate(&resource, request()).unwrap();
    let address = buffer.address().addr();
    // SAFETY: nothing uses it; the second free is the mistake that is looked for.
    gpu.context.call(|driver| unsafe { driver.mem_free(DevicePointer(address as u64)) }).unwrap();
    drop(buffer);
    let error = Buffer::<u8, Device>::allocate(&resource, request()).unwrap_err().to_string();
    assert_eq!(error, format!("kv: cuMemFree({address:#x}: freed already): CUDA_ERROR_INVALID_VALUE (1)"));
    assert!(Buffer::<u8, Device>::allocate(&resource, request()).is_ok(), "once");
    let info = resource.memory_info().unwrap();
    assert_eq!(info.free_bytes, info.total_bytes);
    let found: Vec<String> = gpu.driver.findings().iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [format!("double free: cuMemFree at {address:#x}, byte 0 of kv (512 bytes), which was freed")]
    );
}

/// Sizes of a small engine's buffers.
const SIZES: [(&str, usize); 5] =
    [("weights", 700_000), ("kv", 262_144), ("logits", 1), ("x", 4096), ("y", 4097)];

#[test]
fn what_is_tracked_is_what_the_driver_counts() {
    /// What `cuMemAlloc` rounds up to here.
    const GRANULE: u64 = 512;
    let gpu = Gpu::new(1 << 30);
    let tracking = Arc::new(Tracking::new(Arc::new(DeviceResource::new(&gpu.context))));
    let memory: DeviceMemory = tracking.clone();
    let mut buffers = Vec::new();
    let mut expected = 0;
    for (name, bytes) in SIZES {
        buffers.push(
            Buffer::<u8, Device>::allocate(&memory, Request::new(Category::Weights, name, bytes, 256))
                .unwrap(),
        );
        expected += (bytes as u64).next_multiple_of(GRANULE);
        assert_eq!((1 << 30) - gpu.free_bytes(), expected);
    }
    let planned: usize = SIZES.iter().map(|(_, bytes)| bytes).sum();
    assert_eq!(tracking.report().total.live_bytes, planned);
    drop(buffers);
    assert_eq!(gpu.free_bytes(), 1 << 30);
    drop((memory, tracking));
    gpu.end();
}

#[test]
fn out_of_memory_at_each_allocation_is_survived() {
    let all = |memory: &DeviceMemory| -> Result<Vec<Buffer<u8, Device>>, MemError> {
        let requests = SIZES.iter().map(|(name, bytes)| Request::new(Category::Weights, *name, *bytes, 256));
        requests.map(|request| Buffer::allocate(memory, request)).collect()
    };
    for make in Gpu::makes() {
        // Devices that grow until everything fits: the memory ends at every place in turn.
        let mut refused = 0;
        for bytes in (0..12u64).map(|steps| steps << 20) {
            let gpu = Gpu::new(bytes);
            let memory = make(&gpu);
            match all(&memory) {
                Ok(_) => {}
                Err(MemError::OutOfMemory { .. }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
            // What there was came back.
            gpu.context.synchronize().unwrap();
            assert_eq!(gpu.free_bytes(), bytes);
            drop(memory);
            gpu.end();
        }
        assert!((1..12).contains(&refused), "{refused}");
        // And injected failures, call by call.
        for nth in 0..SIZES.len() as u64 {
            let gpu = Gpu::new(1 << 30);
            let memory: DeviceMemory = Arc::new(FailureInjection::new(make(&gpu), Failures::Nth(nth)));
            assert!(all(&memory).is_err());
            assert!(all(&memory).is_ok());
            drop(memory);
            gpu.end();
        }
    }
}

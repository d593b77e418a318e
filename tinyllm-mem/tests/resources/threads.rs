//! The resources over the driver table on threads that have no context, or another device's: memory comes from the
//! resource's own device, goes back to it, and the thread's context is what it was.

use std::{
    sync::Arc,
    thread::{self, ScopedJoinHandle},
};

use tinyllm_emulator::{Builder, Emulator};
use tinyllm_mem::{
    Buffer, Category, Context, Device, DeviceResource, Host, HostMemory, MappedResource, MemoryResource,
    PinnedHostResource, Request, Space, StreamOrderedResource,
};
use tinyllm_sys::{ContextHandle, DeviceHandle, DriverApi, DriverCode};

type DeviceMemory = Arc<dyn MemoryResource<Space = Device>>;

const BYTES: usize = 3 << 20;
const TOTAL: u64 = 64 << 20;

/// Two emulated devices. The first one's context is the calling thread's.
pub(crate) struct Devices {
    pub(crate) driver: Arc<Emulator>,
    contexts: [ContextHandle; 2],
}

impl Devices {
    pub(crate) fn new() -> Self {
        let driver = Arc::new(Builder::from_env().unwrap().devices(2).memory(TOTAL).build());
        let contexts = [0, 1].map(|device| driver.primary_context_retain(DeviceHandle(device)).unwrap());
        // SAFETY: this driver's, retained just now.
        unsafe { driver.context_set_current(contexts[0]) }.unwrap();
        Devices { driver, contexts }
    }

    /// A device's context, to make something in.
    pub(crate) fn primary(&self, ordinal: u32) -> Context {
        Context::primary(self.driver.clone(), ordinal).unwrap()
    }

    /// What of each device's memory is in use, once all work is done.
    pub(crate) fn used_bytes(&self) -> [u64; 2] {
        self.contexts.map(|context| {
            // SAFETY: this driver's, retained in `new`.
            unsafe { self.driver.context_push_current(context) }.unwrap();
            self.driver.context_synchronize().unwrap();
            let (free, total) = self.driver.mem_get_info().unwrap();
            self.driver.context_pop_current().unwrap();
            total - free
        })
    }

    /// Runs on a thread of its own, which has this context or none, and finds that it still has.
    pub(crate) fn on_thread<T: Send>(
        &self,
        context: Option<ContextHandle>,
        run: impl FnOnce() -> T + Send,
    ) -> T {
        let run = || {
            if let Some(context) = context {
                // SAFETY: this driver's, retained in `new`.
                unsafe { self.driver.context_set_current(context) }.unwrap();
            }
            let result = run();
            assert_eq!(self.driver.context_get_current().unwrap(), context);
            result
        };
        thread::scope(|scope| ScopedJoinHandle::join(scope.spawn(run)).unwrap())
    }

    /// Nothing was found, and nothing is left.
    pub(crate) fn end(self) {
        assert_eq!(self.used_bytes(), [0, 0]);
        let findings: Vec<String> = self.driver.finish().iter().map(ToString::to_string).collect();
        assert_eq!(findings, [""; 0]);
    }
}

fn request(bytes: usize) -> Request {
    Request::new(Category::Staging, "x", bytes, 4096)
}

/// Allocates and drops on threads with every context.
fn moves_between_threads<S: Space>(
    devices: &Devices,
    memory: &Arc<dyn MemoryResource<Space = S>>,
    is_on_device: bool,
) where
    Buffer<u8, S>: Send,
{
    let contexts = [None, Some(devices.contexts[1]), Some(devices.contexts[0])];
    for (allocating, dropping) in contexts.into_iter().flat_map(|a| contexts.map(|b| (a, b))) {
        let allocate = || Buffer::<u8, S>::allocate(memory, request(BYTES)).unwrap();
        let buffer = devices.on_thread(allocating, allocate);
        let [used, other] = devices.used_bytes();
        assert_eq!((used >= BYTES as u64, other), (is_on_device, 0), "{allocating:?}");
        devices.on_thread(dropping, move || drop(buffer));
        assert_eq!(devices.used_bytes(), [0, 0], "{allocating:?} {dropping:?}");
        // No error was kept for a later call.
        drop(devices.on_thread(dropping, allocate));
        assert_eq!(devices.used_bytes(), [0, 0]);
        let info = devices.on_thread(dropping, || memory.memory_info());
        assert_eq!(info.map(|info| info.total_bytes), is_on_device.then_some(TOTAL));
    }
}

#[test]
fn memory_of_a_device_is_dropped_on_any_thread() {
    let makes: [fn(&Context) -> DeviceMemory; 3] = [
        |context| Arc::new(DeviceResource::new(context)),
        |context| Arc::new(StreamOrderedResource::new(context, 0).unwrap()),
        |context| Arc::new(MappedResource::new(context).unwrap()),
    ];
    for make in makes {
        let devices = Devices::new();
        let memory = devices.on_thread(None, || make(&devices.primary(0)));
        moves_between_threads(&devices, &memory, true);
        devices.on_thread(None, move || drop(memory));
        devices.end();
    }
}

#[test]
fn page_locked_memory_is_dropped_on_any_thread() {
    let devices = Devices::new();
    let memory: HostMemory =
        devices.on_thread(None, || Arc::new(PinnedHostResource::new(&devices.primary(0))));
    moves_between_threads::<Host>(&devices, &memory, false);
    drop(memory);
    devices.end();
}

#[test]
fn a_resource_keeps_its_context() {
    let devices = Devices::new();
    let memory: DeviceMemory = Arc::new(DeviceResource::new(&devices.primary(1)));
    // SAFETY: retained in `new`, and not used by this test any more.
    unsafe { devices.driver.primary_context_release(DeviceHandle(1)) }.unwrap();
    let buffer = Buffer::<u8, Device>::allocate(&memory, request(BYTES)).unwrap();
    let used = devices.used_bytes();
    assert!(used[0] == 0 && used[1] >= BYTES as u64, "{used:?}");
    devices.on_thread(None, move || drop((buffer, memory)));
    // The last owner is dropped.
    // SAFETY: the context is this driver's; the refusal of a released context is what is tested.
    let gone = unsafe { devices.driver.context_push_current(devices.contexts[1]) }.unwrap_err();
    assert_eq!(gone.driver_code(), Some(DriverCode::InvalidContext));
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    let error = Context::primary(Devices::new().driver, 2).unwrap_err().to_string();
    assert_eq!(error, "context: cuDeviceGet(2): CUDA_ERROR_INVALID_DEVICE (101)");
}

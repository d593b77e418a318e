//! A device made of host memory: a capacity, memory that is not zeroed, and freeing that is ordered on a stream. What is
//! freed on a stream can be had again on that stream at once, on others only when the stream has been waited for.

use std::sync::{Arc, Mutex};

use tinyllm_mem::{
    Allocation, Category, Device, HostResource, MAX_ALIGN_BYTES, MemError, MemoryInfo, MemoryResource,
    Request, Stream,
};

#[derive(Debug)]
pub(crate) struct SimulatedDevice {
    host: HostResource,
    capacity_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used_bytes: usize,
    /// Freed on a stream, and perhaps still in use by work on it.
    pending: Vec<(Allocation, Stream)>,
}

impl SimulatedDevice {
    pub(crate) fn new(capacity_bytes: usize) -> Self {
        SimulatedDevice { host: HostResource::default(), capacity_bytes, state: Mutex::default() }
    }

    /// Waits for all work on a stream: what was freed on it is free everywhere.
    pub(crate) fn synchronize(&self, stream: Stream) {
        let state = &mut *self.state.lock().unwrap();
        state.pending.retain(|(allocation, freed_on)| {
            if *freed_on == stream {
                state.used_bytes -= allocation.bytes;
                // SAFETY: it came from the host and was removed from the list just now.
                unsafe { self.host.deallocate(*allocation, stream) }
            }
            *freed_on != stream
        });
    }
}

// SAFETY: memory comes from the host resource and stays until it is reused or given back to it; reuse takes it off the
// list of what is pending, so no two live allocations share it.
unsafe impl MemoryResource for SimulatedDevice {
    type Space = Device;

    fn allocate(&self, request: &Request) -> Result<Allocation, MemError> {
        let state = &mut *self.state.lock().unwrap();
        let reusable = state.pending.iter().position(|(allocation, stream)| {
            *stream == request.stream
                && allocation.bytes == request.bytes
                && allocation.align_bytes >= request.align_bytes
                && request.align_bytes.is_power_of_two()
        });
        if let Some(index) = reusable {
            let (allocation, _) = state.pending.swap_remove(index);
            return Ok(Allocation { align_bytes: request.align_bytes, ..allocation });
        }
        if request.bytes > self.capacity_bytes - state.used_bytes {
            return Err(MemError::OutOfMemory { name: request.name.clone(), requested_bytes: request.bytes });
        }
        let mut aligned = request.clone();
        if request.align_bytes.is_power_of_two() && request.align_bytes <= MAX_ALIGN_BYTES {
            // So that memory is given back to the host with the alignment it was had with, whoever had it last.
            aligned.align_bytes = MAX_ALIGN_BYTES;
        }
        let allocation = self.host.allocate(&aligned)?;
        // Device memory holds anything.
        // SAFETY: as many bytes as were asked for, and nobody else's.
        unsafe { allocation.address.write_bytes(0xcd, allocation.bytes) };
        state.used_bytes += allocation.bytes;
        Ok(Allocation { align_bytes: request.align_bytes, ..allocation })
    }

    unsafe fn deallocate(&self, allocation: Allocation, stream: Stream) {
        let allocation = Allocation { align_bytes: MAX_ALIGN_BYTES, ..allocation };
        self.state.lock().unwrap().pending.push((allocation, stream));
    }

    fn memory_info(&self) -> Option<MemoryInfo> {
        let used_bytes = self.state.lock().unwrap().used_bytes;
        let total_bytes = self.capacity_bytes as u64;
        Some(MemoryInfo { free_bytes: total_bytes - used_bytes as u64, total_bytes })
    }
}

impl Drop for SimulatedDevice {
    fn drop(&mut self) {
        let streams: Vec<Stream> =
            self.state.lock().unwrap().pending.iter().map(|(_, stream)| *stream).collect();
        streams.into_iter().for_each(|stream| self.synchronize(stream));
        assert_eq!(self.state.lock().unwrap().used_bytes, 0, "leaked");
    }
}

#[test]
fn freed_memory_comes_back_on_its_own_stream_first() {
    let device = Arc::new(SimulatedDevice::new(1000));
    let request = |stream| Request::new(Category::Workspace, "w", 1000, 1).on(Stream(stream));
    let first = device.allocate(&request(1)).unwrap();
    // SAFETY: given back once.
    unsafe { device.deallocate(first, Stream(1)) };
    assert!(device.allocate(&request(2)).is_err(), "stream 1 may still use it");
    let again = device.allocate(&request(1)).unwrap();
    assert_eq!(again.address, first.address);
    // SAFETY: given back once.
    unsafe { device.deallocate(again, Stream(1)) };
    device.synchronize(Stream(1));
    let other = device.allocate(&request(2)).unwrap();
    // SAFETY: given back once.
    unsafe { device.deallocate(other, Stream(2)) };
}

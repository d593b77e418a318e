//! `cuMemAddressReserve`, `cuMemCreate` and `cuMemMap`, and their reverse.

use tinyllm_sys::{DevicePointer, DriverApi, DriverError, MemoryHandle, StreamHandle};

use super::{MappedResource, driver_memory::Kind};
use crate::{Context, Device, MemError, context::failed};

/// Device memory that is mapped to a range of addresses of its own.
#[derive(Debug)]
pub struct Mapped {
    ordinal: u32,
    granularity_bytes: usize,
}

/// A range of addresses, and the memory that is mapped there.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    start: DevicePointer,
    bytes: usize,
    memory: MemoryHandle,
}

impl MappedResource {
    /// Memory of the context's device.
    ///
    /// # Errors
    /// The driver's, where it maps no memory; an error of an earlier destructor ([`Context`]).
    pub fn new(context: &Context) -> Result<Self, MemError> {
        context.return_kept("mapped memory")?;
        let ordinal = context.ordinal();
        let granularity = context.call(|driver| driver.mem_allocation_granularity(ordinal));
        let granularity_bytes = granularity.map_err(|error| failed("mapped memory", error))?;
        Ok(Self::over(context, Mapped { ordinal, granularity_bytes }))
    }

    /// What allocations are rounded up to, in bytes: 2 MiB on most devices.
    pub fn granularity_bytes(&self) -> usize {
        self.kind.granularity_bytes
    }
}

// SAFETY: the driver promises that mapped memory is valid and disjoint and stays until it is unmapped.
unsafe impl Kind for Mapped {
    type Space = Device;
    type Block = Mapping;

    const IS_STREAM_ORDERED: bool = false;

    fn block_bytes(&self, bytes: usize) -> Option<usize> {
        bytes.checked_next_multiple_of(self.granularity_bytes)
    }

    fn allocate(
        &self,
        driver: &dyn DriverApi,
        bytes: usize,
        _stream: StreamHandle,
    ) -> Result<Mapping, DriverError> {
        let start = driver.mem_address_reserve(bytes, 0)?;
        let created = driver.mem_create(self.ordinal, bytes);
        let memory = created.inspect_err(|_| {
            // SAFETY: reserved just now, and nothing is mapped in it. The first error is the one to return.
            let _ = unsafe { driver.mem_address_free(start, bytes) };
        })?;
        let mapping = Mapping { start, bytes, memory };
        // SAFETY: the range is reserved and empty, the memory is new and as large.
        let mapped = unsafe {
            driver
                .mem_map(start, bytes, 0, memory)
                .and_then(|()| driver.mem_set_access(start, bytes, self.ordinal))
        };
        if let Err(error) = mapped {
            // SAFETY: the address was not returned to a caller. The first error is the one to return.
            let _ = unsafe { unmap(driver, mapping) };
            return Err(error);
        }
        Ok(mapping)
    }

    fn base(block: Mapping) -> u64 {
        block.start.0
    }

    unsafe fn free(
        &self,
        driver: &dyn DriverApi,
        block: Mapping,
        _stream: StreamHandle,
    ) -> Result<(), DriverError> {
        // SAFETY: it came from `allocate`, is freed once, and nothing uses the range, as the caller promises.
        unsafe { unmap(driver, block) }
    }
}

/// # Safety
/// The mapping is this driver's, is freed once, and nothing uses the range any more.
unsafe fn unmap(driver: &dyn DriverApi, mapping: Mapping) -> Result<(), DriverError> {
    let Mapping { start, bytes, memory } = mapping;
    // SAFETY: the caller's promise, which is what the three calls ask for; a call that is refused leaves what the next one
    // names as it was.
    let results = unsafe {
        [driver.mem_unmap(start, bytes), driver.mem_release(memory), driver.mem_address_free(start, bytes)]
    };
    results.into_iter().collect()
}

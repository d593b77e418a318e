//! Resources over the driver table: device memory, stream-ordered device memory, mapped device memory, page-locked host
//! memory. `driver_memory` is what they share; each other file is what one kind asks of the driver.

mod driver_memory;
mod mapped;
mod pinned;
mod plain;
mod stream_ordered;

pub use driver_memory::DriverMemory;

/// `cuMemAlloc` and `cuMemFree`: device memory that is freed at once, which waits for the device.
pub type DeviceResource = DriverMemory<plain::Plain>;

/// `cuMemAllocFromPoolAsync` and `cuMemFreeAsync` over a pool of its own: no call waits for the device, and what is freed on
/// a stream can be allocated again on it at once, on others after the stream was synchronised.
pub type StreamOrderedResource = DriverMemory<stream_ordered::StreamOrdered>;

/// `cuMemAddressReserve`, `cuMemCreate` and `cuMemMap`: device memory in large pages at addresses of its own, without the
/// driver's allocator in between. Freeing waits for the device, and sizes are rounded up to the driver's granularity.
pub type MappedResource = DriverMemory<mapped::Mapped>;

/// `cuMemAllocHost`: page-locked host memory for the work of one device, which copies from and to it directly; zeroed as all
/// host memory is. Freeing waits for that device, whatever the stream; work of another device with it must be done before.
pub type PinnedHostResource = DriverMemory<pinned::Pinned>;

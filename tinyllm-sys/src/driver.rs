//! The driver table: the calls of the CUDA driver that the crates above make, as an object-safe trait with C-shaped
//! arguments. So far the calls about memory; no policy and no ownership live here.

use crate::DriverError;

/// An address in a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DevicePointer(pub u64);

/// A handle of a stream; 0 is the default stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamHandle(pub u64);

/// A handle of a memory pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolHandle(pub u64);

/// Calls of the driver. Each is one call of the same name in the CUDA driver API, checked.
///
/// # Safety
/// An implementation hands out memory that is valid for as many bytes as were asked for, aligned to 256 bytes, and disjoint
/// from everything that it handed out and has not taken back. Page-locked host memory can be read and written by the
/// processor.
pub unsafe trait DriverApi: Send + Sync + std::fmt::Debug {
    /// `cuMemAlloc`.
    ///
    /// # Errors
    /// The driver's.
    fn mem_alloc(&self, bytes: usize) -> Result<DevicePointer, DriverError>;

    /// `cuMemFree`, which waits for the device.
    ///
    /// # Safety
    /// The pointer came from [`DriverApi::mem_alloc`] and nothing uses it.
    ///
    /// # Errors
    /// The driver's.
    unsafe fn mem_free(&self, pointer: DevicePointer) -> Result<(), DriverError>;

    /// `cuMemAllocHost`: page-locked memory of the host.
    ///
    /// # Errors
    /// The driver's.
    fn mem_alloc_host(&self, bytes: usize) -> Result<*mut u8, DriverError>;

    /// `cuMemFreeHost`.
    ///
    /// # Safety
    /// The address came from [`DriverApi::mem_alloc_host`] and nothing uses it.
    ///
    /// # Errors
    /// The driver's.
    unsafe fn mem_free_host(&self, address: *mut u8) -> Result<(), DriverError>;

    /// `cuMemPoolCreate`, with `CU_MEMPOOL_ATTR_RELEASE_THRESHOLD` set.
    ///
    /// # Errors
    /// The driver's.
    fn mem_pool_create(&self, release_threshold_bytes: u64) -> Result<PoolHandle, DriverError>;

    /// `cuMemPoolDestroy`.
    ///
    /// # Safety
    /// The pool came from [`DriverApi::mem_pool_create`] and nothing of it is allocated.
    ///
    /// # Errors
    /// The driver's.
    unsafe fn mem_pool_destroy(&self, pool: PoolHandle) -> Result<(), DriverError>;

    /// `cuMemAllocFromPoolAsync`: valid on `stream` at once, on others after an event.
    ///
    /// # Errors
    /// The driver's.
    fn mem_alloc_from_pool_async(
        &self,
        bytes: usize,
        pool: PoolHandle,
        stream: StreamHandle,
    ) -> Result<DevicePointer, DriverError>;

    /// `cuMemFreeAsync`: freed when the work before it on `stream` is done.
    ///
    /// # Safety
    /// The pointer came from [`DriverApi::mem_alloc_from_pool_async`], and no work ordered after this call uses it.
    ///
    /// # Errors
    /// The driver's.
    unsafe fn mem_free_async(&self, pointer: DevicePointer, stream: StreamHandle) -> Result<(), DriverError>;

    /// `cuMemGetInfo`: free and total bytes.
    ///
    /// # Errors
    /// The driver's.
    fn mem_get_info(&self) -> Result<(u64, u64), DriverError>;

    /// `cuStreamSynchronize`.
    ///
    /// # Errors
    /// The driver's, and those of the work on the stream.
    fn stream_synchronize(&self, stream: StreamHandle) -> Result<(), DriverError>;
}

//! The driver table: the calls of the CUDA driver that the crates above make, as an object-safe trait with C-shaped
//! arguments. So far devices, contexts and memory; no policy and no ownership live here.

mod types;

pub use types::{
    ContextHandle, CudaVersion, DeviceAttribute, DeviceHandle, DevicePointer, PoolHandle, StreamHandle,
};

use crate::DriverError;

/// Calls of the driver. Each is one call of the same name in the CUDA driver API, checked. Those about memory work on the
/// calling thread's current context.
///
/// # Safety
/// An implementation hands out memory that is valid for as many bytes as were asked for, aligned to 256 bytes, and disjoint
/// from everything that it handed out and has not taken back. Page-locked host memory can be read and written by the
/// processor.
pub unsafe trait DriverApi: Send + Sync + std::fmt::Debug {
    /// `cuDriverGetVersion`: the version of CUDA that the driver supports.
    ///
    /// # Errors
    /// The driver's.
    fn driver_version(&self) -> Result<CudaVersion, DriverError>;

    /// `cuDeviceGetCount`.
    ///
    /// # Errors
    /// The driver's.
    fn device_count(&self) -> Result<u32, DriverError>;

    /// `cuDeviceGet`: the device number `ordinal`, counted from 0.
    ///
    /// # Errors
    /// The driver's.
    fn device_get(&self, ordinal: u32) -> Result<DeviceHandle, DriverError>;

    /// `cuDeviceGetName`.
    ///
    /// # Errors
    /// The driver's.
    fn device_name(&self, device: DeviceHandle) -> Result<String, DriverError>;

    /// `cuDeviceTotalMem`, in bytes.
    ///
    /// # Errors
    /// The driver's.
    fn device_total_mem(&self, device: DeviceHandle) -> Result<u64, DriverError>;

    /// `cuDeviceGetAttribute`.
    ///
    /// # Errors
    /// The driver's.
    fn device_attribute(&self, attribute: DeviceAttribute, device: DeviceHandle) -> Result<i32, DriverError>;

    /// `cuDevicePrimaryCtxRetain`: the context that everybody in the process shares.
    ///
    /// # Errors
    /// The driver's.
    fn primary_context_retain(&self, device: DeviceHandle) -> Result<ContextHandle, DriverError>;

    /// `cuDevicePrimaryCtxRelease`.
    ///
    /// # Safety
    /// It was retained as often, and nothing of it is used after the last release.
    ///
    /// # Errors
    /// The driver's.
    unsafe fn primary_context_release(&self, device: DeviceHandle) -> Result<(), DriverError>;

    /// `cuCtxSetCurrent`, for the calling thread.
    ///
    /// # Safety
    /// The context came from this driver and lives.
    ///
    /// # Errors
    /// The driver's.
    unsafe fn context_set_current(&self, context: ContextHandle) -> Result<(), DriverError>;

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

    /// `cuMemPoolCreate` on the device number `ordinal`, with `CU_MEMPOOL_ATTR_RELEASE_THRESHOLD` set.
    ///
    /// # Errors
    /// The driver's.
    fn mem_pool_create(&self, ordinal: u32, release_threshold_bytes: u64) -> Result<PoolHandle, DriverError>;

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
    /// # Safety
    /// Pool and stream came from this driver and live.
    ///
    /// # Errors
    /// The driver's.
    unsafe fn mem_alloc_from_pool_async(
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
    /// # Safety
    /// The stream came from this driver and lives.
    ///
    /// # Errors
    /// The driver's, and those of the work on the stream.
    unsafe fn stream_synchronize(&self, stream: StreamHandle) -> Result<(), DriverError>;
}

//! Memory in the order of a stream, and the pools that it comes from.

use std::ffi::{c_int, c_void};

use crate::{
    contexts::on_device, driver::driver, export::exports, memory::allocate, outcome::place, streams::Stream,
};

/// A pool's handle.
type Pool = u64;

exports! {
    cudaMallocAsync; stream => cudaMallocAsync_ptsz (address: *mut u64, bytes: usize, stream: Stream) {
        // SAFETY: the caller gives room for one address, and the driver writes one.
        unsafe { allocate(address, bytes, |driver, out| driver.mem_alloc_async(out, bytes, stream)) }
    }
    cudaMallocFromPoolAsync; stream => cudaMallocFromPoolAsync_ptsz (
        address: *mut u64,
        bytes: usize,
        pool: Pool,
        stream: Stream
    ) {
        // SAFETY: as above; what is no pool the driver refuses.
        unsafe {
            allocate(address, bytes, |driver, out| driver.mem_alloc_from_pool_async(out, bytes, pool, stream))
        }
    }
    cudaFreeAsync; stream => cudaFreeAsync_ptsz (address: u64, stream: Stream) {
        let driver = on_device()?;
        if address == 0 {
            return Ok(());
        }
        // SAFETY: what is no allocation the driver refuses.
        unsafe { driver.mem_free_async(address, stream) }
    }
    cudaDeviceGetDefaultMemPool(pool: *mut Pool, device: c_int) {
        // SAFETY: the caller gives room for one handle.
        unsafe { driver()?.device_get_default_mem_pool(place(pool)?, device) }
    }
    cudaDeviceGetMemPool(pool: *mut Pool, device: c_int) {
        // SAFETY: as above.
        unsafe { driver()?.device_get_mem_pool(place(pool)?, device) }
    }
    cudaDeviceSetMemPool(device: c_int, pool: Pool) {
        // SAFETY: what is no pool the driver refuses.
        unsafe { driver()?.device_set_mem_pool(device, pool) }
    }
    cudaMemPoolCreate(pool: *mut Pool, properties: *mut c_void) {
        // SAFETY: as above, and one description, which has the driver's layout and numbers.
        unsafe { on_device()?.mem_pool_create(place(pool)?, place(properties)?) }
    }
    cudaMemPoolDestroy(pool: Pool) {
        // SAFETY: as above.
        unsafe { driver()?.mem_pool_destroy(pool) }
    }
    cudaMemPoolSetAttribute(pool: Pool, attribute: u32, value: *mut c_void) {
        // SAFETY: the caller gives a value of the attribute's size; the driver has the same numbers.
        unsafe { driver()?.mem_pool_set_attribute(pool, attribute, place(value)?) }
    }
    cudaMemPoolGetAttribute(pool: Pool, attribute: u32, value: *mut c_void) {
        // SAFETY: as above, room for one.
        unsafe { driver()?.mem_pool_get_attribute(pool, attribute, place(value)?) }
    }
    cudaMemPoolTrimTo(pool: Pool, bytes: usize) {
        // SAFETY: what is no pool the driver refuses.
        unsafe { driver()?.mem_pool_trim_to(pool, bytes) }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use cudarc::{driver::sys as driver, runtime::sys};

    #[test]
    fn a_pool_is_described_as_to_the_driver() {
        assert_eq!(size_of::<sys::cudaMemPoolProps>(), size_of::<driver::CUmemPoolProps>());
        let location = offset_of!(sys::cudaMemPoolProps, location);
        assert_eq!(location, offset_of!(driver::CUmemPoolProps, location));
    }
}

//! Memory that lives until it is freed, of devices and page-locked, and what can be asked about an address.

use std::ffi::{c_int, c_void};

use crate::{
    contexts::on_device,
    driver::Driver,
    export::exports,
    outcome::{Answer, place, put, put_if_wanted},
};

/// `CU_POINTER_ATTRIBUTE_MEMORY_TYPE`, `_DEVICE_ORDINAL` and `_IS_MANAGED`.
const MEMORY_TYPE: c_int = 2;
const ORDINAL: c_int = 9;
const IS_MANAGED: c_int = 8;
/// `CU_MEMORYTYPE_DEVICE`.
const ON_DEVICE: u32 = 2;

/// `CU_MEMHOSTALLOC_PORTABLE`.
const PORTABLE: u32 = 1;

/// `cudaMemoryType`.
const UNREGISTERED: u32 = 0;
const HOST: u32 = 1;
const DEVICE: u32 = 2;
const MANAGED: u32 = 3;
/// `cudaInvalidDeviceId`.
const NO_DEVICE: c_int = -2;

/// `cudaPointerAttributes`, as far as both versions have it: CUDA 13 has 64 reserved bytes more.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct PointerAttributes {
    kind: u32,
    device: c_int,
    device_pointer: u64,
    host_pointer: u64,
}

/// What the driver says of an address. Ordinary memory of the host is of no kind, 0.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    kind: u32,
    device: c_int,
    is_managed: u8,
}

fn found(driver: &Driver, address: u64) -> Found {
    let mut found = Found::default();
    let mut attributes = [MEMORY_TYPE, ORDINAL, IS_MANAGED];
    let mut places =
        [(&raw mut found.kind).cast(), (&raw mut found.device).cast(), (&raw mut found.is_managed).cast()];
    // SAFETY: as many places as attributes; 4 bytes, 4 bytes and 1 byte are written, or less where the driver knows less.
    let known = unsafe {
        let (attributes, places) = (attributes.as_mut_ptr(), places.as_mut_ptr());
        driver.pointer_get_attributes(3, attributes, places, address)
    };
    if known.is_ok() { found } else { Found::default() }
}

/// Whether an address is a device's.
pub(crate) fn is_on_device(driver: &Driver, address: u64) -> bool {
    found(driver, address).kind == ON_DEVICE
}

fn attributes(driver: &Driver, address: u64) -> PointerAttributes {
    let found = found(driver, address);
    let (kind, device, device_pointer, host_pointer) = match (found.kind, found.is_managed) {
        (0, _) => (UNREGISTERED, NO_DEVICE, 0, address),
        (_, 1..) => (MANAGED, found.device, address, address),
        (ON_DEVICE, 0) => (DEVICE, found.device, address, 0),
        (_, 0) => (HOST, found.device, address, address),
    };
    PointerAttributes { kind, device, device_pointer, host_pointer }
}

/// Allocates where something is asked for; nothing has the address 0.
///
/// # Safety
/// `out` is null or can be written.
pub(crate) unsafe fn allocate(
    out: *mut u64,
    bytes: usize,
    call: impl FnOnce(&Driver, *mut u64) -> Answer,
) -> Answer {
    let driver = on_device()?;
    let mut address = 0;
    if bytes > 0 && !out.is_null() {
        call(driver, &raw mut address)?;
    }
    // SAFETY: the caller's promise.
    unsafe { put(out, address) }
}

/// # Safety
/// As [`allocate`].
unsafe fn allocate_host(out: *mut *mut c_void, bytes: usize, flags: u32) -> Answer {
    let driver = on_device()?;
    let mut address = std::ptr::null_mut();
    if bytes > 0 && !out.is_null() {
        // SAFETY: writes one address.
        unsafe { driver.mem_host_alloc(&raw mut address, bytes, flags) }?;
    }
    // SAFETY: the caller's promise.
    unsafe { put(out, address) }
}

exports! {
    cudaMalloc(address: *mut u64, bytes: usize) {
        // SAFETY: the caller gives room for one address, and the driver writes one.
        unsafe { allocate(address, bytes, |driver, out| driver.mem_alloc(out, bytes)) }
    }
    cudaMallocManaged(address: *mut u64, bytes: usize, flags: u32) {
        // SAFETY: as above.
        unsafe { allocate(address, bytes, |driver, out| driver.mem_alloc_managed(out, bytes, flags)) }
    }
    cudaMallocPitch(address: *mut u64, pitch: *mut usize, width_bytes: usize, height: usize) {
        let pitch = place(pitch)?;
        // SAFETY: as above, and room for one size; rows are aligned for elements of up to 16 bytes.
        unsafe {
            allocate(address, width_bytes.saturating_mul(height), |driver, out| {
                driver.mem_alloc_pitch(out, pitch, width_bytes, height, 16)
            })
        }
    }
    cudaFree(address: u64) {
        let driver = on_device()?;
        if address == 0 {
            return Ok(());
        }
        // SAFETY: what is no allocation the driver refuses.
        unsafe { driver.mem_free(address) }
    }
    cudaMallocHost(address: *mut *mut c_void, bytes: usize) {
        // SAFETY: the caller gives room for one address.
        unsafe { allocate_host(address, bytes, PORTABLE) }
    }
    cudaHostAlloc(address: *mut *mut c_void, bytes: usize, flags: u32) {
        // SAFETY: as above.
        unsafe { allocate_host(address, bytes, flags) }
    }
    cudaFreeHost(address: *mut c_void) {
        let driver = on_device()?;
        if address.is_null() {
            return Ok(());
        }
        // SAFETY: what is not page-locked memory the driver refuses.
        unsafe { driver.mem_free_host(address) }
    }
    cudaHostRegister(address: *mut c_void, bytes: usize, flags: u32) {
        // SAFETY: the caller gives so many bytes.
        unsafe { on_device()?.mem_host_register(address, bytes, flags) }
    }
    cudaHostUnregister(address: *mut c_void) {
        // SAFETY: what is not registered the driver refuses.
        unsafe { on_device()?.mem_host_unregister(address) }
    }
    cudaHostGetDevicePointer(address: *mut u64, host: *mut c_void, flags: u32) {
        // SAFETY: the caller gives room for one address; what is not page-locked the driver refuses.
        unsafe { on_device()?.mem_host_get_device_pointer(place(address)?, host, flags) }
    }
    cudaHostGetFlags(flags: *mut u32, host: *mut c_void) {
        // SAFETY: as above, for one number.
        unsafe { on_device()?.mem_host_get_flags(place(flags)?, host) }
    }
    cudaMemGetInfo(free: *mut usize, total: *mut usize) {
        let (mut of_free, mut of_total) = (0, 0);
        // SAFETY: two sizes are written; the caller gives room for what it wants.
        unsafe {
            on_device()?.mem_get_info(&raw mut of_free, &raw mut of_total)?;
            put_if_wanted(free, of_free);
            put_if_wanted(total, of_total);
        }
        Ok(())
    }
    cudaPointerGetAttributes(out: *mut PointerAttributes, address: u64) {
        let driver = on_device()?;
        // SAFETY: the caller gives room for the structure, which has no fewer bytes in any version.
        unsafe { put(out, attributes(driver, address)) }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use cudarc::runtime::sys;

    use super::*;

    #[test]
    fn attributes_are_laid_out_as_in_the_header() {
        assert_eq!(size_of::<PointerAttributes>(), size_of::<sys::cudaPointerAttributes>());
        assert_eq!(offset_of!(PointerAttributes, device), offset_of!(sys::cudaPointerAttributes, device));
        let device_pointer = offset_of!(sys::cudaPointerAttributes, devicePointer);
        assert_eq!(offset_of!(PointerAttributes, device_pointer), device_pointer);
        let host_pointer = offset_of!(sys::cudaPointerAttributes, hostPointer);
        assert_eq!(offset_of!(PointerAttributes, host_pointer), host_pointer);
    }
}

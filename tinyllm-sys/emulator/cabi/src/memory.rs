//! Memory that lives until it is freed, of devices and page-locked, and what can be asked about an address.

use std::ffi::{c_int, c_void};

use tinyllm_emulator::Allocated;
use tinyllm_sys::{DevicePointer, DriverApi, DriverCode, StreamHandle};

use crate::{
    contexts::{self, on_context},
    driver::driver,
    export::exports,
    result::{Answer, Refusal, put, put_if_wanted},
};

/// What rows of `cuMemAllocPitch` are multiples of.
const PITCH_BYTES: usize = 512;

/// `CU_MEMORYTYPE_HOST` and `CU_MEMORYTYPE_DEVICE`.
const HOST: u32 = 1;
const ON_DEVICE: u32 = 2;

/// A host address as the table has it.
fn host(address: *mut c_void) -> *mut u8 {
    address.cast()
}

fn free(pointer: u64) -> Answer {
    let driver = on_context()?;
    // Memory of a pool can be freed by this call too, when all work with it is done.
    let of_pool =
        driver.allocated(pointer).is_some_and(|found| found.start == pointer && found.pool.is_some());
    if of_pool {
        // SAFETY: the program owns the memory; work that still uses it is reported.
        return Ok(unsafe { driver.mem_free_async(DevicePointer(pointer), StreamHandle::LEGACY) }?);
    }
    // SAFETY: what is no allocation is refused and reported.
    Ok(unsafe { driver.mem_free(DevicePointer(pointer)) }?)
}

fn allocate_host(out: *mut *mut c_void, bytes: usize) -> Answer {
    let address = on_context()?.mem_alloc_host(bytes)?;
    // SAFETY: the caller gives room for one address.
    unsafe { put(out, address.cast()) }
}

/// The memory of an address.
fn allocated(address: u64) -> Result<Allocated, Refusal> {
    driver()?.allocated(address).ok_or(DriverCode::InvalidValue.into())
}

/// Answers one question about memory.
///
/// # Safety
/// There is room for what `attribute` is.
unsafe fn attribute(out: *mut c_void, attribute: c_int, address: u64, found: &Allocated) -> Answer {
    let ordinal = found.ordinal.map_or(0, |ordinal| ordinal as i32);
    // SAFETY: the caller's promise: each is of the type that the header says.
    unsafe {
        match attribute {
            // CONTEXT
            1 => put(out.cast(), contexts::of_device(ordinal)),
            // MEMORY_TYPE
            2 => put(out.cast(), if found.ordinal.is_some() { ON_DEVICE } else { HOST }),
            // DEVICE_POINTER
            3 => put(out.cast(), address),
            // HOST_POINTER
            4 if found.ordinal.is_none() => put(out.cast(), address),
            4 => Err(DriverCode::InvalidValue.into()),
            // SYNC_MEMOPS, IS_LEGACY_CUDA_IPC_CAPABLE, ALLOWED_HANDLE_TYPES, IS_GPU_DIRECT_RDMA_CAPABLE
            6 | 10 | 14 | 15 => put(out.cast(), 0u32),
            // BUFFER_ID
            7 => put(out.cast(), found.start),
            // IS_MANAGED
            8 => put(out.cast(), false),
            // DEVICE_ORDINAL
            9 => put(out.cast(), ordinal),
            // RANGE_START_ADDR
            11 => put(out.cast(), found.start),
            // RANGE_SIZE
            12 => put(out.cast(), found.bytes as usize),
            // MAPPED
            13 => put(out.cast(), true),
            // ACCESS_FLAGS
            16 => put(out.cast(), crate::structs::READ_WRITE),
            // MEMPOOL_HANDLE
            17 => put(out.cast(), found.pool.map_or(0, |pool| pool.0)),
            _ => Err(DriverCode::NotSupported.into()),
        }
    }
}

exports! {
    cuMemAlloc | cuMemAlloc_v2(pointer: *mut u64, bytes: usize) {
        let allocated = on_context()?.mem_alloc(bytes)?;
        // SAFETY: the caller gives room for one address.
        unsafe { put(pointer, allocated.0) }
    }
    cuMemAllocPitch | cuMemAllocPitch_v2(
        pointer: *mut u64,
        pitch: *mut usize,
        width_bytes: usize,
        height: usize,
        _element_bytes: u32
    ) {
        let row = width_bytes.checked_next_multiple_of(PITCH_BYTES);
        let bytes = row.and_then(|row| row.checked_mul(height)).ok_or(DriverCode::InvalidValue)?;
        let allocated = on_context()?.mem_alloc(bytes)?;
        // SAFETY: the caller gives room for an address and a size.
        unsafe {
            put(pointer, allocated.0)?;
            put(pitch, row.unwrap_or(0))
        }
    }
    cuMemFree | cuMemFree_v2(pointer: u64) {
        free(pointer)
    }
    cuMemGetInfo | cuMemGetInfo_v2(free_bytes: *mut usize, total_bytes: *mut usize) {
        let (free, total) = on_context()?.mem_get_info()?;
        // SAFETY: the caller gives room for two sizes.
        unsafe {
            put(free_bytes, free as usize)?;
            put(total_bytes, total as usize)
        }
    }
    cuMemAllocHost | cuMemAllocHost_v2(address: *mut *mut c_void, bytes: usize) {
        allocate_host(address, bytes)
    }
    cuMemHostAlloc(address: *mut *mut c_void, bytes: usize, flags: u32) {
        // Portable, mapped and write-combined: all of it is the first two, and the last changes no value.
        if flags & !0b111 != 0 {
            return Err(DriverCode::InvalidValue.into());
        }
        allocate_host(address, bytes)
    }
    cuMemFreeHost(address: *mut c_void) {
        // SAFETY: what is not page-locked memory is refused.
        Ok(unsafe { on_context()?.mem_free_host(host(address)) }?)
    }
    cuMemHostGetDevicePointer | cuMemHostGetDevicePointer_v2(pointer: *mut u64, address: u64, _flags: u32) {
        on_context()?;
        // Host and devices have the same addresses for it.
        if allocated(address)?.ordinal.is_some() {
            return Err(DriverCode::InvalidValue.into());
        }
        // SAFETY: the caller gives room for one address.
        unsafe { put(pointer, address) }
    }
    cuMemHostGetFlags(flags: *mut u32, address: u64) {
        on_context()?;
        if allocated(address)?.ordinal.is_some() {
            return Err(DriverCode::InvalidValue.into());
        }
        // SAFETY: the caller gives room for one number. Portable and mapped.
        unsafe { put(flags, 0b11) }
    }
    cuMemGetAddressRange | cuMemGetAddressRange_v2(start: *mut u64, bytes: *mut usize, pointer: u64) {
        on_context()?;
        let found = driver()?.allocated(pointer).ok_or(DriverCode::NotFound)?;
        // SAFETY: the caller gives room for what it wants.
        unsafe {
            put_if_wanted(start, found.start);
            put_if_wanted(bytes, found.bytes as usize);
        }
        Ok(())
    }
    cuPointerGetAttribute(out: *mut c_void, which: c_int, pointer: u64) {
        let found = allocated(pointer)?;
        // SAFETY: the caller gives room for what it asks for.
        unsafe { attribute(out, which, pointer, &found) }
    }
    cuPointerGetAttributes(count: u32, which: *const c_int, out: *const *mut c_void, pointer: u64) {
        if which.is_null() || out.is_null() {
            return Err(DriverCode::InvalidValue.into());
        }
        let found = driver()?.allocated(pointer);
        for index in 0..count as usize {
            // SAFETY: the caller gives as many attributes and places for them as it counts.
            let (which, out) = unsafe { (which.add(index).read(), out.add(index).read()) };
            match &found {
                // SAFETY: the caller gives room for what it asks for.
                Some(found) => match unsafe { attribute(out, which, pointer, found) } {
                    // What does not apply is 0.
                    Err(Refusal::Here(DriverCode::InvalidValue)) if !out.is_null() => {
                        // SAFETY: as above; the one that does not apply is an address.
                        unsafe { put(out.cast(), 0u64) }?;
                    }
                    answer => answer?,
                },
                // Ordinary memory of the host is of no type.
                // SAFETY: as above; every attribute has at least one byte, the type 4.
                None if which == 2 => unsafe { put(out.cast(), 0u32) }?,
                // SAFETY: as above; these are addresses and handles.
                None if matches!(which, 1 | 3 | 4 | 11 | 17) => unsafe { put(out.cast(), 0u64) }?,
                // SAFETY: as above; a truth value.
                None if which == 8 => unsafe { put(out.cast(), false) }?,
                // SAFETY: as above; `CU_DEVICE_INVALID`.
                None if which == 9 => unsafe { put(out.cast(), -2i32) }?,
                None => {}
            }
        }
        Ok(())
    }
    cuPointerSetAttribute(_value: *const c_void, which: c_int, pointer: u64) {
        allocated(pointer)?;
        // `CU_POINTER_ATTRIBUTE_SYNC_MEMOPS`, which asks for what copies do here anyway.
        if which == 6 { Ok(()) } else { Err(DriverCode::InvalidValue.into()) }
    }
}

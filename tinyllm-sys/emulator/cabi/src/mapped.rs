//! Addresses that are reserved and memory that is put there.

use tinyllm_sys::{DevicePointer, DriverApi, DriverCode, MemoryHandle};

use crate::{
    contexts::on_context,
    driver::driver,
    export::exports,
    pools::ordinal,
    result::{Refusal, put},
    structs::{AccessDesc, AllocationProp, Location, PINNED, READ_WRITE},
};

/// The device of a description of memory.
///
/// # Safety
/// It is null or one description.
unsafe fn described(props: *const AllocationProp) -> Result<u32, Refusal> {
    if props.is_null() {
        return Err(DriverCode::InvalidValue.into());
    }
    // SAFETY: the caller's promise.
    let props = unsafe { props.read() };
    if props.kind != PINNED || props.handles != 0 {
        return Err(DriverCode::NotSupported.into());
    }
    ordinal(props.location)
}

exports! {
    cuMemGetAllocationGranularity(bytes: *mut usize, props: *const AllocationProp, _which: u32) {
        // SAFETY: the caller gives one description.
        let granularity = driver()?.mem_allocation_granularity(unsafe { described(props) }?)?;
        // SAFETY: the caller gives room for one size. Minimum and recommendation are the same.
        unsafe { put(bytes, granularity) }
    }
    cuMemAddressReserve(pointer: *mut u64, bytes: usize, align_bytes: usize, _wish: u64, flags: u64) {
        if flags != 0 {
            return Err(DriverCode::InvalidValue.into());
        }
        let reserved = on_context()?.mem_address_reserve(bytes, align_bytes)?;
        // SAFETY: the caller gives room for one address.
        unsafe { put(pointer, reserved.0) }
    }
    cuMemAddressFree(pointer: u64, bytes: usize) {
        // SAFETY: what is not reserved is refused.
        Ok(unsafe { driver()?.mem_address_free(DevicePointer(pointer), bytes) }?)
    }
    cuMemCreate(memory: *mut u64, bytes: usize, props: *const AllocationProp, flags: u64) {
        if flags != 0 {
            return Err(DriverCode::InvalidValue.into());
        }
        // SAFETY: the caller gives one description.
        let created = driver()?.mem_create(unsafe { described(props) }?, bytes)?;
        // SAFETY: the caller gives room for one handle.
        unsafe { put(memory, created.0) }
    }
    cuMemRelease(memory: u64) {
        // SAFETY: what is no memory is refused.
        Ok(unsafe { driver()?.mem_release(MemoryHandle(memory)) }?)
    }
    cuMemMap(pointer: u64, bytes: usize, offset: usize, memory: u64, flags: u64) {
        if flags != 0 {
            return Err(DriverCode::InvalidValue.into());
        }
        // SAFETY: what is not reserved or no memory is refused.
        Ok(unsafe { driver()?.mem_map(DevicePointer(pointer), bytes, offset, MemoryHandle(memory)) }?)
    }
    cuMemUnmap(pointer: u64, bytes: usize) {
        // SAFETY: what is not mapped is refused.
        Ok(unsafe { on_context()?.mem_unmap(DevicePointer(pointer), bytes) }?)
    }
    cuMemSetAccess(pointer: u64, bytes: usize, descriptions: *const AccessDesc, count: usize) {
        let driver = driver()?;
        if descriptions.is_null() {
            return Err(DriverCode::InvalidValue.into());
        }
        for index in 0..count {
            // SAFETY: the caller gives as many descriptions as it counts.
            let access = unsafe { descriptions.add(index).read() };
            if access.flags != READ_WRITE {
                return Err(DriverCode::NotSupported.into());
            }
            // SAFETY: what is not mapped is refused.
            unsafe { driver.mem_set_access(DevicePointer(pointer), bytes, ordinal(access.location)?) }?;
        }
        Ok(())
    }
    cuMemGetAccess(flags: *mut u64, location: *const Location, pointer: u64) {
        let found = driver()?.allocated(pointer).ok_or(DriverCode::InvalidValue)?;
        if location.is_null() {
            return Err(DriverCode::InvalidValue.into());
        }
        // SAFETY: the caller gives one description.
        let asked = ordinal(unsafe { location.read() })?;
        let access = if found.ordinal == Some(asked) { u64::from(READ_WRITE) } else { 0 };
        // SAFETY: the caller gives room for 64 bits.
        unsafe { put(flags, access) }
    }
}

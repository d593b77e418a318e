//! Devices: which there are, which one a thread works on, and settings of it.

use std::ffi::{c_char, c_int};

use crate::{
    contexts::{choose, device, of_device, on_device},
    driver::driver,
    export::exports,
    outcome::{Answer, Error, place, put, put_if_wanted},
};

/// `cudaInitDeviceFlagsAreValid`.
const FLAGS_ARE_VALID: u32 = 1;

/// Whether there is such a device.
fn known(device: c_int) -> Answer {
    of_device(driver()?, device).map(drop)
}

exports! {
    cudaGetDeviceCount(count: *mut c_int) {
        let count = place(count)?;
        // SAFETY: the caller gives room for one number.
        let done = driver().and_then(|driver| unsafe { driver.device_get_count(count) });
        if done.is_err() {
            // SAFETY: as above.
            unsafe { put(count, 0) }?;
        }
        done
    }
    cudaGetDevice(out: *mut c_int) {
        let found = device()?;
        // SAFETY: as above.
        unsafe { put(out, found) }
    }
    cudaSetDevice(device: c_int) {
        choose(device)
    }
    cudaInitDevice(device: c_int, device_flags: u32, flags: u32) {
        known(device)?;
        if flags & FLAGS_ARE_VALID == 0 {
            return Ok(());
        }
        // SAFETY: numbers of devices are their handles.
        unsafe { driver()?.primary_ctx_set_flags(device, device_flags) }
    }
    cudaSetDeviceFlags(flags: u32) {
        // SAFETY: as above.
        unsafe { driver()?.primary_ctx_set_flags(device()?, flags) }
    }
    cudaGetDeviceFlags(flags: *mut u32) {
        let mut active = 0;
        // SAFETY: as above; room for one number each.
        unsafe { driver()?.primary_ctx_get_state(device()?, place(flags)?, &raw mut active) }
    }
    cudaDeviceGetAttribute(value: *mut c_int, attribute: c_int, device: c_int) {
        let driver = driver()?;
        let mut count = 0;
        // SAFETY: writes one number.
        unsafe { driver.device_get_count(&raw mut count) }?;
        if !(0..count).contains(&device) {
            return Err(Error::INVALID_DEVICE);
        }
        // SAFETY: the caller gives room for one number; the driver has the same numbers for attributes.
        unsafe { driver.device_get_attribute(place(value)?, attribute, device) }
    }
    cudaDeviceGetPCIBusId(id: *mut c_char, length: c_int, device: c_int) {
        // SAFETY: the caller gives room for so many bytes.
        unsafe { driver()?.device_get_pci_bus_id(place(id)?, length, device) }
    }
    cudaDeviceGetByPCIBusId(device: *mut c_int, id: *mut c_char) {
        // SAFETY: the caller gives room for one number and a terminated text.
        unsafe { driver()?.device_get_by_pci_bus_id(place(device)?, place(id)?) }
    }
    cudaDeviceSynchronize | cudaThreadSynchronize() {
        // SAFETY: the thread has a context.
        unsafe { on_device()?.ctx_synchronize() }
    }
    cudaDeviceReset | cudaThreadExit() {
        // All work is done afterwards; what the program did not free stays, and is reported as a leak.
        // SAFETY: as above.
        unsafe { on_device()?.ctx_synchronize() }
    }
    cudaDeviceGetLimit(value: *mut usize, limit: u32) {
        // SAFETY: the caller gives room for one size.
        unsafe { on_device()?.ctx_get_limit(place(value)?, limit) }
    }
    cudaDeviceSetLimit(limit: u32, value: usize) {
        // SAFETY: numbers alone.
        unsafe { on_device()?.ctx_set_limit(limit, value) }
    }
    cudaDeviceGetCacheConfig(config: *mut u32) {
        // SAFETY: the caller gives room for one number.
        unsafe { on_device()?.ctx_get_cache_config(place(config)?) }
    }
    cudaDeviceSetCacheConfig(config: u32) {
        // SAFETY: numbers alone.
        unsafe { on_device()?.ctx_set_cache_config(config) }
    }
    cudaDeviceGetSharedMemConfig(config: *mut u32) {
        // SAFETY: the caller gives room for one number.
        unsafe { on_device()?.ctx_get_shared_mem_config(place(config)?) }
    }
    cudaDeviceSetSharedMemConfig(config: u32) {
        // SAFETY: numbers alone.
        unsafe { on_device()?.ctx_set_shared_mem_config(config) }
    }
    cudaCtxResetPersistingL2Cache() {
        // SAFETY: the thread has a context.
        unsafe { on_device()?.ctx_reset_persisting_l2_cache() }
    }
    cudaDeviceGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) {
        let (mut of_least, mut of_greatest) = (0, 0);
        // SAFETY: two numbers are written; the caller gives room for what it wants.
        unsafe {
            on_device()?.ctx_get_stream_priority_range(&raw mut of_least, &raw mut of_greatest)?;
            put_if_wanted(least, of_least);
            put_if_wanted(greatest, of_greatest);
        }
        Ok(())
    }
}

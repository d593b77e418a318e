//! Pools of stream-ordered memory, with the one that each device has.

use std::{
    collections::BTreeMap,
    ffi::{c_int, c_void},
    sync::{Mutex, PoisonError},
};

use tinyllm_sys::{DeviceHandle, DevicePointer, DriverApi, DriverCode, PoolHandle, StreamHandle};

use crate::{
    contexts::{current_device, on_context},
    driver::driver,
    export::exports,
    result::{Answer, Refusal, put},
    streams::Stream,
    structs::{AccessDesc, DEVICE, Location, PINNED, PoolProps, READ_WRITE},
};

/// Pools that devices allocate from where a call names none, by number, if not their default.
static CHOSEN: Mutex<BTreeMap<i32, PoolHandle>> = Mutex::new(BTreeMap::new());

/// A device's pool of today.
fn pool_of(device: c_int) -> Result<PoolHandle, Refusal> {
    let chosen = CHOSEN.lock().unwrap_or_else(PoisonError::into_inner).get(&device).copied();
    match chosen {
        Some(pool) => Ok(pool),
        None => default_of(device),
    }
}

fn default_of(device: c_int) -> Result<PoolHandle, Refusal> {
    let ordinal = u32::try_from(device).map_err(|_| DriverCode::InvalidDevice)?;
    Ok(driver()?.default_pool(ordinal)?)
}

/// The device that a description names.
pub(crate) fn ordinal(location: Location) -> Result<u32, Refusal> {
    if location.kind != DEVICE {
        return Err(DriverCode::NotSupported.into());
    }
    let ordinal = u32::try_from(location.ordinal).map_err(|_| DriverCode::InvalidDevice)?;
    Ok(driver()?.device_get(ordinal)?.0.unsigned_abs())
}

fn allocate(out: *mut u64, bytes: usize, pool: PoolHandle, stream: Stream) -> Answer {
    // SAFETY: what is no pool or stream is refused.
    let allocated = unsafe { on_context()?.mem_alloc_from_pool_async(bytes, pool, StreamHandle(stream)) }?;
    // SAFETY: the caller gives room for one address.
    unsafe { put(out, allocated.0) }
}

fn free(pointer: u64, stream: Stream) -> Answer {
    let driver = on_context()?;
    let found = driver.allocated(pointer).filter(|found| found.start == pointer && found.ordinal.is_some());
    // SAFETY: what is not there is refused and reported; work that still uses it is too.
    unsafe {
        if found.is_some_and(|found| found.pool.is_none()) {
            // Plain memory can be freed so too; it goes at the next wait at the latest, and here at once.
            driver.stream_synchronize(StreamHandle(stream))?;
            return Ok(driver.mem_free(DevicePointer(pointer))?);
        }
        Ok(driver.mem_free_async(DevicePointer(pointer), StreamHandle(stream))?)
    }
}

/// `CUmemPool_attribute` 1 to 3, which allow kinds of reuse: all are allowed, and the emulator reuses what it knows to be
/// free.
const REUSE: std::ops::RangeInclusive<u32> = 1..=3;
/// `CU_MEMPOOL_ATTR_RELEASE_THRESHOLD`.
const THRESHOLD: u32 = 4;

/// # Safety
/// There is room for what the attribute is.
unsafe fn attribute(pool: PoolHandle, which: u32, out: *mut c_void) -> Answer {
    let driver = driver()?;
    // SAFETY: what is no pool is refused.
    let usage = unsafe { driver.mem_pool_usage(pool) }?;
    let bytes = match which {
        // SAFETY: the caller gives room for a number.
        _ if REUSE.contains(&which) => return unsafe { put(out.cast(), 1i32) },
        THRESHOLD => driver.pool_threshold(pool)?,
        5 => usage.reserved_bytes,
        6 => usage.reserved_high_bytes,
        7 => usage.used_bytes,
        8 => usage.used_high_bytes,
        _ => return Err(DriverCode::InvalidValue.into()),
    };
    // SAFETY: the caller gives room for 64 bits.
    unsafe { put(out.cast(), bytes) }
}

exports! {
    cuDeviceGetDefaultMemPool(pool: *mut u64, device: c_int) {
        let found = default_of(device)?;
        // SAFETY: the caller gives room for one handle.
        unsafe { put(pool, found.0) }
    }
    cuDeviceGetMemPool(pool: *mut u64, device: c_int) {
        let found = pool_of(device)?;
        // SAFETY: as above.
        unsafe { put(pool, found.0) }
    }
    cuDeviceSetMemPool(device: c_int, pool: u64) {
        let driver = driver()?;
        driver.device_total_mem(DeviceHandle(device))?;
        // SAFETY: what is no pool is refused.
        unsafe { driver.mem_pool_usage(PoolHandle(pool)) }?;
        CHOSEN.lock().unwrap_or_else(PoisonError::into_inner).insert(device, PoolHandle(pool));
        Ok(())
    }
    cuMemPoolCreate(pool: *mut u64, props: *const PoolProps) {
        if props.is_null() {
            return Err(DriverCode::InvalidValue.into());
        }
        // SAFETY: the caller gives one description.
        let props = unsafe { props.read() };
        if props.kind != PINNED || props.handles != 0 {
            return Err(DriverCode::NotSupported.into());
        }
        let created = driver()?.mem_pool_create(ordinal(props.location)?, 0)?;
        // SAFETY: the caller gives room for one handle.
        unsafe { put(pool, created.0) }
    }
    cuMemPoolDestroy(pool: u64) {
        let pool = PoolHandle(pool);
        let driver = driver()?;
        for ordinal in 0..driver.device_count()? {
            if driver.default_pool(ordinal)? == pool {
                return Err(DriverCode::NotPermitted.into());
            }
        }
        // SAFETY: what is no pool is refused.
        unsafe { driver.mem_pool_destroy(pool) }?;
        CHOSEN.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, chosen| *chosen != pool);
        Ok(())
    }
    cuMemPoolGetAttribute(pool: u64, which: u32, out: *mut c_void) {
        // SAFETY: the caller gives room for what it asks for.
        unsafe { attribute(PoolHandle(pool), which, out) }
    }
    cuMemPoolSetAttribute(pool: u64, which: u32, value: *const c_void) {
        let driver = driver()?;
        match which {
            _ if value.is_null() => Err(DriverCode::InvalidValue.into()),
            // SAFETY: what is no pool is refused.
            _ if REUSE.contains(&which) => Ok(unsafe { driver.mem_pool_usage(PoolHandle(pool)) }.map(drop)?),
            THRESHOLD => {
                // SAFETY: the attribute is 64 bits.
                let bytes = unsafe { value.cast::<u64>().read_unaligned() };
                Ok(driver.set_pool_threshold(PoolHandle(pool), bytes)?)
            }
            // The highest marks can be set back to what there is now, which the table has no call for.
            6 | 8 => Err(DriverCode::NotSupported.into()),
            _ => Err(DriverCode::InvalidValue.into()),
        }
    }
    cuMemPoolTrimTo(pool: u64, keep_bytes: usize) {
        // SAFETY: what is no pool is refused.
        Ok(unsafe { driver()?.mem_pool_trim_to(PoolHandle(pool), keep_bytes) }?)
    }
    cuMemPoolSetAccess(pool: u64, descriptions: *const AccessDesc, count: usize) {
        // SAFETY: what is no pool is refused.
        unsafe { driver()?.mem_pool_usage(PoolHandle(pool)) }?;
        for index in 0..if descriptions.is_null() { 0 } else { count } {
            // SAFETY: the caller gives as many descriptions as it counts.
            let access = unsafe { descriptions.add(index).read() };
            ordinal(access.location)?;
            // A device has its own pool, and no other: nothing else can be set.
            if access.flags != READ_WRITE {
                return Err(DriverCode::NotSupported.into());
            }
        }
        Ok(())
    }
    cuMemPoolGetAccess(flags: *mut u32, pool: u64, location: *const Location) {
        // SAFETY: what is no pool is refused.
        unsafe { driver()?.mem_pool_usage(PoolHandle(pool)) }?;
        if location.is_null() {
            return Err(DriverCode::InvalidValue.into());
        }
        // SAFETY: the caller gives one description.
        ordinal(unsafe { location.read() })?;
        // SAFETY: the caller gives room for one number.
        unsafe { put(flags, READ_WRITE) }
    }
    cuMemAllocAsync; stream => cuMemAllocAsync_ptsz (pointer: *mut u64, bytes: usize, stream: Stream) {
        on_context()?;
        allocate(pointer, bytes, pool_of(current_device()?.0)?, stream)
    }
    cuMemAllocFromPoolAsync; stream => cuMemAllocFromPoolAsync_ptsz (
        pointer: *mut u64,
        bytes: usize,
        pool: u64,
        stream: Stream
    ) {
        allocate(pointer, bytes, PoolHandle(pool), stream)
    }
    cuMemFreeAsync; stream => cuMemFreeAsync_ptsz (pointer: u64, stream: Stream) {
        free(pointer, stream)
    }
}

//! Functions: their attributes and parameters, and how many blocks of them fit.

use std::ffi::c_int;

use tinyllm_sys::{DeviceAttribute, DriverApi, DriverCode, FunctionAttribute};

use crate::{
    contexts::{current_device, on_context},
    export::exports,
    libraries::{function, param_info},
    result::{Refusal, put},
};

/// Bytes of dynamic shared memory for a block's size, as a program computes them.
type SharedOf = Option<unsafe extern "C" fn(c_int) -> usize>;

fn blocks(handle: u64, threads: c_int, shared_bytes: usize) -> Result<c_int, Refusal> {
    let threads = u32::try_from(threads).map_err(|_| DriverCode::InvalidValue)?;
    // SAFETY: what is no function is refused.
    let blocks =
        unsafe { on_context()?.occupancy_max_active_blocks(function(handle)?, threads, shared_bytes) }?;
    Ok(blocks as c_int)
}

/// The largest block that fills most of a multiprocessor, and the grid that fills the device with it.
///
/// # Safety
/// `shared_of` can be called with any size of a block.
unsafe fn best_block(
    handle: u64,
    shared_of: SharedOf,
    shared_bytes: usize,
    limit: c_int,
) -> Result<(c_int, c_int), Refusal> {
    let (driver, device) = (on_context()?, current_device()?);
    let target = function(handle)?;
    // SAFETY: what is no function is refused.
    let most = unsafe { driver.function_attribute(target, FunctionAttribute::MaxThreadsPerBlock) }?;
    let most = if limit > 0 { most.min(limit) } else { most };
    let (mut best, mut resident, mut count) = (0, 0, 0);
    for threads in (1..=most).rev().filter(|threads| threads % 32 == 0 || *threads == most) {
        // SAFETY: the caller's promise.
        let shared = shared_of.map_or(shared_bytes, |shared_of| unsafe { shared_of(threads) });
        let fits = blocks(handle, threads, shared)?;
        if fits * threads > resident {
            (best, resident, count) = (threads, fits * threads, fits);
        }
    }
    let multiprocessors = driver.device_attribute(DeviceAttribute::MultiprocessorCount, device)?;
    Ok((count * multiprocessors, best))
}

exports! {
    cuFuncGetAttribute(value: *mut c_int, which: c_int, handle: u64) {
        let driver = crate::driver::driver()?;
        let attribute = FunctionAttribute::from_number(which);
        let found = match attribute {
            // SAFETY: what is no function is refused.
            Some(attribute) => unsafe { driver.function_attribute(function(handle)?, attribute) }?,
            // Sizes of clusters and the cache's mode, of which there are none.
            None if (0..16).contains(&which) => 0,
            None => return Err(DriverCode::InvalidValue.into()),
        };
        // SAFETY: the caller gives room for one number.
        unsafe { put(value, found) }
    }
    cuFuncSetAttribute(handle: u64, which: c_int, value: c_int) {
        let attribute = FunctionAttribute::from_number(which).ok_or(DriverCode::InvalidValue)?;
        // SAFETY: what is no function is refused.
        Ok(unsafe { crate::driver::driver()?.function_set_attribute(function(handle)?, attribute, value) }?)
    }
    cuFuncSetCacheConfig | cuFuncSetSharedMemConfig(handle: u64, _config: u32) {
        // A preference, which changes nothing that can be seen.
        on_context()?.function_params(function(handle)?).map(drop)?;
        Ok(())
    }
    cuFuncGetParamInfo(handle: u64, index: usize, offset: *mut usize, bytes: *mut usize) {
        // SAFETY: the caller gives room for what it wants.
        unsafe { param_info(handle, index, offset, bytes) }
    }
    cuFuncIsLoaded(state: *mut u32, handle: u64) {
        on_context()?.function_params(function(handle)?).map(drop)?;
        // SAFETY: the caller gives room for one number.
        unsafe { put(state, 1) }
    }
    cuFuncLoad(handle: u64) {
        on_context()?.function_params(function(handle)?).map(drop)?;
        Ok(())
    }
    cuOccupancyMaxActiveBlocksPerMultiprocessor(
        count: *mut c_int,
        handle: u64,
        threads: c_int,
        shared_bytes: usize
    ) {
        let found = blocks(handle, threads, shared_bytes)?;
        // SAFETY: as above.
        unsafe { put(count, found) }
    }
    cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        count: *mut c_int,
        handle: u64,
        threads: c_int,
        shared_bytes: usize,
        _flags: u32
    ) {
        let found = blocks(handle, threads, shared_bytes)?;
        // SAFETY: as above.
        unsafe { put(count, found) }
    }
    cuOccupancyMaxPotentialBlockSize(
        grid: *mut c_int,
        block: *mut c_int,
        handle: u64,
        shared_of: SharedOf,
        shared_bytes: usize,
        limit: c_int
    ) {
        // SAFETY: the caller gives a function of any size of a block.
        let (blocks, threads) = unsafe { best_block(handle, shared_of, shared_bytes, limit) }?;
        // SAFETY: the caller gives room for two numbers.
        unsafe {
            put(grid, blocks)?;
            put(block, threads)
        }
    }
    cuOccupancyMaxPotentialBlockSizeWithFlags(
        grid: *mut c_int,
        block: *mut c_int,
        handle: u64,
        shared_of: SharedOf,
        shared_bytes: usize,
        limit: c_int,
        _flags: u32
    ) {
        // SAFETY: as above.
        let (blocks, threads) = unsafe { best_block(handle, shared_of, shared_bytes, limit) }?;
        // SAFETY: as above.
        unsafe {
            put(grid, blocks)?;
            put(block, threads)
        }
    }
    cuOccupancyAvailableDynamicSMemPerBlock(bytes: *mut usize, handle: u64, count: c_int, threads: c_int) {
        let (driver, device) = (on_context()?, current_device()?);
        let attribute = |attribute| driver.device_attribute(attribute, device);
        let of_all = attribute(DeviceAttribute::MaxSharedMemoryPerMultiprocessor)?;
        let reserved = attribute(DeviceAttribute::ReservedSharedMemoryPerBlock)?;
        let of_block = attribute(DeviceAttribute::MaxSharedMemoryPerBlockOptin)?;
        if count <= 0 || blocks(handle, threads, 0)? < count {
            return Err(DriverCode::InvalidValue.into());
        }
        // SAFETY: what is no function is refused.
        let fixed =
            unsafe { driver.function_attribute(function(handle)?, FunctionAttribute::SharedSizeBytes) }?;
        let available = (of_all / count - reserved).min(of_block) - fixed;
        // SAFETY: the caller gives room for one size.
        unsafe { put(bytes, usize::try_from(available).unwrap_or(0)) }
    }
}

//! Functions: their attributes and parameters, and how many blocks of them fit.

use std::ffi::{c_int, c_void};

use crate::{
    binaries::function,
    driver::Driver,
    export::exports,
    outcome::{Error, place, put, put_if_wanted},
};

/// `cudaFuncAttributes`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes {
    shared_bytes: usize,
    const_bytes: usize,
    local_bytes: usize,
    max_threads_per_block: c_int,
    registers: c_int,
    ptx_version: c_int,
    binary_version: c_int,
    cache_mode_ca: c_int,
    max_dynamic_shared_bytes: c_int,
    /// Carve-out, clusters, and what is reserved; the driver's attributes 9 to 15 fill the first seven.
    others: [c_int; 7],
    reserved: [c_int; 17],
}

/// `CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT`, the first of `others`.
const FIRST_OTHER: c_int = 9;

fn attribute(driver: &Driver, function: u64, which: c_int) -> Result<c_int, Error> {
    let mut value = 0;
    // SAFETY: writes one number; a function of this driver.
    unsafe { driver.func_get_attribute(&raw mut value, which, function) }?;
    Ok(value)
}

fn attributes(driver: &Driver, function: u64) -> Result<Attributes, Error> {
    let number = |which| attribute(driver, function, which);
    let bytes = |which| number(which).and_then(|bytes| usize::try_from(bytes).map_err(|_| Error::UNKNOWN));
    let mut others = [0; 7];
    for (other, which) in others.iter_mut().zip(FIRST_OTHER..) {
        // A driver without clusters has none of the last ones.
        *other = number(which).unwrap_or(0);
    }
    Ok(Attributes {
        max_threads_per_block: number(0)?,
        shared_bytes: bytes(1)?,
        const_bytes: bytes(2)?,
        local_bytes: bytes(3)?,
        registers: number(4)?,
        ptx_version: number(5)?,
        binary_version: number(6)?,
        cache_mode_ca: number(7)?,
        max_dynamic_shared_bytes: number(8)?,
        others,
        reserved: [0; 17],
    })
}

exports! {
    cudaFuncGetAttributes(out: *mut Attributes, host: *const c_void) {
        let out = place(out)?;
        let (driver, function) = function(host.addr())?;
        let found = attributes(driver, function)?;
        // SAFETY: the caller gives room for the structure.
        unsafe { put(out, found) }
    }
    cudaFuncSetAttribute(host: *const c_void, which: c_int, value: c_int) {
        let (driver, function) = function(host.addr())?;
        // SAFETY: a function of this driver, which has the same numbers for attributes.
        unsafe { driver.func_set_attribute(function, which, value) }
    }
    cudaFuncSetCacheConfig(host: *const c_void, config: u32) {
        let (driver, function) = function(host.addr())?;
        // SAFETY: as above.
        unsafe { driver.func_set_cache_config(function, config) }
    }
    cudaFuncSetSharedMemConfig(host: *const c_void, config: u32) {
        let (driver, function) = function(host.addr())?;
        // SAFETY: as above.
        unsafe { driver.func_set_shared_mem_config(function, config) }
    }
    cudaFuncGetParamInfo(host: *const c_void, index: usize, offset: *mut usize, bytes: *mut usize) {
        let (driver, function) = function(host.addr())?;
        let (mut found, mut size) = (0, 0);
        // SAFETY: two sizes are written; the caller gives room for the first, and for the second if it wants it.
        unsafe {
            driver.func_get_param_info(function, index, &raw mut found, &raw mut size)?;
            put(offset, found)?;
            put_if_wanted(bytes, size);
        }
        Ok(())
    }
    cudaOccupancyMaxActiveBlocksPerMultiprocessor(
        count: *mut c_int,
        host: *const c_void,
        threads: c_int,
        shared_bytes: usize
    ) {
        let (driver, function) = function(host.addr())?;
        // SAFETY: the caller gives room for one number; a function of this driver.
        unsafe { driver.occupancy_max_active_blocks(place(count)?, function, threads, shared_bytes, 0) }
    }
    cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        count: *mut c_int,
        host: *const c_void,
        threads: c_int,
        shared_bytes: usize,
        flags: u32
    ) {
        let (driver, function) = function(host.addr())?;
        // SAFETY: as above.
        unsafe { driver.occupancy_max_active_blocks(place(count)?, function, threads, shared_bytes, flags) }
    }
    cudaOccupancyAvailableDynamicSMemPerBlock(
        bytes: *mut usize,
        host: *const c_void,
        blocks: c_int,
        threads: c_int
    ) {
        let (driver, function) = function(host.addr())?;
        // SAFETY: as above, for one size.
        unsafe { driver.occupancy_available_dynamic_smem(place(bytes)?, function, blocks, threads) }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use cudarc::runtime::sys;

    use super::*;

    #[test]
    fn attributes_are_laid_out_as_in_the_header() {
        assert_eq!(size_of::<Attributes>(), size_of::<sys::cudaFuncAttributes>());
        assert_eq!(offset_of!(Attributes, registers), offset_of!(sys::cudaFuncAttributes, numRegs));
        let most = offset_of!(sys::cudaFuncAttributes, maxDynamicSharedSizeBytes);
        assert_eq!(offset_of!(Attributes, max_dynamic_shared_bytes), most);
        let carve_out = offset_of!(sys::cudaFuncAttributes, preferredShmemCarveout);
        assert_eq!(offset_of!(Attributes, others), carve_out);
    }
}

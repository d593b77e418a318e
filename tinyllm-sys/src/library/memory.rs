//! Structures about memory: pools, and memory that is mapped.

use std::ffi::{c_int, c_uint};

use cudarc::driver::sys::{self, CUmemAllocationHandleType, CUmemAllocationType, CUmemLocationType};

use super::{LibCuda, handle, number};
use crate::{DriverApi, DriverError, PoolHandle, PoolUsage};

/// The place that a device's memory is.
fn location(ordinal: u32) -> sys::CUmemLocation {
    sys::CUmemLocation { type_: CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE, id: ordinal as c_int }
}

/// Ordinary memory of a device.
pub(super) fn properties(ordinal: u32) -> sys::CUmemAllocationProp {
    sys::CUmemAllocationProp {
        type_: CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED,
        requestedHandleTypes: CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_NONE,
        location: location(ordinal),
        win32HandleMetaData: std::ptr::null_mut(),
        allocFlags: sys::CUmemAllocationProp_st__bindgen_ty_1 {
            compressionType: 0,
            gpuDirectRDMACapable: 0,
            usage: 0,
            reserved: [0; 4],
        },
    }
}

/// A device may read and write.
pub(super) fn access(ordinal: u32) -> sys::CUmemAccessDesc {
    sys::CUmemAccessDesc {
        location: location(ordinal),
        flags: sys::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
    }
}

impl LibCuda {
    /// A pool with its threshold set.
    pub(super) fn create_pool(
        &self,
        ordinal: u32,
        release_threshold_bytes: u64,
    ) -> Result<PoolHandle, DriverError> {
        let arguments = format!("device {ordinal}, release threshold {release_threshold_bytes} bytes");
        let properties = sys::CUmemPoolProps {
            allocType: CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED,
            handleTypes: CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_NONE,
            location: location(ordinal),
            win32SecurityAttributes: std::ptr::null_mut(),
            // What later versions read here means "as before" where it is 0.
            reserved: [0; 64],
        };
        let mut pool = std::ptr::null_mut();
        // SAFETY: reads the properties, writes one handle.
        let code = unsafe { (self.symbols.mem_pool_create)(&raw mut pool, &raw const properties) };
        self.check("cuMemPoolCreate", code, &arguments)?;
        let mut threshold = release_threshold_bytes;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD as c_uint;
        // SAFETY: the pool is this one; the attribute is 64 bits.
        let set =
            unsafe { (self.symbols.mem_pool_set_attribute)(pool, attribute, (&raw mut threshold).cast()) };
        let created = PoolHandle(number(pool));
        if let Err(error) = self.check("cuMemPoolSetAttribute", set, &arguments) {
            // SAFETY: just created, and nothing of it is allocated. The first error is the one to return.
            let _ = unsafe { self.mem_pool_destroy(created) };
            return Err(error);
        }
        Ok(created)
    }

    /// What a pool holds.
    ///
    /// # Safety
    /// The pool came from this driver and lives.
    pub(super) unsafe fn pool_usage(&self, pool: PoolHandle) -> Result<PoolUsage, DriverError> {
        use sys::CUmemPool_attribute as Attribute;
        let attribute = |attribute: Attribute| {
            let mut bytes = 0u64;
            // SAFETY: the caller's promise; the attributes asked for are 64 bits.
            let code = unsafe {
                (self.symbols.mem_pool_get_attribute)(
                    handle(pool.0),
                    attribute as c_uint,
                    (&raw mut bytes).cast(),
                )
            };
            self.check("cuMemPoolGetAttribute", code, format_args!("{pool}, {attribute:?}"))?;
            Ok(bytes)
        };
        Ok(PoolUsage {
            reserved_bytes: attribute(Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?,
            reserved_high_bytes: attribute(Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH)?,
            used_bytes: attribute(Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?,
            used_high_bytes: attribute(Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH)?,
        })
    }
}

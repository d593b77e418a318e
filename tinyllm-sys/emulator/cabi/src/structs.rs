//! Structures of the C interface, with plain numbers where the header has enumerations: a program may pass any number.

use std::ffi::c_void;

/// `CUmemLocation`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Location {
    pub(crate) kind: u32,
    pub(crate) ordinal: i32,
}

/// `CU_MEM_LOCATION_TYPE_DEVICE`.
pub(crate) const DEVICE: u32 = 1;
/// `CU_MEM_ALLOCATION_TYPE_PINNED`.
pub(crate) const PINNED: u32 = 1;
/// `CU_MEM_ACCESS_FLAGS_PROT_READWRITE`.
pub(crate) const READ_WRITE: u32 = 3;

/// `CUmemPoolProps`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolProps {
    pub(crate) kind: u32,
    pub(crate) handles: u32,
    pub(crate) location: Location,
    pub(crate) security: *const c_void,
    pub(crate) rest: [u8; 64],
}

/// `CUmemAllocationProp`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct AllocationProp {
    pub(crate) kind: u32,
    pub(crate) handles: u32,
    pub(crate) location: Location,
    pub(crate) metadata: *const c_void,
    pub(crate) flags: [u8; 8],
}

/// `CUmemAccessDesc`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct AccessDesc {
    pub(crate) location: Location,
    pub(crate) flags: u32,
}

/// `CUlaunchAttribute`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaunchAttribute {
    pub(crate) id: u32,
    pub(crate) pad: u32,
    pub(crate) value: [u64; 8],
}

/// `CUlaunchConfig`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) shared_bytes: u32,
    pub(crate) stream: u64,
    pub(crate) attributes: *const LaunchAttribute,
    pub(crate) attribute_count: u32,
}

/// `CUgraphExecUpdateResultInfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpdateResult {
    pub(crate) result: u32,
    pub(crate) error_node: u64,
    pub(crate) error_from_node: u64,
}

/// `CUDA_GRAPH_INSTANTIATE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct InstantiateParams {
    pub(crate) flags: u64,
    pub(crate) stream: u64,
    pub(crate) error_node: u64,
    pub(crate) result: u32,
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use cudarc::driver::sys;

    use super::*;

    /// Sizes and offsets against the bindings, which are made from the driver's header.
    macro_rules! same {
        ($($ours:ty = $theirs:ty { $($field:ident = $other:ident),* $(,)? })*) => {
            $(
                assert_eq!(size_of::<$ours>(), size_of::<$theirs>(), stringify!($theirs));
                $(assert_eq!(offset_of!($ours, $field), offset_of!($theirs, $other), stringify!($other));)*
            )*
        };
    }

    #[test]
    fn structures_are_those_of_the_header() {
        same! {
            Location = sys::CUmemLocation { kind = type_, ordinal = id }
            PoolProps = sys::CUmemPoolProps { kind = allocType, handles = handleTypes, location = location }
            AllocationProp = sys::CUmemAllocationProp { kind = type_, location = location, flags = allocFlags }
            AccessDesc = sys::CUmemAccessDesc { location = location, flags = flags }
            LaunchAttribute = sys::CUlaunchAttribute { id = id, value = value }
            Launch = sys::CUlaunchConfig {
                grid = gridDimX, block = blockDimX, shared_bytes = sharedMemBytes, stream = hStream,
                attributes = attrs, attribute_count = numAttrs,
            }
            UpdateResult = sys::CUgraphExecUpdateResultInfo {
                result = result, error_node = errorNode, error_from_node = errorFromNode,
            }
            InstantiateParams = sys::CUDA_GRAPH_INSTANTIATE_PARAMS {
                flags = flags, stream = hUploadStream, error_node = hErrNode_out, result = result_out,
            }
        }
        assert_eq!(DEVICE, sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE as u32);
        assert_eq!(PINNED, sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED as u32);
        assert_eq!(READ_WRITE, sys::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE as u32);
    }
}

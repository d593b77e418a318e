//! Enumerations that carry the driver's numbers, and the way back from a number.

/// Declares an enumeration with `number` and `from_number`.
macro_rules! numbered {
    ($(#[$meta:meta])* $name:ident: $number:ident; $($(#[$doc:meta])* $variant:ident = $value:literal,)*) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant = $value,)*
        }

        impl $name {
            /// All that are listed here, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The driver's number.
            pub const fn number(self) -> $number {
                self as $number
            }

            /// What the driver's number stands for; `None` for one that is not listed here.
            pub const fn from_number(number: $number) -> Option<Self> {
                match number {
                    $($value => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use numbered;

#[cfg(test)]
mod tests {
    use cudarc::driver::sys::{CUdevice_attribute as Device, CUfunction_attribute as Function, CUresult};

    use crate::{DeviceAttribute, DriverCode, FunctionAttribute};

    // From the bindings, which are made from the driver's header.

    const CODES: &[CUresult] = &[
        CUresult::CUDA_ERROR_INVALID_VALUE,
        CUresult::CUDA_ERROR_OUT_OF_MEMORY,
        CUresult::CUDA_ERROR_NOT_INITIALIZED,
        CUresult::CUDA_ERROR_DEINITIALIZED,
        CUresult::CUDA_ERROR_NO_DEVICE,
        CUresult::CUDA_ERROR_INVALID_DEVICE,
        CUresult::CUDA_ERROR_INVALID_IMAGE,
        CUresult::CUDA_ERROR_INVALID_CONTEXT,
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU,
        CUresult::CUDA_ERROR_INVALID_PTX,
        CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
        CUresult::CUDA_ERROR_INVALID_SOURCE,
        CUresult::CUDA_ERROR_INVALID_HANDLE,
        CUresult::CUDA_ERROR_ILLEGAL_STATE,
        CUresult::CUDA_ERROR_NOT_FOUND,
        CUresult::CUDA_ERROR_NOT_READY,
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS,
        CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES,
        CUresult::CUDA_ERROR_LAUNCH_TIMEOUT,
        CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED,
        CUresult::CUDA_ERROR_ASSERT,
        CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION,
        CUresult::CUDA_ERROR_MISALIGNED_ADDRESS,
        CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE,
        CUresult::CUDA_ERROR_INVALID_PC,
        CUresult::CUDA_ERROR_LAUNCH_FAILED,
        CUresult::CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE,
        CUresult::CUDA_ERROR_NOT_PERMITTED,
        CUresult::CUDA_ERROR_NOT_SUPPORTED,
        CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
        CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
        CUresult::CUDA_ERROR_STREAM_CAPTURE_MERGE,
        CUresult::CUDA_ERROR_STREAM_CAPTURE_UNMATCHED,
        CUresult::CUDA_ERROR_STREAM_CAPTURE_UNJOINED,
        CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION,
        CUresult::CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
        CUresult::CUDA_ERROR_CAPTURED_EVENT,
        CUresult::CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD,
        CUresult::CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE,
        CUresult::CUDA_ERROR_INVALID_CLUSTER_SIZE,
        CUresult::CUDA_ERROR_UNKNOWN,
    ];

    const DEVICE: &[Device] = &[
        Device::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK,
        Device::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X,
        Device::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y,
        Device::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z,
        Device::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X,
        Device::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y,
        Device::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z,
        Device::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK,
        Device::CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY,
        Device::CU_DEVICE_ATTRIBUTE_WARP_SIZE,
        Device::CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK,
        Device::CU_DEVICE_ATTRIBUTE_CLOCK_RATE,
        Device::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
        Device::CU_DEVICE_ATTRIBUTE_INTEGRATED,
        Device::CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY,
        Device::CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS,
        Device::CU_DEVICE_ATTRIBUTE_ECC_ENABLED,
        Device::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID,
        Device::CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID,
        Device::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE,
        Device::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH,
        Device::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE,
        Device::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR,
        Device::CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT,
        Device::CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING,
        Device::CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID,
        Device::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
        Device::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        Device::CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED,
        Device::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR,
        Device::CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR,
        Device::CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY,
        Device::CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS,
        Device::CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS,
        Device::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH,
        Device::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
        Device::CU_DEVICE_ATTRIBUTE_VIRTUAL_ADDRESS_MANAGEMENT_SUPPORTED,
        Device::CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR,
        Device::CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK,
        Device::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED,
        Device::CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH,
    ];

    const FUNCTION: &[Function] = &[
        Function::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK,
        Function::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES,
        Function::CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES,
        Function::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES,
        Function::CU_FUNC_ATTRIBUTE_NUM_REGS,
        Function::CU_FUNC_ATTRIBUTE_PTX_VERSION,
        Function::CU_FUNC_ATTRIBUTE_BINARY_VERSION,
        Function::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
        Function::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
        Function::CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED,
    ];

    /// A name of the header as one of ours would be, in lower case.
    fn plain(name: impl std::fmt::Debug, prefix: &str) -> String {
        let name = format!("{name:?}");
        name.strip_prefix(prefix).unwrap_or(&name).replace('_', "").to_lowercase()
    }

    #[test]
    fn codes_are_those_of_the_header() {
        assert_eq!(DriverCode::ALL.len(), CODES.len());
        for (code, header) in DriverCode::ALL.iter().zip(CODES) {
            assert_eq!((code.number(), code.name()), (*header as u32, format!("{header:?}").as_str()));
            assert_eq!(DriverCode::from_number(*header as u32), Some(*code));
        }
        assert_eq!(DriverCode::from_number(0), None);
    }

    #[test]
    fn attributes_are_those_of_the_header() {
        assert_eq!(
            (DeviceAttribute::ALL.len(), FunctionAttribute::ALL.len()),
            (DEVICE.len(), FUNCTION.len())
        );
        for (attribute, header) in DeviceAttribute::ALL.iter().zip(DEVICE) {
            assert_eq!(DeviceAttribute::from_number(*header as i32), Some(*attribute));
            // The header has number 102 under both words; the bindings keep the older one.
            let name = plain(header, "CU_DEVICE_ATTRIBUTE_").replace("virtualaddress", "virtualmemory");
            assert_eq!((attribute.number(), plain(attribute, "")), (*header as i32, name));
        }
        for (attribute, header) in FunctionAttribute::ALL.iter().zip(FUNCTION) {
            assert_eq!(FunctionAttribute::from_number(*header as i32), Some(*attribute));
            let name = plain(header, "CU_FUNC_ATTRIBUTE_");
            assert_eq!((attribute.number(), plain(attribute, "")), (*header as i32, name));
        }
        assert_eq!((DeviceAttribute::from_number(0), FunctionAttribute::from_number(7)), (None, None));
    }
}

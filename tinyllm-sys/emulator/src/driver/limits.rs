//! The device that is emulated: its limits are those of an A100.

use tinyllm_sys::{CudaVersion, DeviceAttribute};

/// The version of CUDA that the driver reports.
pub(super) const VERSION: CudaVersion = CudaVersion(12_000);

/// What the device is called.
pub(super) const NAME: &str = "Tiny-LLM emulated GPU (sm_80)";

pub(super) const MULTIPROCESSORS: u32 = 108;
pub(super) const THREADS_OF_BLOCK: u32 = 1024;
pub(super) const THREADS_OF_MULTIPROCESSOR: u32 = 2048;
pub(super) const BLOCKS_OF_MULTIPROCESSOR: u32 = 32;
pub(super) const BLOCK_DIMS: [u32; 3] = [1024, 1024, 64];
pub(super) const GRID_DIMS: [u32; 3] = [0x7fff_ffff, 65_535, 65_535];
/// Shared memory of a block without asking for more.
pub(super) const SHARED_OF_BLOCK: u32 = 48 << 10;
/// Shared memory of a block that asks for more.
pub(super) const SHARED_OPTIN: u32 = 163 << 10;
pub(super) const SHARED_OF_MULTIPROCESSOR: u32 = 164 << 10;
/// What the driver keeps of each block's.
pub(super) const SHARED_RESERVED: u32 = 1 << 10;
pub(super) const REGISTERS_OF_MULTIPROCESSOR: u32 = 65_536;
/// What `cuFuncGetAttribute` answers for registers: interpreted kernels have no number of them.
pub(super) const REGISTERS_OF_THREAD: u32 = 32;

pub(super) fn attribute(attribute: DeviceAttribute, ordinal: usize) -> i32 {
    use DeviceAttribute::*;
    match attribute {
        MaxThreadsPerBlock => THREADS_OF_BLOCK as i32,
        MaxBlockDimX => BLOCK_DIMS[0] as i32,
        MaxBlockDimY => BLOCK_DIMS[1] as i32,
        MaxBlockDimZ => BLOCK_DIMS[2] as i32,
        MaxGridDimX => GRID_DIMS[0] as i32,
        MaxGridDimY => GRID_DIMS[1] as i32,
        MaxGridDimZ => GRID_DIMS[2] as i32,
        MaxSharedMemoryPerBlock => SHARED_OF_BLOCK as i32,
        TotalConstantMemory => 64 << 10,
        WarpSize => 32,
        MaxRegistersPerBlock | MaxRegistersPerMultiprocessor => REGISTERS_OF_MULTIPROCESSOR as i32,
        ClockRate => 1_410_000,
        MultiprocessorCount => MULTIPROCESSORS as i32,
        MemoryClockRate => 1_215_000,
        GlobalMemoryBusWidth => 5120,
        L2CacheSize => 40 << 20,
        MaxThreadsPerMultiprocessor => THREADS_OF_MULTIPROCESSOR as i32,
        AsyncEngineCount => 3,
        PciBusId => ordinal as i32 + 1,
        ComputeCapabilityMajor => 8,
        MaxSharedMemoryPerMultiprocessor => SHARED_OF_MULTIPROCESSOR as i32,
        MaxSharedMemoryPerBlockOptin => SHARED_OPTIN as i32,
        MaxBlocksPerMultiprocessor => BLOCKS_OF_MULTIPROCESSOR as i32,
        ReservedSharedMemoryPerBlock => SHARED_RESERVED as i32,
        CanMapHostMemory
        | ConcurrentKernels
        | UnifiedAddressing
        | StreamPrioritiesSupported
        | CooperativeLaunch
        | VirtualMemoryManagementSupported
        | MemoryPoolsSupported => 1,
        // No error correction, no managed memory, no clusters: and what later lists add.
        _ => 0,
    }
}

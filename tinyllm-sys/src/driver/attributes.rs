//! What can be asked of a device and of a function, numbered as in `cuda.h`.

use crate::numbered::numbered;

numbered! {
    /// A property of a device, numbered as `CUdevice_attribute`.
    DeviceAttribute: i32;
    /// Threads of a block, at most.
    MaxThreadsPerBlock = 1,
    /// A block's first dimension, at most.
    MaxBlockDimX = 2,
    /// A block's second dimension, at most.
    MaxBlockDimY = 3,
    /// A block's third dimension, at most.
    MaxBlockDimZ = 4,
    /// A grid's first dimension, at most.
    MaxGridDimX = 5,
    /// A grid's second dimension, at most.
    MaxGridDimY = 6,
    /// A grid's third dimension, at most.
    MaxGridDimZ = 7,
    /// Bytes of shared memory that a block can have without asking for more.
    MaxSharedMemoryPerBlock = 8,
    /// Bytes of constant memory.
    TotalConstantMemory = 9,
    /// Threads of a warp.
    WarpSize = 10,
    /// 32-bit registers of a block, at most.
    MaxRegistersPerBlock = 12,
    /// Peak clock in kHz.
    ClockRate = 13,
    /// Streaming multiprocessors.
    MultiprocessorCount = 16,
    /// 1 where the device shares the host's memory.
    Integrated = 18,
    /// 1 where page-locked host memory can be mapped.
    CanMapHostMemory = 19,
    /// 1 where kernels can run at the same time.
    ConcurrentKernels = 31,
    /// 1 where memory is protected by error correction.
    EccEnabled = 32,
    /// The bus of the device.
    PciBusId = 33,
    /// The slot of the device.
    PciDeviceId = 34,
    /// Peak clock of the memory in kHz.
    MemoryClockRate = 36,
    /// Width of the memory's bus in bits.
    GlobalMemoryBusWidth = 37,
    /// Bytes of the second-level cache.
    L2CacheSize = 38,
    /// Threads that a multiprocessor can hold.
    MaxThreadsPerMultiprocessor = 39,
    /// Engines that copy beside kernels.
    AsyncEngineCount = 40,
    /// 1 where host and device share one address space.
    UnifiedAddressing = 41,
    /// The domain of the bus.
    PciDomainId = 50,
    /// The 9 of compute capability 9.0.
    ComputeCapabilityMajor = 75,
    /// The 0 of compute capability 9.0.
    ComputeCapabilityMinor = 76,
    /// 1 where streams can have priorities.
    StreamPrioritiesSupported = 78,
    /// Bytes of shared memory of a multiprocessor.
    MaxSharedMemoryPerMultiprocessor = 81,
    /// 32-bit registers of a multiprocessor.
    MaxRegistersPerMultiprocessor = 82,
    /// 1 where managed memory works.
    ManagedMemory = 83,
    /// 1 where a device can read the host's ordinary memory.
    PageableMemoryAccess = 88,
    /// 1 where host and device can use managed memory at the same time.
    ConcurrentManagedAccess = 89,
    /// 1 where all blocks of a grid can wait for each other.
    CooperativeLaunch = 95,
    /// Bytes of shared memory that a block can have after
    /// [`FunctionAttribute::MaxDynamicSharedSizeBytes`] was set.
    MaxSharedMemoryPerBlockOptin = 97,
    /// 1 where addresses can be reserved and mapped.
    VirtualMemoryManagementSupported = 102,
    /// Blocks that a multiprocessor can hold.
    MaxBlocksPerMultiprocessor = 106,
    /// Bytes of shared memory that the driver keeps of each block.
    ReservedSharedMemoryPerBlock = 111,
    /// 1 where `cuMemAllocAsync` works.
    MemoryPoolsSupported = 115,
    /// 1 where blocks can be launched in clusters.
    ClusterLaunch = 120,
}

numbered! {
    /// A property of a function, numbered as `CUfunction_attribute`.
    FunctionAttribute: i32;
    /// Threads of a block, at most, for this function on this device.
    MaxThreadsPerBlock = 0,
    /// Bytes of shared memory that the function declares.
    SharedSizeBytes = 1,
    /// Bytes of constant memory that the function declares.
    ConstSizeBytes = 2,
    /// Bytes of local memory of each thread.
    LocalSizeBytes = 3,
    /// Registers of each thread.
    NumRegs = 4,
    /// The version of its PTX: 10 times the major, plus the minor.
    PtxVersion = 5,
    /// The architecture that it is compiled for: 10 times the major, plus the minor.
    BinaryVersion = 6,
    /// Bytes of shared memory that a launch may ask for. Can be set.
    MaxDynamicSharedSizeBytes = 8,
    /// The percentage of the first-level cache that is preferred as shared memory. Can be set.
    PreferredSharedMemoryCarveout = 9,
    /// 1 where clusters larger than 8 are allowed. Can be set.
    NonPortableClusterSizeAllowed = 14,
}

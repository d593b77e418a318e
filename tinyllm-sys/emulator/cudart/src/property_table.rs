//! Where `cudaDeviceProp` has which attribute of the device: the layout of CUDA 12 (`cudaGetDeviceProperties_v2`) and that of
//! CUDA 13, which dropped some fields and added others.

/// Bytes of the whole structure.
pub(crate) const BYTES_12: usize = 1032;
/// As above.
pub(crate) const BYTES_13: usize = 1008;

/// Fields that both layouts begin with: the name, 16 bytes of UUID, and the bytes of the device's memory.
pub(crate) const NAME_BYTES: usize = 256;
/// As above.
pub(crate) const UUID_AT: usize = 256;
/// As above.
pub(crate) const TOTAL_MEMORY_AT: usize = 288;

/// How wide a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `int`.
    Int,
    /// `size_t`.
    Size,
}
use Kind::{Int, Size};

/// A field, or as many in a row as there are attributes.
#[derive(Debug)]
pub(crate) struct Field {
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "names the field for readers and for the test of the layout")
    )]
    pub(crate) name: &'static str,
    /// Byte in the structure of CUDA 12, where it has the field.
    pub(crate) in_12: Option<usize>,
    /// Byte in the structure of CUDA 13.
    pub(crate) in_13: Option<usize>,
    pub(crate) kind: Kind,
    /// `CUdevice_attribute` of each number.
    pub(crate) attributes: &'static [i32],
}

/// In the order of the structure.
#[rustfmt::skip]
pub(crate) const FIELDS: &[Field] = &[
    Field { name: "sharedMemPerBlock", in_12: Some(296), in_13: Some(296), kind: Size, attributes: &[8] },
    Field { name: "regsPerBlock", in_12: Some(304), in_13: Some(304), kind: Int, attributes: &[12] },
    Field { name: "warpSize", in_12: Some(308), in_13: Some(308), kind: Int, attributes: &[10] },
    Field { name: "memPitch", in_12: Some(312), in_13: Some(312), kind: Size, attributes: &[11] },
    Field { name: "maxThreadsPerBlock", in_12: Some(320), in_13: Some(320), kind: Int, attributes: &[1] },
    Field { name: "maxThreadsDim", in_12: Some(324), in_13: Some(324), kind: Int, attributes: &[2, 3, 4] },
    Field { name: "maxGridSize", in_12: Some(336), in_13: Some(336), kind: Int, attributes: &[5, 6, 7] },
    Field { name: "clockRate", in_12: Some(348), in_13: None, kind: Int, attributes: &[13] },
    Field { name: "totalConstMem", in_12: Some(352), in_13: Some(352), kind: Size, attributes: &[9] },
    Field { name: "major", in_12: Some(360), in_13: Some(360), kind: Int, attributes: &[75] },
    Field { name: "minor", in_12: Some(364), in_13: Some(364), kind: Int, attributes: &[76] },
    Field { name: "textureAlignment", in_12: Some(368), in_13: Some(368), kind: Size, attributes: &[14] },
    Field { name: "texturePitchAlignment", in_12: Some(376), in_13: Some(376), kind: Size, attributes: &[51] },
    Field { name: "deviceOverlap", in_12: Some(384), in_13: None, kind: Int, attributes: &[15] },
    Field { name: "multiProcessorCount", in_12: Some(388), in_13: Some(384), kind: Int, attributes: &[16] },
    Field { name: "kernelExecTimeoutEnabled", in_12: Some(392), in_13: None, kind: Int, attributes: &[17] },
    Field { name: "integrated", in_12: Some(396), in_13: Some(388), kind: Int, attributes: &[18] },
    Field { name: "canMapHostMemory", in_12: Some(400), in_13: Some(392), kind: Int, attributes: &[19] },
    Field { name: "computeMode", in_12: Some(404), in_13: None, kind: Int, attributes: &[20] },
    Field { name: "maxTexture1D", in_12: Some(408), in_13: Some(396), kind: Int, attributes: &[21] },
    Field { name: "maxTexture1DMipmap", in_12: Some(412), in_13: Some(400), kind: Int, attributes: &[77] },
    Field { name: "maxTexture1DLinear", in_12: Some(416), in_13: None, kind: Int, attributes: &[69] },
    Field { name: "maxTexture2D", in_12: Some(420), in_13: Some(404), kind: Int, attributes: &[22, 23] },
    Field { name: "maxTexture2DMipmap", in_12: Some(428), in_13: Some(412), kind: Int, attributes: &[73, 74] },
    Field { name: "maxTexture2DLinear", in_12: Some(436), in_13: Some(420), kind: Int, attributes: &[70, 71, 72] },
    Field { name: "maxTexture2DGather", in_12: Some(448), in_13: Some(432), kind: Int, attributes: &[45, 46] },
    Field { name: "maxTexture3D", in_12: Some(456), in_13: Some(440), kind: Int, attributes: &[24, 25, 26] },
    Field { name: "maxTexture3DAlt", in_12: Some(468), in_13: Some(452), kind: Int, attributes: &[47, 48, 49] },
    Field { name: "maxTextureCubemap", in_12: Some(480), in_13: Some(464), kind: Int, attributes: &[52] },
    Field { name: "maxTexture1DLayered", in_12: Some(484), in_13: Some(468), kind: Int, attributes: &[42, 43] },
    Field { name: "maxTexture2DLayered", in_12: Some(492), in_13: Some(476), kind: Int, attributes: &[27, 28, 29] },
    Field { name: "maxTextureCubemapLayered", in_12: Some(504), in_13: Some(488), kind: Int, attributes: &[53, 54] },
    Field { name: "maxSurface1D", in_12: Some(512), in_13: Some(496), kind: Int, attributes: &[55] },
    Field { name: "maxSurface2D", in_12: Some(516), in_13: Some(500), kind: Int, attributes: &[56, 57] },
    Field { name: "maxSurface3D", in_12: Some(524), in_13: Some(508), kind: Int, attributes: &[58, 59, 60] },
    Field { name: "maxSurface1DLayered", in_12: Some(536), in_13: Some(520), kind: Int, attributes: &[61, 62] },
    Field { name: "maxSurface2DLayered", in_12: Some(544), in_13: Some(528), kind: Int, attributes: &[63, 64, 65] },
    Field { name: "maxSurfaceCubemap", in_12: Some(556), in_13: Some(540), kind: Int, attributes: &[66] },
    Field { name: "maxSurfaceCubemapLayered", in_12: Some(560), in_13: Some(544), kind: Int, attributes: &[67, 68] },
    Field { name: "surfaceAlignment", in_12: Some(568), in_13: Some(552), kind: Size, attributes: &[30] },
    Field { name: "concurrentKernels", in_12: Some(576), in_13: Some(560), kind: Int, attributes: &[31] },
    Field { name: "ECCEnabled", in_12: Some(580), in_13: Some(564), kind: Int, attributes: &[32] },
    Field { name: "pciBusID", in_12: Some(584), in_13: Some(568), kind: Int, attributes: &[33] },
    Field { name: "pciDeviceID", in_12: Some(588), in_13: Some(572), kind: Int, attributes: &[34] },
    Field { name: "pciDomainID", in_12: Some(592), in_13: Some(576), kind: Int, attributes: &[50] },
    Field { name: "tccDriver", in_12: Some(596), in_13: Some(580), kind: Int, attributes: &[35] },
    Field { name: "asyncEngineCount", in_12: Some(600), in_13: Some(584), kind: Int, attributes: &[40] },
    Field { name: "unifiedAddressing", in_12: Some(604), in_13: Some(588), kind: Int, attributes: &[41] },
    Field { name: "memoryClockRate", in_12: Some(608), in_13: None, kind: Int, attributes: &[36] },
    Field { name: "memoryBusWidth", in_12: Some(612), in_13: Some(592), kind: Int, attributes: &[37] },
    Field { name: "l2CacheSize", in_12: Some(616), in_13: Some(596), kind: Int, attributes: &[38] },
    Field { name: "persistingL2CacheMaxSize", in_12: Some(620), in_13: Some(600), kind: Int, attributes: &[108] },
    Field { name: "maxThreadsPerMultiProcessor", in_12: Some(624), in_13: Some(604), kind: Int, attributes: &[39] },
    Field { name: "streamPrioritiesSupported", in_12: Some(628), in_13: Some(608), kind: Int, attributes: &[78] },
    Field { name: "globalL1CacheSupported", in_12: Some(632), in_13: Some(612), kind: Int, attributes: &[79] },
    Field { name: "localL1CacheSupported", in_12: Some(636), in_13: Some(616), kind: Int, attributes: &[80] },
    Field { name: "sharedMemPerMultiprocessor", in_12: Some(640), in_13: Some(624), kind: Size, attributes: &[81] },
    Field { name: "regsPerMultiprocessor", in_12: Some(648), in_13: Some(632), kind: Int, attributes: &[82] },
    Field { name: "managedMemory", in_12: Some(652), in_13: Some(636), kind: Int, attributes: &[83] },
    Field { name: "isMultiGpuBoard", in_12: Some(656), in_13: Some(640), kind: Int, attributes: &[84] },
    Field { name: "multiGpuBoardGroupID", in_12: Some(660), in_13: Some(644), kind: Int, attributes: &[85] },
    Field { name: "hostNativeAtomicSupported", in_12: Some(664), in_13: Some(648), kind: Int, attributes: &[86] },
    Field { name: "singleToDoublePrecisionPerfRatio", in_12: Some(668), in_13: None, kind: Int, attributes: &[87] },
    Field { name: "pageableMemoryAccess", in_12: Some(672), in_13: Some(652), kind: Int, attributes: &[88] },
    Field { name: "concurrentManagedAccess", in_12: Some(676), in_13: Some(656), kind: Int, attributes: &[89] },
    Field { name: "computePreemptionSupported", in_12: Some(680), in_13: Some(660), kind: Int, attributes: &[90] },
    Field { name: "canUseHostPointerForRegisteredMem", in_12: Some(684), in_13: Some(664), kind: Int, attributes: &[91] },
    Field { name: "cooperativeLaunch", in_12: Some(688), in_13: Some(668), kind: Int, attributes: &[95] },
    Field { name: "cooperativeMultiDeviceLaunch", in_12: Some(692), in_13: None, kind: Int, attributes: &[96] },
    Field { name: "sharedMemPerBlockOptin", in_12: Some(696), in_13: Some(672), kind: Size, attributes: &[97] },
    Field { name: "pageableMemoryAccessUsesHostPageTables", in_12: Some(704), in_13: Some(680), kind: Int, attributes: &[100] },
    Field { name: "directManagedMemAccessFromHost", in_12: Some(708), in_13: Some(684), kind: Int, attributes: &[101] },
    Field { name: "maxBlocksPerMultiProcessor", in_12: Some(712), in_13: Some(688), kind: Int, attributes: &[106] },
    Field { name: "accessPolicyMaxWindowSize", in_12: Some(716), in_13: Some(692), kind: Int, attributes: &[109] },
    Field { name: "reservedSharedMemPerBlock", in_12: Some(720), in_13: Some(696), kind: Size, attributes: &[111] },
    Field { name: "hostRegisterSupported", in_12: Some(728), in_13: Some(704), kind: Int, attributes: &[99] },
    Field { name: "sparseCudaArraySupported", in_12: Some(732), in_13: Some(708), kind: Int, attributes: &[112] },
    Field { name: "hostRegisterReadOnlySupported", in_12: Some(736), in_13: Some(712), kind: Int, attributes: &[113] },
    Field { name: "timelineSemaphoreInteropSupported", in_12: Some(740), in_13: Some(716), kind: Int, attributes: &[114] },
    Field { name: "memoryPoolsSupported", in_12: Some(744), in_13: Some(720), kind: Int, attributes: &[115] },
    Field { name: "gpuDirectRDMASupported", in_12: Some(748), in_13: Some(724), kind: Int, attributes: &[116] },
    Field { name: "gpuDirectRDMAFlushWritesOptions", in_12: Some(752), in_13: Some(728), kind: Int, attributes: &[117] },
    Field { name: "gpuDirectRDMAWritesOrdering", in_12: Some(756), in_13: Some(732), kind: Int, attributes: &[118] },
    Field { name: "memoryPoolSupportedHandleTypes", in_12: Some(760), in_13: Some(736), kind: Int, attributes: &[119] },
    Field { name: "deferredMappingCudaArraySupported", in_12: Some(764), in_13: Some(740), kind: Int, attributes: &[121] },
    Field { name: "ipcEventSupported", in_12: Some(768), in_13: Some(744), kind: Int, attributes: &[125] },
    Field { name: "clusterLaunch", in_12: Some(772), in_13: Some(748), kind: Int, attributes: &[120] },
    Field { name: "unifiedFunctionPointers", in_12: Some(776), in_13: Some(752), kind: Int, attributes: &[129] },
    Field { name: "deviceNumaConfig", in_12: None, in_13: Some(756), kind: Int, attributes: &[130] },
    Field { name: "deviceNumaId", in_12: None, in_13: Some(760), kind: Int, attributes: &[131] },
    Field { name: "mpsEnabled", in_12: None, in_13: Some(764), kind: Int, attributes: &[133] },
    Field { name: "hostNumaId", in_12: None, in_13: Some(768), kind: Int, attributes: &[134] },
    Field { name: "gpuPciDeviceID", in_12: None, in_13: Some(772), kind: Int, attributes: &[139] },
    Field { name: "gpuPciSubsystemID", in_12: None, in_13: Some(776), kind: Int, attributes: &[140] },
    Field { name: "hostNumaMultinodeIpcSupported", in_12: None, in_13: Some(780), kind: Int, attributes: &[143] },
];

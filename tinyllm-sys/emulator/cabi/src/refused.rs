//! Calls that programs look for and that answer `CUDA_ERROR_NOT_SUPPORTED`: the emulator has nothing for them. What is not even
//! here is not found.

use tinyllm_sys::DriverCode;

/// Declares calls by name. Their arguments are not looked at: in the C interface the caller clears them away.
macro_rules! refused {
    ($($name:ident)*) => {
        $(
            // SAFETY: no other library of a process that has this one defines the driver's calls.
            #[unsafe(no_mangle)]
            #[allow(non_snake_case)]
            extern "C" fn $name() -> u32 {
                $crate::result::answer(stringify!($name), || Err(DriverCode::NotSupported.into()))
            }
        )*

        /// The address of a call of this group.
        pub(crate) fn find(name: &str) -> Option<*const std::ffi::c_void> {
            Some(match name {
                $(stringify!($name) => $name as *const std::ffi::c_void,)*
                _ => return None,
            })
        }
    };
}

refused! {
    cuMemAllocManaged cuMemHostRegister cuMemHostRegister_v2 cuMemHostUnregister cuMemAdvise cuMemAdvise_v2
    cuMemPrefetchAsync cuMemPrefetchAsync_v2 cuMemRangeGetAttribute cuMemRangeGetAttributes
    cuStreamAttachMemAsync cuStreamWriteValue32 cuStreamWriteValue32_v2
    cuStreamWaitValue32 cuStreamWaitValue32_v2 cuStreamWriteValue64_v2 cuStreamWaitValue64_v2
    cuStreamBatchMemOp_v2 cuThreadExchangeStreamCaptureMode cuStreamUpdateCaptureDependencies
    cuStreamBeginCaptureToGraph cuStreamGetAttribute cuStreamSetAttribute cuStreamCopyAttributes
    cuMemcpy2D_v2 cuMemcpy2DUnaligned_v2 cuMemcpy2DAsync_v2 cuMemcpy3D_v2 cuMemcpy3DAsync_v2 cuMemcpy3DPeer
    cuMemcpy3DPeerAsync cuMemsetD2D8_v2 cuMemsetD2D16_v2 cuMemsetD2D32_v2 cuMemsetD2D8Async
    cuMemsetD2D16Async cuMemsetD2D32Async cuMemcpyAtoA_v2 cuMemcpyAtoD_v2 cuMemcpyAtoH_v2 cuMemcpyDtoA_v2
    cuMemcpyHtoA_v2 cuArrayCreate_v2 cuArrayDestroy cuArray3DCreate_v2 cuMipmappedArrayCreate
    cuMipmappedArrayDestroy cuTexObjectCreate cuTexObjectDestroy cuSurfObjectCreate cuSurfObjectDestroy
    cuModuleGetTexRef cuModuleGetSurfRef cuModuleGetFunctionCount cuModuleEnumerateFunctions
    cuLibraryGetManaged cuLibraryGetUnifiedFunction cuLibraryGetKernelCount cuLibraryEnumerateKernels
    cuKernelGetName cuFuncGetName cuFuncGetModule cuIpcGetMemHandle cuIpcOpenMemHandle cuIpcOpenMemHandle_v2
    cuIpcCloseMemHandle cuIpcGetEventHandle cuIpcOpenEventHandle cuMemExportToShareableHandle
    cuMemImportFromShareableHandle cuMemRetainAllocationHandle cuMemGetAllocationPropertiesFromHandle
    cuMemGetHandleForAddressRange cuMemPoolExportToShareableHandle cuMemPoolImportFromShareableHandle
    cuMemPoolExportPointer cuMemPoolImportPointer cuMemMapArrayAsync cuImportExternalMemory
    cuExternalMemoryGetMappedBuffer cuDestroyExternalMemory cuImportExternalSemaphore
    cuDestroyExternalSemaphore cuSignalExternalSemaphoresAsync cuWaitExternalSemaphoresAsync
    cuCtxEnablePeerAccess cuCtxDisablePeerAccess cuCtxAttach cuCtxDetach cuCtxGetExecAffinity
    cuCtxRecordEvent cuCtxWaitEvent cuDeviceGetLuid cuDeviceGetProperties cuDeviceGetTexture1DLinearMaxWidth
    cuDeviceGetGraphMemAttribute cuDeviceSetGraphMemAttribute cuDeviceGraphMemTrim cuGetExportTable cuLaunch
    cuLaunchGrid cuLaunchGridAsync cuLaunchCooperativeKernelMultiDevice cuFuncSetBlockShape cuParamSetSize
    cuOccupancyMaxPotentialClusterSize cuOccupancyMaxActiveClusters cuGraphCreate cuGraphClone
    cuGraphAddKernelNode cuGraphAddKernelNode_v2 cuGraphAddMemcpyNode cuGraphAddMemsetNode
    cuGraphAddHostNode cuGraphAddEmptyNode cuGraphAddChildGraphNode cuGraphAddDependencies
    cuGraphAddMemAllocNode cuGraphAddMemFreeNode cuGraphAddEventRecordNode cuGraphAddEventWaitNode
    cuGraphAddNode cuGraphAddNode_v2 cuGraphGetNodes cuGraphGetRootNodes cuGraphGetEdges cuGraphNodeGetType
    cuGraphKernelNodeGetParams cuGraphKernelNodeGetParams_v2 cuGraphKernelNodeSetParams
    cuGraphKernelNodeSetParams_v2 cuGraphExecKernelNodeSetParams cuGraphExecKernelNodeSetParams_v2
    cuGraphDestroyNode cuGraphDebugDotPrint cuGraphConditionalHandleCreate cuUserObjectCreate
    cuUserObjectRetain cuUserObjectRelease cuGraphRetainUserObject cuGraphReleaseUserObject
    cuTensorMapEncodeTiled cuGreenCtxCreate cuDeviceGetDevResource cuCtxFromGreenCtx cuMulticastCreate
    cuCoredumpGetAttribute cuCoredumpSetAttribute
}

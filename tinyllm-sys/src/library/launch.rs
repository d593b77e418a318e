//! Launching kernels: the plain call, and the one with attributes.

use std::ffi::{c_uint, c_void};

use cudarc::driver::sys::{
    CUlaunchAttribute, CUlaunchAttributeID, CUlaunchAttributeValue,
    CUlaunchAttributeValue_union__bindgen_ty_1, CUlaunchConfig,
};

use super::{LibCuda, handle};
use crate::{DriverError, FunctionHandle, LaunchConfig, StreamHandle};

impl LibCuda {
    /// A launch.
    ///
    /// # Safety
    /// As [`crate::DriverApi::launch_kernel`].
    pub(super) unsafe fn launch(
        &self,
        function: FunctionHandle,
        config: &LaunchConfig,
        stream: StreamHandle,
        params: &[*mut c_void],
    ) -> Result<(), DriverError> {
        let [grid_x, grid_y, grid_z] = config.grid;
        let [block_x, block_y, block_z] = config.block;
        // The driver reads the addresses and writes none.
        let params = params.as_ptr().cast_mut();
        let arguments = format_args!(
            "{function}, grid {:?}, block {:?}, {} shared bytes, {stream}",
            config.grid, config.block, config.shared_bytes
        );
        if config.is_plain() {
            // SAFETY: the caller's promise.
            let code = unsafe {
                (self.symbols.launch_kernel)(
                    handle(function.0),
                    grid_x,
                    grid_y,
                    grid_z,
                    block_x,
                    block_y,
                    block_z,
                    config.shared_bytes,
                    handle(stream.0),
                    params,
                    std::ptr::null_mut(),
                )
            };
            return self.check("cuLaunchKernel", code, arguments);
        }
        let mut attributes = attributes(config);
        let launch = CUlaunchConfig {
            gridDimX: grid_x,
            gridDimY: grid_y,
            gridDimZ: grid_z,
            blockDimX: block_x,
            blockDimY: block_y,
            blockDimZ: block_z,
            sharedMemBytes: config.shared_bytes,
            hStream: handle(stream.0),
            attrs: attributes.as_mut_ptr(),
            numAttrs: attributes.len() as c_uint,
        };
        // SAFETY: the caller's promise; reads the configuration and its attributes.
        let code = unsafe {
            (self.symbols.launch_kernel_ex)(
                &raw const launch,
                handle(function.0),
                params,
                std::ptr::null_mut(),
            )
        };
        self.check(
            "cuLaunchKernelEx",
            code,
            format_args!("{arguments}, cooperative {}, cluster {:?}", config.cooperative, config.cluster),
        )
    }
}

/// Attributes that the plain call has no parameter for.
fn attributes(config: &LaunchConfig) -> Vec<CUlaunchAttribute> {
    let attribute = |id, set: &dyn Fn(&mut CUlaunchAttributeValue)| {
        let mut value = CUlaunchAttributeValue { pad: [0; 64] };
        set(&mut value);
        CUlaunchAttribute { id, pad: [0; 4], value }
    };
    let mut attributes = Vec::new();
    if config.cooperative {
        let id = CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
        attributes.push(attribute(id, &|value| value.cooperative = 1));
    }
    if let Some([x, y, z]) = config.cluster {
        let id = CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
        let cluster = CUlaunchAttributeValue_union__bindgen_ty_1 { x, y, z };
        attributes.push(attribute(id, &|value| value.clusterDim = cluster));
    }
    attributes
}

//! Modules of PTX, loaded where one of their kernels is first launched, and the functions in them.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fmt,
    sync::{Mutex, PoisonError},
};

use tinyllm_mem::{Context, MemError};
use tinyllm_sys::{FunctionAttribute, FunctionHandle, ModuleHandle};

use crate::KernelError;

/// Shared memory that a block may have without being asked for.
const DEFAULT_SHARED_BYTES: u32 = 48 << 10;

macro_rules! kernels {
    ($($file:literal: $($kernel:ident = $name:literal),+;)+) => {
        /// A kernel.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(in crate::cuda) enum Kernel {
            $($($kernel,)+)+
        }

        impl Kernel {
            /// The function's name in its PTX.
            pub(in crate::cuda) const fn name(self) -> &'static str {
                match self {
                    $($(Kernel::$kernel => $name,)+)+
                }
            }

            /// Its PTX, and the name of that file.
            const fn source(self) -> (&'static str, &'static str) {
                match self {
                    $($(Kernel::$kernel)|+ => ($file, include_str!(concat!("../../../ptx/", $file))),)+
                }
            }
        }
    };
}

kernels! {
    "activations.ptx":
        RmsNorm = "rms_norm", RmsNormRounded = "rms_norm_rounded", RoundRows = "round_rows", GatherRows = "gather_rows";
    "attention.ptx":
        AttentionRowsF16 = "attention_rows_f16", AttentionRowsF32 = "attention_rows_f32",
        AttentionRowsInt8 = "attention_rows_int8", AttentionSegmentsF16 = "attention_segments_f16",
        AttentionSegmentsF32 = "attention_segments_f32", AttentionSegmentsInt8 = "attention_segments_int8",
        AttentionMerge = "attention_merge";
    "embed.ptx": EmbedInt8 = "embed_int8", EmbedFloats = "embed_floats";
    "matmul_floats.ptx":
        MatmulF16Row = "matmul_f16_1", MatmulF16Rows = "matmul_f16_8", MatmulF32Row = "matmul_f32_1",
        MatmulF32Rows = "matmul_f32_8";
    "matmul_prompt.ptx": MatmulPrompt = "matmul_prompt";
    "matmul_rows.ptx":
        MatmulRows8 = "matmul_rows_8", MatmulRows16 = "matmul_rows_16", MatmulRows32 = "matmul_rows_32",
        MatmulRows64 = "matmul_rows_64";
    "peak.ptx": Int8Peak = "int8_peak";
    "repack.ptx": RepackInt8 = "repack_int8", RepackScales = "repack_scales", RepackFloats = "repack_floats";
    "rope_cache.ptx":
        RopeCacheF16 = "rope_cache_f16", RopeCacheF32 = "rope_cache_f32", RopeCacheInt8 = "rope_cache_int8";
}

/// The kernels of a device, unloaded when this is dropped.
pub(in crate::cuda) struct Kernels {
    context: Context,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    /// By the file's name.
    modules: BTreeMap<&'static str, ModuleHandle>,
    /// Each with the shared memory that it may have.
    functions: BTreeMap<Kernel, (FunctionHandle, u32)>,
}

impl Kernels {
    pub(in crate::cuda) fn new(context: &Context) -> Self {
        Kernels { context: context.clone(), loaded: Mutex::default() }
    }

    pub(in crate::cuda) fn context(&self) -> &Context {
        &self.context
    }

    /// The function of a kernel, which may have so much shared memory.
    ///
    /// # Errors
    /// The driver's, where it does not take the PTX or has not so much shared memory.
    pub(super) fn function(&self, kernel: Kernel, shared_bytes: u32) -> Result<FunctionHandle, KernelError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let (function, allowed) = match loaded.functions.get(&kernel) {
            Some(found) => *found,
            None => (self.load(&mut loaded, kernel)?, DEFAULT_SHARED_BYTES),
        };
        if shared_bytes > allowed {
            let attribute = FunctionAttribute::MaxDynamicSharedSizeBytes;
            // SAFETY: the function's module is loaded until this is dropped.
            let set = self.context.call(|driver| unsafe {
                driver.function_set_attribute(function, attribute, shared_bytes as i32)
            });
            set.map_err(|error| failed(kernel.name(), error))?;
        }
        loaded.functions.insert(kernel, (function, allowed.max(shared_bytes)));
        Ok(function)
    }

    fn load(&self, loaded: &mut Loaded, kernel: Kernel) -> Result<FunctionHandle, KernelError> {
        let (file, ptx) = kernel.source();
        let module = match loaded.modules.get(file) {
            Some(module) => *module,
            None => {
                let text = c_string(ptx)?;
                let module = self.context.call(|driver| driver.module_load_data(&text));
                let module = module.map_err(|error| failed(file, error))?;
                loaded.modules.insert(file, module);
                module
            }
        };
        let name = c_string(kernel.name())?;
        // SAFETY: the module was loaded by this driver, and lives until this is dropped.
        let function = self.context.call(|driver| unsafe { driver.module_get_function(module, &name) });
        function.map_err(|error| failed(kernel.name(), error))
    }
}

fn c_string(text: &str) -> Result<CString, KernelError> {
    CString::new(text)
        .map_err(|_| KernelError::Invalid { what: "PTX", problem: "it has a zero in it".into() })
}

fn failed(name: &str, error: tinyllm_sys::DriverError) -> KernelError {
    MemError::Driver { name: name.into(), error }.into()
}

impl Drop for Kernels {
    fn drop(&mut self) {
        let loaded = self.loaded.get_mut().unwrap_or_else(PoisonError::into_inner);
        for module in std::mem::take(&mut loaded.modules).into_values() {
            // SAFETY: loaded once in `load`; sessions wait for their work before they drop this. What the driver refuses
            // here would be refused by the context's next call too.
            let _ = self.context.call(|driver| unsafe { driver.module_unload(module) });
        }
    }
}

impl fmt::Debug for Kernels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Kernels").finish_non_exhaustive()
    }
}

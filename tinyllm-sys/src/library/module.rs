//! Loading a module with the compiler's log of what is wrong.

use std::ffi::{CStr, c_uint, c_void};

use cudarc::driver::sys::CUjit_option;

use super::{LibCuda, number};
use crate::{DriverError, ModuleHandle};

const CALL: &str = "cuModuleLoadDataEx";

/// Room for the log; the compiler cuts what is longer.
const LOG_BYTES: usize = 16 << 10;

impl LibCuda {
    /// PTX as a module.
    pub(super) fn load_module(&self, image: &CStr) -> Result<ModuleHandle, DriverError> {
        let mut log = vec![0u8; LOG_BYTES];
        let mut options = [
            CUjit_option::CU_JIT_ERROR_LOG_BUFFER as c_uint,
            CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES as c_uint,
        ];
        // A number is given in the place of a pointer. The last byte stays 0 whatever is written.
        let mut values: [*mut c_void; 2] =
            [log.as_mut_ptr().cast(), std::ptr::without_provenance_mut(LOG_BYTES - 1)];
        let mut module = std::ptr::null_mut();
        // SAFETY: the image is terminated; reads two options, writes their values, at most so many bytes of log, one handle.
        let code = unsafe {
            (self.symbols.module_load_data)(
                &raw mut module,
                image.as_ptr().cast(),
                options.len() as c_uint,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        if code != 0 {
            let log = CStr::from_bytes_until_nul(&log).unwrap_or_default().to_string_lossy();
            let log = log.trim();
            return Err(match log.is_empty() {
                true => self.error(CALL, code, format_args!("{} bytes of PTX", image.count_bytes())),
                false => self.error(CALL, code, log),
            });
        }
        Ok(ModuleHandle(number(module)))
    }
}

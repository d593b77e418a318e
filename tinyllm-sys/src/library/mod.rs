//! The real driver: its library, loaded when asked for. Its calls are in `calls`, those that take structures beside it.

mod calls;
mod device;
mod error;
mod graph;
mod launch;
mod memory;
mod module;
mod symbols;
#[cfg(test)]
mod tests;

use std::{
    ffi::{CStr, c_char, c_uint},
    fmt,
};

use cudarc::driver::sys;

pub use error::LoadError;

use self::symbols::Symbols;
use crate::{CudaVersion, DriverApi, DriverCode, DriverError};

/// `CUDA_ERROR_NO_DEVICE`.
const NO_DEVICE: c_uint = DriverCode::NoDevice.number();

/// The CUDA driver of this machine.
#[derive(Debug)]
pub struct LibCuda {
    symbols: Symbols,
}

impl LibCuda {
    /// Loads the driver and starts it.
    ///
    /// # Errors
    /// What is missing, as [`LoadError`] says.
    pub fn load() -> Result<Self, LoadError> {
        // SAFETY: loads the library under its usual names, which runs only the driver's own initialisers.
        if !unsafe { sys::is_culib_present() } {
            return Err(LoadError::NoLibrary);
        }
        // An old driver lacks functions, and its age says more than the first of them.
        // SAFETY: it is present, and a library of that name is the driver.
        let symbols = unsafe { Symbols::find() }.map_err(|symbol| match unsafe { symbols::version() } {
            Some(found) if found < CudaVersion::OLDEST => LoadError::OldDriver { found },
            _ => LoadError::MissingSymbol { symbol },
        })?;
        let driver = LibCuda { symbols };
        let found = driver.driver_version()?;
        if found < CudaVersion::OLDEST {
            return Err(LoadError::OldDriver { found });
        }
        // SAFETY: the driver's rule: once before anything else, flags 0.
        match unsafe { (driver.symbols.init)(0) } {
            NO_DEVICE => Err(LoadError::NoDevice),
            code => {
                driver.check("cuInit", code, "")?;
                Ok(driver)
            }
        }
    }

    /// A code as a result.
    fn check(
        &self,
        call: &'static str,
        code: c_uint,
        arguments: impl fmt::Display,
    ) -> Result<(), DriverError> {
        if code == 0 { Ok(()) } else { Err(self.error(call, code, arguments)) }
    }

    /// A code that asks whether something is done.
    fn ready(
        &self,
        call: &'static str,
        code: c_uint,
        arguments: impl fmt::Display,
    ) -> Result<bool, DriverError> {
        if code == DriverCode::NotReady.number() {
            return Ok(false);
        }
        self.check(call, code, arguments).map(|()| true)
    }

    /// A code that is not success, with the driver's name for it.
    fn error(&self, call: &'static str, code: c_uint, arguments: impl fmt::Display) -> DriverError {
        let mut name: *const c_char = std::ptr::null();
        // SAFETY: writes the address of a string that lives as long as the library, or null for a code it does not know.
        let known = unsafe { (self.symbols.get_error_name)(code, &raw mut name) } == 0 && !name.is_null();
        // SAFETY: as above: terminated, and never unloaded.
        let name = known.then(|| unsafe { CStr::from_ptr(name) }.to_str().ok()).flatten();
        DriverError {
            call,
            code,
            name: name.unwrap_or("an error without a name"),
            arguments: arguments.to_string(),
        }
    }
}

/// A handle as the driver's pointer type.
fn handle<T>(handle: u64) -> *mut T {
    std::ptr::with_exposed_provenance_mut(handle as usize)
}

/// The driver's pointer type as a handle's number.
fn number<T>(handle: *mut T) -> u64 {
    handle.expose_provenance() as u64
}

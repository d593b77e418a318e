//! The CUDA driver as raw calls: the table of those that the crates above make, and whether there is a driver.
//!
//! ```
//! // True or false, never a panic: a machine without CUDA is an ordinary machine.
//! let _found: bool = tinyllm_sys::driver_library_is_present();
//! ```

mod driver;
mod error;

pub use driver::{DevicePointer, DriverApi, PoolHandle, StreamHandle};
pub use error::DriverError;

/// Whether the driver's library can be loaded. Its calls may be used only where this is true: cudarc panics otherwise.
pub fn driver_library_is_present() -> bool {
    // SAFETY: loads and unloads the driver's library under its usual names, which runs only the driver's own
    // initialisers; no symbol of it is called.
    unsafe { cudarc::driver::sys::is_culib_present() }
}

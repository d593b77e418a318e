//! The CUDA driver as raw calls: a table of them as a trait, and the driver of this machine, if it has one.
//!
//! Nothing of CUDA is needed to compile or to start: the driver's library is looked for when [`LibCuda::load`] is called.
//!
//! ```
//! use tinyllm_sys::{DriverApi, LibCuda};
//!
//! match LibCuda::load() {
//!     Ok(driver) => println!("CUDA {}, {} devices", driver.driver_version()?, driver.device_count()?),
//!     // A machine without a GPU is an ordinary machine: the error says what is missing.
//!     Err(missing) => println!("{missing}"),
//! }
//! # Ok::<(), tinyllm_sys::DriverError>(())
//! ```

mod code;
mod driver;
mod error;
mod library;
mod numbered;

pub use code::DriverCode;
pub use driver::{
    CaptureMode, CaptureStatus, ContextHandle, CudaVersion, DeviceAttribute, DeviceHandle, DevicePointer,
    DriverApi, EventHandle, EventTiming, FunctionAttribute, FunctionHandle, GraphExecHandle, GraphHandle,
    LaunchConfig, MemoryHandle, ModuleHandle, PoolHandle, PoolUsage, StreamFlags, StreamHandle,
};
pub use error::DriverError;
pub use library::{LibCuda, LoadError};

//! The CUDA driver without a GPU: the calls of [`tinyllm_sys::DriverApi`], answered by the processor, and an interpreter of PTX
//! that checks every access to memory.
//!
//! ```
//! use tinyllm_emulator::Emulator;
//! use tinyllm_sys::DriverApi;
//!
//! let driver = Emulator::builder().memory(1 << 20).seed(7).build();
//! // SAFETY: the context is this driver's.
//! unsafe { driver.context_set_current(driver.primary_context_retain(driver.device_get(0)?)?)? };
//! let memory = driver.mem_alloc(1000)?;
//! driver.name_memory(memory, 1000, "scratch");
//! assert_eq!(driver.mem_get_info()?, ((1 << 20) - 1024, 1 << 20));
//! // A leak is found, by its name.
//! assert!(driver.finish()[0].to_string().starts_with("leak: scratch, 1000 bytes"));
//! # Ok::<(), tinyllm_sys::DriverError>(())
//! ```

mod check;
mod driver;
pub mod forms;
mod kernel;
mod lanes;
mod machine;
mod memory;
pub mod numerics;
pub mod ptx;
pub mod report;

pub use check::Check;
pub use driver::{Allocated, BadSetting, Builder, Emulator, HostFunction, InjectedFailure, KernelCounters};
pub use kernel::{LoadError, would_load};
pub use machine::Counters;

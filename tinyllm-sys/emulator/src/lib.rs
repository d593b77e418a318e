//! The CUDA driver without a GPU: the calls of [`tinyllm_sys::DriverApi`], answered by the processor, and an interpreter of PTX
//! that checks every access to memory.

mod check;
mod driver;
mod kernel;
mod lanes;
mod machine;
mod memory;
pub mod numerics;
pub mod ptx;
pub mod report;

pub use check::Check;
pub use driver::{Allocated, BadSetting, Builder, Emulator, KernelCounters};
pub use kernel::LoadError;
pub use machine::Counters;

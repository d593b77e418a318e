//! The driver table: the calls of the CUDA driver that the crates above make, as an object-safe trait with C-shaped
//! arguments, and what they take and give. No policy and no ownership live here.

mod api;
mod attributes;
mod launch;
mod order;
mod types;

pub use api::DriverApi;
pub use attributes::{DeviceAttribute, FunctionAttribute};
pub use launch::LaunchConfig;
pub use order::{CaptureMode, CaptureStatus, EventTiming, StreamFlags};
pub use types::{
    ContextHandle, CudaVersion, DeviceHandle, DevicePointer, EventHandle, FunctionHandle, GraphExecHandle,
    GraphHandle, MemoryHandle, ModuleHandle, PoolHandle, PoolUsage, StreamHandle,
};

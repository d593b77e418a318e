//! Who owns which bytes on which stream.
//!
//! Terms follow RAPIDS RMM: a [`MemoryResource`] hands out memory, adaptors wrap a resource and compose, a [`Buffer`]
//! owns what it was handed and gives it back on its stream. Nothing here knows of models or kernels.

mod buffer;
mod category;
mod error;
mod host;
mod mapping;
mod plan;
mod resource;
mod tracking;

pub use buffer::{Buffer, Element};
pub use category::{Category, Part};
pub use error::MemError;
pub use host::{HostResource, HugePages};
pub use mapping::MappedFile;
pub use plan::{Plan, Region};
pub use resource::{
    Allocation, Device, Host, HostMemory, MAX_ALIGN_BYTES, MemoryInfo, MemoryResource, Request, Space, Stream,
};
pub use tracking::{Report, Tracking, Usage};

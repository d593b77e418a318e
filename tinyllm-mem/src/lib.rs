//! Who owns which bytes on which stream.
//!
//! Terms follow RAPIDS RMM: a [`MemoryResource`] allocates and deallocates, adaptors wrap a resource and compose, a
//! [`Buffer`] owns an allocation and frees it on its stream. Nothing here knows of models or kernels.
//!
//! ```
//! use std::sync::Arc;
//! use tinyllm_mem::{Buffer, Category, HostMemory, HostResource, Tracking};
//! let tracking = Arc::new(Tracking::new(HostResource::shared()));
//! let memory: HostMemory = tracking.clone();
//! let mut weights = Buffer::<f32>::zeroed(&memory, Category::Weights, "w", 1024)?;
//! weights.as_mut_slice()[0] = 0.5;
//! let report = tracking.report();
//! assert_eq!(report.categories[&Category::Weights].live_bytes, 4096);
//! assert_eq!(report.live, [("w".to_owned(), 4096)]);
//! # Ok::<(), tinyllm_mem::MemError>(())
//! ```

mod block_pool;
mod buffer;
mod category;
mod cgroup;
#[cfg(feature = "cuda")]
mod context;
#[cfg(feature = "cuda")]
mod device;
mod error;
#[cfg(feature = "cuda")]
mod event;
mod failure_injection;
mod file_bytes;
mod host;
mod limiting;
mod logging;
mod mapping;
mod memory_info;
mod plan;
mod resource;
mod stream;
mod tracking;
mod view;

pub use block_pool::{BlockId, BlockPool};
pub use buffer::{Buffer, Element};
pub use category::{Category, CustomName, Part};
#[cfg(feature = "cuda")]
pub use context::Context;
#[cfg(feature = "cuda")]
pub use device::{DeviceResource, DriverMemory, MappedResource, PinnedHostResource, StreamOrderedResource};
pub use error::MemError;
#[cfg(feature = "cuda")]
pub use event::Event;
pub use failure_injection::{FailureInjection, Failures};
pub use file_bytes::FileBytes;
pub use host::{HostResource, HugePages};
pub use limiting::{Budget, Limiting};
pub use logging::{Logging, Replay, replay};
pub use mapping::{MappedFile, MappedRange};
pub use memory_info::MemoryInfo;
pub use plan::{Plan, Region};
pub use resource::{Allocation, Device, Host, HostMemory, MAX_ALIGN_BYTES, MemoryResource, Request, Space};
pub use stream::Stream;
pub use tracking::{AllocationEvent, Report, Tracking, Usage};
pub use view::View;

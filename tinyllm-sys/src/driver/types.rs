//! What calls of the driver take and give: addresses, handles, versions, usage.

use std::fmt;

/// An address in a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DevicePointer(pub u64);

/// A handle of a device; its ordinal is what people count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceHandle(pub i32);

/// A handle of a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContextHandle(pub u64);

/// A handle of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamHandle(pub u64);

/// A handle of a memory pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolHandle(pub u64);

/// A handle of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventHandle(pub u64);

/// A handle of a module: PTX that was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ModuleHandle(pub u64);

/// A handle of a module's function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FunctionHandle(pub u64);

/// A handle of a graph: work as it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GraphHandle(pub u64);

/// A handle of a graph that can be launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GraphExecHandle(pub u64);

/// A handle of memory that has no address until it is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemoryHandle(pub u64);

impl StreamHandle {
    /// The default stream, which all threads share.
    pub const LEGACY: Self = StreamHandle(0);
    /// The calling thread's default stream (`CU_STREAM_PER_THREAD`).
    pub const PER_THREAD: Self = StreamHandle(2);
}

/// What a memory pool holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUsage {
    /// Held from the device now.
    pub reserved_bytes: u64,
    /// The most that was held.
    pub reserved_high_bytes: u64,
    /// Allocated now.
    pub used_bytes: u64,
    /// The most that was allocated at once.
    pub used_high_bytes: u64,
}

impl fmt::Display for DevicePointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}

impl fmt::Display for DeviceHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "device {}", self.0)
    }
}

/// Handles as errors name them.
macro_rules! named {
    ($($name:ident $what:literal;)*) => {
        $(impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!($what, " {:#x}"), self.0)
            }
        })*
    };
}

named! {
    ContextHandle "context";
    StreamHandle "stream";
    PoolHandle "pool";
    EventHandle "event";
    ModuleHandle "module";
    FunctionHandle "function";
    GraphHandle "graph";
    GraphExecHandle "executable graph";
    MemoryHandle "memory";
}

/// A version as the driver counts it: `1000 * major + 10 * minor`.
///
/// ```
/// assert_eq!(tinyllm_sys::CudaVersion(12_040).to_string(), "12.4");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CudaVersion(pub u32);

impl CudaVersion {
    /// The oldest that kernels run on: driver 525.
    pub const OLDEST: Self = CudaVersion(12_000);
}

impl fmt::Display for CudaVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.0 / 1000, self.0 % 1000 / 10)
    }
}

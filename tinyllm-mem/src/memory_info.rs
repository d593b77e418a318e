//! How much memory is free.

/// Free and total memory behind a resource, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryInfo {
    /// Bytes that can still be allocated.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

impl MemoryInfo {
    /// So much of `total_bytes` is free.
    pub const fn new(free_bytes: u64, total_bytes: u64) -> Self {
        MemoryInfo { free_bytes, total_bytes }
    }
}

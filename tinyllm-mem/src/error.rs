//! What can go wrong with memory. Fields, not sentences: callers decide what to print.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemError {
    /// The system or a pool has no memory left.
    #[error("out of memory: {requested_bytes} bytes for {name}")]
    OutOfMemory {
        /// The allocation's name.
        name: String,
        /// The size asked for.
        requested_bytes: usize,
    },
    /// An alignment that is not a power of two or above [`crate::MAX_ALIGN_BYTES`].
    #[error("{name}: alignment of {align_bytes} bytes is not a power of two up to 4096")]
    BadAlignment {
        /// The allocation's name.
        name: String,
        /// The alignment asked for.
        align_bytes: usize,
    },
    /// The parts of a request do not sum to its size, or a size overflows.
    #[error("{name}: a size of {bytes} bytes does not fit its parts or the address space")]
    BadSize {
        /// The allocation's name.
        name: String,
        /// The size asked for.
        bytes: usize,
    },
    /// A cast of a buffer to a type whose size or alignment does not fit.
    #[error(
        "a buffer of {bytes} bytes cannot be viewed as elements of {element_bytes} bytes, aligned to {align_bytes}"
    )]
    BadCast {
        /// The buffer's size.
        bytes: usize,
        /// The element's size.
        element_bytes: usize,
        /// The element's alignment.
        align_bytes: usize,
    },
    /// A file cannot be opened or mapped.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
}

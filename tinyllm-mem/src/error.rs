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
    /// A budget has no room left.
    #[error(
        "{name}: {requested_bytes} bytes do not fit the {}: {used_bytes} of {limit_bytes} bytes are used",
        category.map_or("budget".into(), |category| format!("budget for {}", category.name()))
    )]
    OverBudget {
        /// The allocation's name.
        name: String,
        /// The category whose budget it is; `None`: the total's.
        category: Option<crate::Category>,
        /// The size asked for (of that category).
        requested_bytes: usize,
        /// Bytes allocated already.
        used_bytes: usize,
        /// The budget.
        limit_bytes: usize,
    },
    /// An injected failure: an allocation that [`crate::FailureInjection`] was configured to fail.
    #[error("{name}: injected failure of allocation {call}, {requested_bytes} bytes")]
    Injected {
        /// The allocation's name.
        name: String,
        /// The size asked for.
        requested_bytes: usize,
        /// Which call, from 0.
        call: u64,
    },
    /// The driver refused.
    #[cfg(feature = "cuda")]
    #[error("{name}: {error}")]
    Driver {
        /// The allocation's name.
        name: String,
        /// The driver's error.
        error: tinyllm_sys::DriverError,
    },
    /// A stream or event of another context than the memory, stream or event that it is used with, or of none.
    #[cfg(feature = "cuda")]
    #[error("{name}: a stream or event of another context")]
    WrongContext {
        /// The allocation's name, or the call.
        name: String,
    },
    /// A [`crate::BlockPool`] has no free block.
    #[error("all {blocks} blocks are in use")]
    PoolExhausted {
        /// Blocks of the pool.
        blocks: usize,
    },
    /// A line of an allocation log that cannot be replayed.
    #[error("line {line} of the allocation log: {problem}")]
    Log {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// An alignment that is not a power of two or above [`crate::MAX_ALIGN_BYTES`].
    #[error("{name}: alignment of {align_bytes} bytes is not a power of two up to 4096")]
    BadAlignment {
        /// The allocation's name.
        name: String,
        /// The alignment asked for.
        align_bytes: usize,
    },
    /// A region of a plan that ends before it begins.
    #[error("{name}: its last step, {last}, is before its first, {first}")]
    BadLifetime {
        /// The region's name.
        name: String,
        /// The first step.
        first: usize,
        /// The last step.
        last: usize,
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
    /// A view of elements that the buffer does not have.
    #[error("{name}: elements {start}..{end} of {len}")]
    BadRange {
        /// The buffer's name.
        name: String,
        /// The first element asked for.
        start: usize,
        /// The one after the last.
        end: usize,
        /// Elements of the buffer.
        len: usize,
    },
    /// A path that names something else than a file with contents of its own.
    #[error("{}: {problem}", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// What it names, and the way out.
        problem: &'static str,
    },
    /// A file or stream with more bytes than are read of such a one.
    #[error("{}: is longer than {max_bytes} bytes, the most that is read of such a file", path.display())]
    TooLong {
        /// The file, or what the stream is called.
        path: PathBuf,
        /// The most that is read.
        max_bytes: u64,
    },
    /// A file that changed while it was in use.
    #[error("{}: {problem}; try again when nobody writes to it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What happened to it.
        problem: String,
    },
    /// A file cannot be opened, mapped or read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

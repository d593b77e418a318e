//! The contract between resources, which allocate memory, and buffers, which own it. No implementation lives here.
//!
//! # The stream-ordering law
//! Memory allocated on a stream is valid for work on that stream at once, and for work on another stream only after
//! an event recorded on the first has been waited for by the second. Freeing is ordered on the stream given: work
//! submitted to it earlier may still use the memory, work submitted later may not. Host memory is valid everywhere at
//! once; it takes a stream all the same, so that code is written once.

use std::{fmt, ptr::NonNull, sync::Arc};

use crate::{Category, MemError, MemoryInfo, Part, Stream};

mod sealed {
    pub trait Sealed {}
}

/// Where memory can be accessed: a type-level tag of resources and buffers.
pub trait Space: sealed::Sealed + std::fmt::Debug + Send + Sync + 'static {}

/// Memory the processor reads and writes directly.
#[derive(Debug)]
pub enum Host {}

/// Memory only a device reads and writes.
#[derive(Debug)]
pub enum Device {}

impl sealed::Sealed for Host {}
impl sealed::Sealed for Device {}
impl Space for Host {}
impl Space for Device {}

/// A request for memory: how much, how aligned, on which stream, and what for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// Size in bytes; 0 is allowed and takes no memory.
    pub bytes: usize,
    /// Alignment in bytes: a power of two, at most [`MAX_ALIGN_BYTES`].
    pub align_bytes: usize,
    /// The stream the allocation is ordered on.
    pub stream: Stream,
    /// The name of the whole allocation.
    pub name: String,
    /// What the bytes are for; the parts' sizes sum to `bytes`. Adaptors that count or limit them, and buffers, refuse a
    /// request where they do not.
    pub parts: Vec<Part>,
}

/// The largest alignment a resource must honour.
pub const MAX_ALIGN_BYTES: usize = 4096;

impl Request {
    /// A request of one part.
    pub fn new(category: Category, name: impl Into<String>, bytes: usize, align_bytes: usize) -> Self {
        let name = name.into();
        Request {
            bytes,
            align_bytes,
            stream: Stream::DEFAULT,
            parts: vec![Part::new(category, name.clone(), bytes)],
            name,
        }
    }

    /// A request for one slab made of `parts`, in their order. A size that overflows is refused by the resource.
    pub fn slab(name: impl Into<String>, parts: Vec<Part>, align_bytes: usize) -> Self {
        let bytes = parts.iter().map(|part| part.bytes).fold(0, usize::saturating_add);
        Request { bytes, align_bytes, stream: Stream::DEFAULT, name: name.into(), parts }
    }

    /// Refuses parts that are not the whole.
    pub(crate) fn check_parts(&self) -> Result<(), MemError> {
        let sum = self.parts.iter().try_fold(0usize, |sum, part| sum.checked_add(part.bytes));
        if sum == Some(self.bytes) {
            return Ok(());
        }
        Err(MemError::BadSize { name: self.name.clone(), bytes: self.bytes })
    }

    /// The same request on another stream.
    pub fn on(mut self, stream: &Stream) -> Self {
        self.stream = stream.clone();
        self
    }
}

/// Memory of a resource: an address with its size and alignment. Not an owner; [`crate::Buffer`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The first byte. For device memory this address means nothing to the host.
    pub address: NonNull<u8>,
    /// Size in bytes.
    pub bytes: usize,
    /// Alignment in bytes.
    pub align_bytes: usize,
}

// SAFETY: an Allocation is an address and two numbers; it grants no access by itself.
unsafe impl Send for Allocation {}
// SAFETY: as above.
unsafe impl Sync for Allocation {}

/// Allocates and deallocates memory of one [`Space`]. Adaptors implement it around another resource.
///
/// # Safety
/// An implementation returns memory that is valid for `bytes` bytes, aligned, disjoint from every other live
/// allocation, and stays so until `deallocate`. Host memory is zeroed.
pub unsafe trait MemoryResource: Send + Sync + fmt::Debug {
    /// Where the memory can be used.
    type Space: Space;

    /// Allocates memory.
    ///
    /// # Errors
    /// [`MemError::OutOfMemory`] and its kin; nothing is leaked.
    fn allocate(&self, request: &Request) -> Result<Allocation, MemError>;

    /// Frees memory, ordered on `stream`.
    ///
    /// # Safety
    /// `allocation` came from `allocate` of this resource, is freed once, and no work ordered after this call
    /// uses it. A stream of a device is one of the context that the memory is of.
    unsafe fn deallocate(&self, allocation: Allocation, stream: &Stream);

    /// Free and total memory, where the resource knows.
    fn memory_info(&self) -> Option<MemoryInfo> {
        None
    }
}

/// A shared host resource.
pub type HostMemory = Arc<dyn MemoryResource<Space = Host>>;

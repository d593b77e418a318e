//! What kernels and copies reach: the bytes themselves, where they lie in a device's address space, and who touched which.

mod bits;
mod bytes;
mod kernel_heap;
mod space;
mod touched;
mod windows;
mod words;

pub(crate) use bits::Bits;
pub(crate) use bytes::Bytes;
pub(crate) use kernel_heap::{HEAP_ADDRESSES, KernelHeap, WrongFree};
pub(crate) use space::{Freed, Name, Region, Space};
pub(crate) use touched::{CHUNK_BYTES, Chunk, Conflict, Touch, Touched};
pub(crate) use windows::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW};
pub(crate) use words::{load, store, update};

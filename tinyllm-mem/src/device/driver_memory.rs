//! What resources over the driver table share: alignment, the context made current around each call, which block an
//! allocation lies in, and errors of freeing.

use std::{
    collections::HashMap,
    fmt,
    num::NonZero,
    ptr::NonNull,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tinyllm_sys::{DevicePointer, DriverApi, DriverCode, DriverError, StreamHandle};

use crate::{
    Allocation, Context, MAX_ALIGN_BYTES, MemError, MemoryInfo, MemoryResource, Request, Space, Stream,
    context::failed,
};

/// What the driver aligns its memory to; `cuMemAlloc` promises it.
const DRIVER_ALIGN_BYTES: usize = 256;

/// A kind of memory that a driver allocates in blocks.
///
/// # Safety
/// A block is valid for as many bytes as were asked for, from [`Kind::base`] on, disjoint from every other, and stays until
/// it is freed. One that the processor can read is zeroed.
pub unsafe trait Kind: fmt::Debug + Send + Sync + 'static {
    /// Where the memory can be used.
    type Space: Space;
    /// What the driver needs to free a block.
    type Block: Copy + fmt::Debug + Send;

    /// Whether work that was given to the device earlier may use a block still when `free` is called: it is freed in a
    /// stream's order.
    const IS_STREAM_ORDERED: bool;

    /// What a size is rounded up to; `None` where there is no such number.
    fn block_bytes(&self, bytes: usize) -> Option<usize> {
        Some(bytes)
    }

    /// A block of `bytes` bytes, in the order of a stream that lives.
    fn allocate(
        &self,
        driver: &dyn DriverApi,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<Self::Block, DriverError>;

    /// A block's address.
    fn base(block: Self::Block) -> u64;

    /// Frees a block.
    ///
    /// # Safety
    /// It came from `allocate` and is freed once; the stream lives. Nothing uses it any more, or, where the kind is stream-ordered,
    /// nothing but work that is ordered before on the stream.
    unsafe fn free(
        &self,
        driver: &dyn DriverApi,
        block: Self::Block,
        stream: StreamHandle,
    ) -> Result<(), DriverError>;

    /// Free and total memory of this kind.
    fn memory_info(context: &Context) -> Option<MemoryInfo> {
        context.memory_info()
    }
}

/// Memory of one kind, in the context of one device: [`crate::DeviceResource`],
/// [`crate::StreamOrderedResource`], [`crate::MappedResource`] or [`crate::PinnedHostResource`].
///
/// Memory can be allocated and freed, and the resource dropped, on any thread. What the driver refuses when memory is freed
/// the [`Context`] keeps for the next call.
#[derive(Debug)]
pub struct DriverMemory<K: Kind> {
    pub(super) kind: K,
    /// The block that each live allocation lies in, by the allocation's address.
    blocks: Mutex<HashMap<usize, K::Block>>,
    context: Context,
}

impl<K: Kind> DriverMemory<K> {
    pub(super) fn over(context: &Context, kind: K) -> Self {
        DriverMemory { kind, blocks: Mutex::default(), context: context.clone() }
    }

    /// The context that the memory is of.
    pub fn context(&self) -> &Context {
        &self.context
    }

    fn blocks(&self) -> MutexGuard<'_, HashMap<usize, K::Block>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frees the block that an allocation lies in, if it lies in one: an allocation of no bytes does not. A block that could
    /// not be freed stays known.
    fn free(
        &self,
        allocation: Allocation,
        free: impl FnOnce(K::Block) -> Result<(), DriverError>,
    ) -> Result<(), DriverError> {
        let address = allocation.address.as_ptr().addr();
        // Before it is free: afterwards another thread may be given the same address.
        let block = if allocation.bytes > 0 { self.blocks().remove(&address) } else { None };
        let Some(block) = block else { return Ok(()) };
        free(block).inspect_err(|_| _ = self.blocks().entry(address).or_insert(block))
    }
}

// SAFETY: a kind promises that its blocks are valid, disjoint, zeroed where the processor reads them, and stay until they are
// freed; the aligned address and the bytes after it lie inside the block (`padded_bytes`).
unsafe impl<K: Kind> MemoryResource for DriverMemory<K> {
    type Space = K::Space;

    fn allocate(&self, request: &Request) -> Result<Allocation, MemError> {
        let padded = padded_bytes(request)?;
        let stream = request.stream.handle_in(&self.context, &request.name)?;
        self.context.return_kept(&request.name)?;
        if request.bytes == 0 {
            return aligned(request, 0);
        }
        let bytes = self.kind.block_bytes(padded).ok_or_else(|| bad_size(request))?;
        let block = self.context.call(|driver| {
            let block = self.kind.allocate(driver, bytes, stream)?;
            driver.name_memory(DevicePointer(K::base(block)), bytes, &request.name);
            Ok(block)
        });
        let block = block.map_err(|error| refused(request, error))?;
        let allocation = aligned(request, K::base(block))?;
        self.blocks().insert(allocation.address.as_ptr().addr(), block);
        Ok(allocation)
    }

    unsafe fn deallocate(&self, allocation: Allocation, stream: &Stream) {
        self.context.keep(self.free(allocation, |block| {
            let foreign =
                |_| DriverError::new("free", DriverCode::InvalidContext, "a stream of another context");
            let stream = stream.handle_in(&self.context, "").map_err(foreign)?;
            self.context.call(|driver| {
                if !K::IS_STREAM_ORDERED {
                    // Earlier work may use the memory still, and the driver does not promise to wait for it.
                    driver.context_synchronize()?;
                }
                // SAFETY: this kind's block, which was in the list once, and a stream that is borrowed. The allocation's
                // owner frees it, so the processor does not use it; work that was given to the device before is done,
                // or ordered before on the stream, and later work does not use it, as the caller promises.
                unsafe { self.kind.free(driver, block, stream) }
            })
        }));
    }

    fn memory_info(&self) -> Option<MemoryInfo> {
        K::memory_info(&self.context)
    }
}

/// Bytes to ask for so that an address of the wanted alignment lies inside.
fn padded_bytes(request: &Request) -> Result<usize, MemError> {
    let Request { bytes, align_bytes, ref name, .. } = *request;
    if !align_bytes.is_power_of_two() || align_bytes > MAX_ALIGN_BYTES {
        return Err(MemError::BadAlignment { name: name.clone(), align_bytes });
    }
    let slack = if align_bytes > DRIVER_ALIGN_BYTES { align_bytes } else { 0 };
    let padded = bytes.checked_add(slack).filter(|bytes| isize::try_from(*bytes).is_ok());
    padded.ok_or_else(|| bad_size(request))
}

fn bad_size(request: &Request) -> MemError {
    MemError::BadSize { name: request.name.clone(), bytes: request.bytes }
}

/// The allocation inside a block at `base`; for no bytes, an address that is never read.
fn aligned(request: &Request, base: u64) -> Result<Allocation, MemError> {
    let Request { bytes, align_bytes, .. } = *request;
    let start = if bytes == 0 { align_bytes } else { (base as usize).next_multiple_of(align_bytes) };
    let missing = || MemError::OutOfMemory { name: request.name.clone(), requested_bytes: bytes };
    let start = NonZero::new(start).ok_or_else(missing)?;
    Ok(Allocation { address: NonNull::with_exposed_provenance(start), bytes, align_bytes })
}

fn refused(request: &Request, error: DriverError) -> MemError {
    if error.is_out_of_memory() {
        return MemError::OutOfMemory { name: request.name.clone(), requested_bytes: request.bytes };
    }
    failed(&request.name, error)
}

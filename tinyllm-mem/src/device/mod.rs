//! Resources over the driver table: device memory, stream-ordered device memory, mapped device memory, page-locked host
//! memory.
//!
//! Each keeps its device's context, and makes it current around its calls. What the driver refuses when memory is given
//! back cannot be returned from a `Drop`: it is kept, and the next call to allocate says it.

mod context;
mod mapped;
mod pinned;
mod plain;
mod stream_ordered;

use std::{
    collections::HashMap,
    num::NonZero,
    ptr::NonNull,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tinyllm_sys::DriverError;

pub use mapped::MappedResource;
pub use pinned::PinnedHostResource;
pub use plain::DeviceResource;
pub use stream_ordered::StreamOrderedResource;

use self::context::Context;
use crate::{Allocation, MAX_ALIGN_BYTES, MemError, Request};

/// What the driver aligns its memory to; `cuMemAlloc` promises it.
const DRIVER_ALIGN_BYTES: usize = 256;

/// Bytes to ask for so that an address of the wanted alignment lies inside.
fn padded_bytes(request: &Request) -> Result<usize, MemError> {
    let Request { bytes, align_bytes, ref name, .. } = *request;
    if !align_bytes.is_power_of_two() || align_bytes > MAX_ALIGN_BYTES {
        return Err(MemError::BadAlignment { name: name.clone(), align_bytes });
    }
    let slack = if align_bytes > DRIVER_ALIGN_BYTES { align_bytes } else { 0 };
    let padded = bytes.checked_add(slack).filter(|bytes| isize::try_from(*bytes).is_ok());
    padded.ok_or_else(|| MemError::BadSize { name: name.clone(), bytes })
}

/// The allocation inside what the driver handed out at `base`; for no bytes, an address that nobody reads.
fn aligned(request: &Request, base: u64) -> Result<Allocation, MemError> {
    let Request { bytes, align_bytes, .. } = *request;
    let start = if bytes == 0 { align_bytes } else { (base as usize).next_multiple_of(align_bytes) };
    let missing = || MemError::OutOfMemory { name: request.name.clone(), requested_bytes: bytes };
    let start = NonZero::new(start).ok_or_else(missing)?;
    Ok(Allocation { address: NonNull::with_exposed_provenance(start), bytes, align_bytes })
}

/// Where the driver's own allocations begin, by the aligned address inside.
#[derive(Debug, Default)]
struct Bases(Mutex<HashMap<usize, u64>>);

impl Bases {
    fn keep(&self, base: u64, allocation: Allocation) -> Allocation {
        self.bases().insert(allocation.address.as_ptr().addr(), base);
        allocation
    }

    /// Frees what an allocation lies in, if it lies in anything: one of no bytes does not. Where that fails it stays known.
    fn give_back(
        &self,
        allocation: &Allocation,
        free: impl FnOnce(u64) -> Result<(), DriverError>,
    ) -> Result<(), DriverError> {
        let address = allocation.address.as_ptr().addr();
        // Before it is free: afterwards another thread may be given the same address.
        let base = if allocation.bytes > 0 { self.bases().remove(&address) } else { None };
        let Some(base) = base else { return Ok(()) };
        free(base).inspect_err(|_| _ = self.bases().entry(address).or_insert(base))
    }

    fn bases(&self) -> MutexGuard<'_, HashMap<usize, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn created<T>(name: &str, result: Result<T, DriverError>) -> Result<T, MemError> {
    result.map_err(|error| MemError::Driver { name: name.into(), error })
}

fn refused(request: &Request, error: DriverError) -> MemError {
    if error.is_out_of_memory() {
        return MemError::OutOfMemory { name: request.name.clone(), requested_bytes: request.bytes };
    }
    MemError::Driver { name: request.name.clone(), error }
}

/// An error of giving memory back, until somebody can hear it.
#[derive(Debug, Default)]
struct Deferred(Mutex<Option<DriverError>>);

impl Deferred {
    /// Keeps the first one.
    fn keep(&self, result: Result<(), DriverError>) {
        if let Err(error) = result {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    /// Says what was kept, once.
    fn say(&self, request: &Request) -> Result<(), MemError> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(MemError::Driver { name: request.name.clone(), error }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tinyllm_sys::DriverCode;

    use super::*;

    #[test]
    fn what_could_not_be_freed_stays_known() {
        let bases = Bases::default();
        let request = Request::new(crate::Category::Kv, "kv", 10, 4096);
        let allocation = bases.keep(0x1100, aligned(&request, 0x1100).unwrap());
        assert_eq!(allocation.address.as_ptr().addr(), 0x2000);
        let refused = || DriverError::new("cuMemFree", DriverCode::InvalidContext, "");
        assert_eq!(bases.give_back(&allocation, |_| Err(refused())), Err(refused()));
        let mut freed = Vec::new();
        let mut give_back = |allocation| {
            let free = |base| {
                freed.push(base);
                Ok(())
            };
            bases.give_back(&allocation, free).unwrap();
        };
        give_back(allocation);
        give_back(allocation);
        // No bytes lie in nothing, whatever their address is.
        bases.keep(0x1100, allocation);
        give_back(Allocation { bytes: 0, ..allocation });
        assert_eq!(freed, [0x1100], "once");
    }
}

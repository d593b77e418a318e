//! Host memory: anonymous mappings for what is large, the allocator for what is small. Zeroed either way.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    collections::HashMap,
    fmt,
    ptr::NonNull,
    sync::{Arc, Mutex},
};

use memmap2::{Advice, MmapMut};

use crate::{
    MemError, MemoryInfo, Stream, cgroup,
    resource::{Allocation, Host, HostMemory, MAX_ALIGN_BYTES, MemoryResource, Request},
};

/// From this size a request gets a mapping of its own: its zeroes cost nothing until they are touched.
const MAPPED_FROM_BYTES: usize = 1 << 20;

/// A huge page of x86-64 and of most others.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Whether large allocations ask for huge pages. Reading weights from 2 MiB pages is up to half faster than from 4 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HugePages {
    /// Advise the system to use them, except for scratch ([`crate::Category::is_scratch`]): a small step touches little of it.
    #[default]
    Advise,
    /// Leave the pages as they come.
    Never,
}

/// Memory of this process.
#[derive(Default)]
pub struct HostResource {
    huge_pages: HugePages,
    /// Mappings by the address of the allocation, which is where the first huge page begins.
    mappings: Mutex<HashMap<usize, MmapMut>>,
}

impl HostResource {
    /// Host memory with or without huge pages.
    pub fn new(huge_pages: HugePages) -> Self {
        HostResource { huge_pages, mappings: Mutex::default() }
    }

    /// Host memory that advises huge pages, shared.
    pub fn shared() -> HostMemory {
        Arc::new(HostResource::default())
    }

    fn map(&self, request: &Request) -> Option<NonNull<u8>> {
        let mut mapping = MmapMut::map_anon(request.bytes.checked_add(HUGE_PAGE_BYTES)?).ok()?;
        let base = mapping.as_mut_ptr();
        let offset = base.align_offset(HUGE_PAGE_BYTES);
        let is_scratch = request.parts.iter().all(|part| part.category.is_scratch());
        if self.huge_pages == HugePages::Advise && request.bytes >= 2 * HUGE_PAGE_BYTES && !is_scratch {
            #[cfg(target_os = "linux")]
            let _ = mapping.advise_range(Advice::HugePage, offset, request.bytes); // a hint: 4 KiB pages work too
        }
        let address = NonNull::new(base.wrapping_add(offset))?;
        self.mappings.lock().ok()?.insert(address.as_ptr() as usize, mapping);
        Some(address)
    }
}

// SAFETY: memory comes zeroed from an anonymous mapping or from `alloc_zeroed`, at least as large and aligned as asked;
// both keep live allocations apart, and it stays until `deallocate` drops the mapping or frees the block.
unsafe impl MemoryResource for HostResource {
    type Space = Host;

    fn allocate(&self, request: &Request) -> Result<Allocation, MemError> {
        let Request { bytes, align_bytes, ref name, .. } = *request;
        if !align_bytes.is_power_of_two() || align_bytes > MAX_ALIGN_BYTES {
            return Err(MemError::BadAlignment { name: name.clone(), align_bytes });
        }
        let layout = Layout::from_size_align(bytes, align_bytes)
            .map_err(|_| MemError::BadSize { name: name.clone(), bytes })?;
        let address = match bytes {
            0 => NonNull::new(std::ptr::without_provenance_mut(align_bytes)),
            MAPPED_FROM_BYTES.. => self.map(request),
            // SAFETY: the layout's size is not zero.
            _ => NonNull::new(unsafe { alloc_zeroed(layout) }),
        };
        let address =
            address.ok_or_else(|| MemError::OutOfMemory { name: name.clone(), requested_bytes: bytes })?;
        Ok(Allocation { address, bytes, align_bytes })
    }

    unsafe fn deallocate(&self, allocation: Allocation, _stream: &Stream) {
        match allocation.bytes {
            0 => {}
            MAPPED_FROM_BYTES.. => {
                if let Ok(mut mappings) = self.mappings.lock() {
                    mappings.remove(&(allocation.address.as_ptr() as usize));
                }
            }
            bytes => {
                if let Ok(layout) = Layout::from_size_align(bytes, allocation.align_bytes) {
                    // SAFETY: `allocate` took it from the allocator with this layout, and the caller frees it once.
                    unsafe { dealloc(allocation.address.as_ptr(), layout) }
                }
            }
        }
    }

    /// The machine's, or what this process's control groups allow of it.
    fn memory_info(&self) -> Option<MemoryInfo> {
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
        };
        let machine = MemoryInfo { free_bytes: field("MemAvailable:")?, total_bytes: field("MemTotal:")? };
        let Some(limit) = cgroup::memory_info() else { return Some(machine) };
        Some(MemoryInfo {
            free_bytes: machine.free_bytes.min(limit.free_bytes),
            total_bytes: machine.total_bytes.min(limit.total_bytes),
        })
    }
}

impl fmt::Debug for HostResource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HostResource").field("huge_pages", &self.huge_pages).finish_non_exhaustive()
    }
}

//! Work that has run and that other work may race with still.

use std::sync::Arc;

use super::{
    clock::Clock,
    device::Device,
    footprint::{Footprint, Overlap},
    schedule::Issued,
};
use crate::{
    kernel::Kernel,
    memory::{CHUNK_BYTES, Touch},
    report::{Access, Finding, Kind, MemorySpace, Other, Site},
};

/// One piece of work that ran.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) issued: Issued,
    pub(super) name: String,
    pub(super) kernel: Option<Arc<Kernel>>,
    /// It allocates or frees memory.
    pub(super) lifetime: bool,
    pub(super) footprint: Footprint,
}

#[derive(Debug, Default)]
pub(super) struct History {
    past: Vec<Past>,
}

impl Past {
    fn access(&self, writes: bool) -> Access {
        match (self.lifetime, writes) {
            (true, _) => Access::Lifetime,
            (false, true) => Access::Write,
            (false, false) => Access::Read,
        }
    }

    /// The access that has an address: where in a kernel, its first address, and its bytes.
    fn access_at(&self, address: u64, writes: bool) -> (Option<Site>, u64, u64) {
        let of_kernel = self.kernel.as_ref().and_then(|kernel| {
            let chunk = self.footprint.touched.chunks.get(&(address / CHUNK_BYTES))?;
            let touches = if writes { [Touch::Write, Touch::Atomic] } else { [Touch::Read, Touch::Observe] };
            let trace = touches.into_iter().find_map(|touch| chunk.find(touch, address % CHUNK_BYTES))?;
            let bytes = kernel.code.get(trace.pc as usize)?.op.access_bytes().max(1);
            Some((kernel.site(trace.pc), address - address % bytes, bytes))
        });
        of_kernel.unwrap_or((None, address, self.footprint.range_bytes(address).unwrap_or(1)))
    }
}

impl History {
    /// Adds a piece of work, and gives what it races with.
    pub(super) fn add(&mut self, past: Past, device: &Device) -> Vec<Finding> {
        let unordered = self.past.iter().filter(|other| {
            !past.issued.clock.knows(other.issued.lane, other.issued.count)
                && !other.issued.clock.knows(past.issued.lane, past.issued.count)
        });
        let findings = unordered.filter_map(|other| {
            let overlap = other.footprint.overlap(&past.footprint)?;
            // The same finding whichever ran first.
            let (first, second, overlap) = match other.issued.id < past.issued.id {
                true => (other, &past, overlap),
                false => {
                    let Overlap { address, writes, other_writes } = overlap;
                    (&past, other, Overlap { address, writes: other_writes, other_writes: writes })
                }
            };
            Some(finding(first, second, overlap, device))
        });
        let findings = findings.collect();
        if !past.footprint.is_empty() {
            self.past.push(past);
        }
        findings
    }

    /// Drops what the host has waited for: everything it asks for from now on is after it.
    pub(super) fn forget(&mut self, host: &Clock) {
        self.past.retain(|past| !host.knows(past.issued.lane, past.issued.count));
    }
}

fn finding(first: &Past, second: &Past, overlap: Overlap, device: &Device) -> Finding {
    let Overlap { address, writes, other_writes } = overlap;
    let (other_site, other_address, other_bytes) = first.access_at(address, writes);
    let (site, address, bytes) = second.access_at(address, other_writes);
    Finding {
        site,
        access: Some(second.access(other_writes)),
        space: Some(MemorySpace::Global),
        address: Some(address),
        bytes,
        place: device.place(address),
        other: Some(Other {
            access: first.access(writes),
            address: Some(other_address),
            bytes: other_bytes,
            thread: None,
            site: other_site,
            work: Some(first.name.clone()),
        }),
        note: format!("{}; no event orders the two", second.name),
        ..Finding::new(Kind::StreamRace, second.name.clone())
    }
}

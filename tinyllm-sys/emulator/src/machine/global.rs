//! Accesses to global memory: where each lane's bytes are, and whether they may be used so.

use super::{
    Fault,
    addresses::{Run, Runs},
    context::{Context, Culprit},
    recorder::Touch,
    transfer::{Places, lanes_of},
    undefined::Unwritten,
};
use crate::{
    lanes::LANES,
    memory::Region,
    report::{Access, Kind, MemorySpace, Relation},
};

/// An access of a warp.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) pc: u32,
    pub(super) warp: u32,
    pub(super) mask: u32,
    pub(super) addresses: &'a [u64; LANES],
    /// Bytes of a lane, a power of two, and what its address has to be a multiple of.
    pub(super) bytes: u64,
    pub(super) access: Access,
    /// How it orders: a strong store does as an atomic does.
    pub(super) touch: Touch,
}

impl Request<'_> {
    fn culprit(&self, kind: Kind, lane: usize) -> Culprit {
        Culprit {
            kind,
            pc: self.pc,
            warp: self.warp,
            lane,
            access: self.access,
            space: MemorySpace::Global,
            address: self.addresses[lane],
            bytes: self.bytes,
        }
    }
}

impl<'a> Context<'a> {
    /// Checks and notes an access, and gives the places of its bytes.
    #[inline(always)]
    pub(super) fn global(&mut self, request: &Request<'_>) -> Result<Places, Fault> {
        let mut places: Places = [std::ptr::null_mut(); LANES];
        let sectors = if let Some(run) = Run::of_warp(request.addresses, request.bytes, request.mask) {
            let base = self.run(request, &run)?;
            for (place, address) in places.iter_mut().zip(request.addresses) {
                *place = base.wrapping_add((address - run.address) as usize);
            }
            run.sectors()
        } else {
            let runs = Runs::new(request.addresses, request.bytes, request.mask);
            for run in runs.as_slice() {
                let base = self.run(request, run)?;
                for lane in lanes_of(run.mask) {
                    places[lane] = base.wrapping_add((request.addresses[lane] - run.address) as usize);
                }
            }
            runs.sectors()
        };
        let counters = &mut self.counters;
        match request.touch {
            Touch::Read | Touch::Observe => {
                counters.global_load_requests += 1;
                counters.global_load_sectors += sectors;
            }
            Touch::Write => {
                counters.global_store_requests += 1;
                counters.global_store_sectors += sectors;
            }
            Touch::Atomic | Touch::BlockAtomic => counters.global_atomic_requests += 1,
        }
        Ok(places)
    }

    /// Checks and notes a run, and gives the place of its first byte.
    #[inline(always)]
    fn run(&mut self, request: &Request<'_>, run: &Run) -> Result<*mut u8, Fault> {
        if run.address & (request.bytes - 1) != 0 {
            self.find(request.culprit(Kind::Misaligned, run.first), 0, |_, _| {});
            return Err(Fault::MISALIGNED_ADDRESS);
        }
        let allocated;
        let region = match self.region(request.pc, run.address, run.bytes) {
            Some(region) => region,
            None => match self.launch.heap.find(run.address, run.bytes) {
                Some(region) => {
                    allocated = region;
                    &allocated
                }
                None => return Err(self.outside(request, run.mask)),
            },
        };
        let offset = region.offset + (run.address - region.start);
        let written = region.bytes.written();
        if request.access != Access::Write
            && self.launch.check.initcheck
            && !written.contains(offset, run.bytes)
        {
            self.uninitialized(request, region, run.mask);
        }
        if request.touch.writes() {
            written.insert(offset, run.bytes);
        }
        self.recorder.touch(request.touch, run.address, run.bytes, request.pc);
        Ok(region.bytes.as_ptr().wrapping_add(offset as usize))
    }

    /// Reports the first lane of a run whose bytes are outside of every allocation.
    #[cold]
    fn outside(&mut self, request: &Request<'_>, mask: u32) -> Fault {
        let launch = self.launch;
        let is_outside = |lane: &usize| launch.find(request.addresses[*lane], request.bytes).is_none();
        let lane = lanes_of(mask).find(is_outside).unwrap_or(mask.trailing_zeros() as usize);
        // The first byte that is outside is the one to report.
        let place = launch.global_place(launch.first_outside(request.addresses[lane]));
        let freed = place.as_ref().is_some_and(|place| place.relation == Relation::Freed);
        let kind = if freed { Kind::UseAfterFree } else { Kind::OutOfBounds };
        self.find(request.culprit(kind, lane), 0, |_, finding| finding.place = place);
        Fault::ILLEGAL_ADDRESS
    }

    /// Notes lanes that read what nobody wrote.
    #[cold]
    fn uninitialized(&mut self, request: &Request<'_>, region: &Region, mask: u32) {
        let offset = |lane: usize| region.offset + (request.addresses[lane] - region.start);
        let written = region.bytes.written();
        for lane in lanes_of(mask) {
            let Some(missing) = written.first_missing(offset(lane), request.bytes) else { continue };
            let first = missing - offset(lane);
            let culprit = request.culprit(Kind::Uninitialized, lane);
            let is_missing = |byte: &u64| !written.contains(offset(lane) + byte, 1);
            let missing = (first..request.bytes).filter(is_missing).fold(0, |bits, byte| bits | 1 << byte);
            let unwritten = Unwritten { culprit, missing, address: culprit.address + first, stored_by: None };
            self.unwritten.push(unwritten);
        }
    }
}

//! Accesses to memory that no other block sees: shared, local, and the kernel's parameters.

use super::{
    Fault,
    addresses::wavefronts,
    context::{Context, Culprit},
    shared::Shared,
    transfer::{Places, lanes_of},
    undefined::Unwritten,
    warp::Warp,
    words::{Race, Use},
};
use crate::{
    kernel::Op,
    lanes::LANES,
    report::{Access, Kind, MemorySpace, Other},
};

/// An access of a warp, to offsets in its space.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) pc: u32,
    pub(super) warp: u32,
    pub(super) mask: u32,
    pub(super) offsets: &'a [u64; LANES],
    /// Bytes of a lane, and what its offset has to be a multiple of.
    pub(super) bytes: u64,
    pub(super) what: Use,
}

impl Request<'_> {
    pub(super) fn culprit(&self, kind: Kind, space: MemorySpace, lane: usize) -> Culprit {
        let access = match self.what {
            Use::Read => Access::Read,
            Use::Write | Use::CopyBegun | Use::CopyLanded => Access::Write,
            Use::Atomic => Access::Atomic,
        };
        let (address, bytes) = (self.offsets[lane], self.bytes);
        Culprit { kind, pc: self.pc, warp: self.warp, lane, access, space, address, bytes }
    }
}

impl Context<'_> {
    /// Whether every lane's bytes are inside and aligned.
    #[inline(always)]
    fn inside(&mut self, request: &Request<'_>, space: MemorySpace, length: u64) -> Result<(), Fault> {
        let mut all = true;
        for (lane, offset) in request.offsets.iter().enumerate() {
            let fits = offset.saturating_add(request.bytes) <= length && offset & (request.bytes - 1) == 0;
            all &= fits || request.mask >> lane & 1 == 0;
        }
        if all { Ok(()) } else { Err(self.not_inside(request, space, length)) }
    }

    #[cold]
    fn not_inside(&mut self, request: &Request<'_>, space: MemorySpace, length: u64) -> Fault {
        let outside = |lane: usize| request.offsets[lane].saturating_add(request.bytes) > length;
        let misaligned = |lane: usize| !request.offsets[lane].is_multiple_of(request.bytes);
        let lane = lanes_of(request.mask).find(|lane| outside(*lane) || misaligned(*lane)).unwrap_or(0);
        if misaligned(lane) {
            self.find(request.culprit(Kind::Misaligned, space, lane), 0, |_, _| {});
            return Fault::MISALIGNED_ADDRESS;
        }
        self.find(request.culprit(Kind::OutOfBounds, space, lane), 0, |_, _| {});
        Fault::ILLEGAL_ADDRESS
    }

    /// Checks an access to shared memory and gives the places of its bytes. Races are looked for by [`Context::shared_races`].
    #[inline(always)]
    pub(super) fn shared(&mut self, shared: &mut Shared, request: &Request<'_>) -> Result<Places, Fault> {
        self.inside(request, MemorySpace::Shared, u64::from(self.launch.shared_bytes()))?;
        self.counters.shared_requests += 1;
        self.counters.shared_wavefronts += wavefronts(request.offsets, request.bytes, request.mask);
        let Request { offsets, bytes, mask, .. } = *request;
        if matches!(request.what, Use::Read | Use::Atomic) && self.launch.check.initcheck {
            let unwritten = shared.unwritten(offsets, bytes, mask);
            if unwritten != 0 {
                self.uninitialized_shared(shared, request, unwritten);
            }
        }
        if matches!(request.what, Use::Write | Use::Atomic) {
            shared.mark_written(offsets, bytes, mask);
        }
        let base = shared.bytes.as_mut_ptr();
        let mut places: Places = [std::ptr::null_mut(); LANES];
        for lane in lanes_of(request.mask) {
            places[lane] = base.wrapping_add(request.offsets[lane] as usize);
        }
        Ok(places)
    }

    /// Notes an access for each lane, and reports those that nothing orders after an earlier one.
    #[inline(always)]
    pub(super) fn shared_races(&mut self, shared: &mut Shared, request: &Request<'_>) {
        for (lane, race) in shared.touch(request) {
            self.shared_race(shared, request, lane, race, Kind::SharedRace);
        }
    }

    /// Reports stores that nothing orders after earlier accesses. `before` are the lanes whose values were there before they stored,
    /// `after` those whose values are there now, after all have.
    #[cold]
    pub(super) fn stores_race(
        &mut self,
        shared: &Shared,
        request: &Request<'_>,
        races: &[(usize, Race)],
        before: u32,
        after: u32,
    ) {
        for (lane, race) in races {
            // Both have to be there: the later one always is, where no third comes after it.
            let (lane, other) = (*lane, race.earlier.lane());
            let also = request.mask >> other & 1 == 1 && request.offsets[other] == request.offsets[lane];
            if race.same_store && after >> lane & 1 == 1 && (!also || after >> other & 1 == 1) {
                continue;
            }
            let equal = race.earlier_writes && !race.earlier_under_way && before >> lane & 1 == 1;
            let kind = if equal && !race.same_store { Kind::EqualStores } else { Kind::SharedRace };
            self.shared_race(shared, request, lane, *race, kind);
        }
    }

    /// Notes lanes that read what nobody wrote.
    #[cold]
    fn uninitialized_shared(&mut self, shared: &Shared, request: &Request<'_>, lanes: u32) {
        for lane in lanes_of(lanes) {
            let culprit = request.culprit(Kind::Uninitialized, MemorySpace::Shared, lane);
            let missing = shared.unwritten_bytes(request.offsets[lane], request.bytes);
            let address = culprit.address + u64::from(missing.trailing_zeros());
            let stored_by = shared.undefined_store(address);
            self.unwritten.push(Unwritten { culprit, missing, address, stored_by });
        }
    }

    #[cold]
    pub(super) fn shared_race(
        &mut self,
        shared: &Shared,
        request: &Request<'_>,
        lane: usize,
        race: Race,
        kind: Kind,
    ) {
        let culprit = request.culprit(kind, MemorySpace::Shared, lane);
        let exchange = shared.clocks.exchange_between(race.earlier.warp(), race.earlier.pc, request.pc);
        let exchange = exchange.filter(|_| race.earlier.warp() == request.warp && !race.earlier_under_way);
        self.find(culprit, race.earlier.pc, |context, finding| {
            let code = &context.launch.kernel.code;
            let op = code.get(race.earlier.pc as usize).map(|instruction| &instruction.op);
            let bytes = op.map_or(1, Op::access_bytes).max(1);
            finding.other = Some(Other {
                access: match op {
                    Some(Op::Atomic(_) | Op::Mbarrier(_)) => Access::Atomic,
                    _ if race.earlier_writes => Access::Write,
                    _ => Access::Read,
                },
                address: Some(race.offset - race.offset % bytes),
                bytes,
                thread: Some(context.thread(race.earlier.warp(), race.earlier.lane())),
                site: context.launch.kernel.site(race.earlier.pc),
                work: None,
            });
            if race.earlier_under_way {
                finding.note = "the other is a cp.async that has not been waited for".into();
            }
            if let Some(site) = exchange.and_then(|pc| context.launch.kernel.site(pc)) {
                let opcode: Vec<&str> = site.instruction.split('.').take(2).collect();
                finding.note = format!("{} orders no memory; __syncwarp() does", opcode.join("."));
            }
        });
    }

    /// Checks an access to local memory and gives the places of its bytes.
    pub(super) fn local(&mut self, warp: &mut Warp, request: &Request<'_>) -> Result<Places, Fault> {
        match warp.local.has_allocations() {
            true => self.inside_stack(warp, request)?,
            false => self.inside(request, MemorySpace::Local, u64::from(self.launch.kernel.local_bytes))?,
        }
        self.counters.local_requests += 1;
        let mut places: Places = [std::ptr::null_mut(); LANES];
        for lane in lanes_of(request.mask) {
            let offset = request.offsets[lane];
            if request.what == Use::Read {
                if self.launch.check.initcheck && !warp.local.is_written(lane, offset, request.bytes) {
                    let culprit = request.culprit(Kind::Uninitialized, MemorySpace::Local, lane);
                    let missing = warp.local.unwritten(lane, offset, request.bytes);
                    let address = offset + u64::from(missing.trailing_zeros());
                    let stored_by = warp.local.undefined_store(lane, address);
                    self.unwritten.push(Unwritten { culprit, missing, address, stored_by });
                }
            } else {
                warp.local.write(lane, offset, request.bytes);
            }
            let at = lane * warp.local.of_thread as usize + offset as usize;
            places[lane] = warp.local.bytes.as_mut_ptr().wrapping_add(at);
        }
        Ok(places)
    }

    /// A store to the kernel's parameters, which are read-only.
    #[cold]
    pub(super) fn written_params(&mut self, request: &Request<'_>) -> Fault {
        let lane = request.mask.trailing_zeros() as usize;
        self.find(request.culprit(Kind::OutOfBounds, MemorySpace::Param, lane), 0, |_, finding| {
            finding.note = "parameters cannot be written".into();
        });
        Fault::ILLEGAL_ADDRESS
    }

    /// Checks a read of the kernel's parameters and gives the places of its bytes.
    pub(super) fn params(&mut self, request: &Request<'_>) -> Result<Places, Fault> {
        self.inside(request, MemorySpace::Param, u64::from(self.launch.kernel.param_bytes))?;
        let base = self.params.as_mut_ptr();
        Ok(request.offsets.map(|offset| base.wrapping_add(offset as usize)))
    }
}

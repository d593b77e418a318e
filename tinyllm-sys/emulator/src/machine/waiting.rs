//! `mbarrier` instructions: arrivals and waits of a warp's lanes at objects in shared memory.

use super::{
    Fault,
    addresses::addresses,
    clocks::MAX_WARPS,
    context::Context,
    mbarriers::{Arrival, Misuse, OBJECT_BYTES, Phase},
    memory::in_window,
    private::Request,
    shared::Shared,
    transfer::lanes_of,
    warp::{CopyArrival, Warp},
    words::Use,
};
use crate::{
    kernel::{Mbarrier, MbarrierAction},
    lanes::LANES,
    memory::SHARED_WINDOW,
    report::Kind,
};

impl Context<'_> {
    /// Does it for each lane. Whether all of them wait in vain, and other warps should run.
    pub(super) fn mbarrier(
        &mut self,
        shared: &mut Shared,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        mbarrier: &Mbarrier,
    ) -> Result<bool, Fault> {
        let at = addresses(&warp.registers, mbarrier.address);
        let elsewhere = |lane: &usize| mbarrier.generic && at[*lane] & !(SHARED_WINDOW - 1) != SHARED_WINDOW;
        if let Some(lane) = lanes_of(mask).find(elsewhere) {
            let note = format!("{:#x} is no address of shared memory", at[lane]);
            self.find_at(Kind::MbarrierMisuse, pc, warp.index, lane, note, None);
            return Err(Fault::INVALID_ADDRESS_SPACE);
        }
        let offsets = in_window(&at);
        let what = match mbarrier.action {
            MbarrierAction::Init { .. } | MbarrierAction::Invalidate => Use::Write,
            _ => Use::Atomic,
        };
        let request = Request { pc, warp: warp.index, mask, offsets: &offsets, bytes: OBJECT_BYTES, what };
        // Where it is an object it was written; where it is none, that is to be said.
        self.shared(shared, &Request { what: Use::CopyBegun, ..request })?;
        let waits = self.mbarrier_lanes(shared, warp, &request, mbarrier);
        let waits = waits.map_err(|(lane, misuse)| {
            self.find_at(Kind::MbarrierMisuse, pc, warp.index, lane, misuse, None);
            Fault::LAUNCH_FAILED
        })?;
        if what == Use::Write {
            shared.mark_written(&offsets, OBJECT_BYTES, mask);
        }
        Ok(waits)
    }

    /// The lanes one after the other; where one fails, which and why.
    fn mbarrier_lanes(
        &mut self,
        shared: &mut Shared,
        warp: &mut Warp,
        request: &Request<'_>,
        mbarrier: &Mbarrier,
    ) -> Result<bool, (usize, Misuse)> {
        let Request { mask, offsets, .. } = *request;
        let at = |lane: usize| move |misuse| (lane, misuse);
        match &mbarrier.action {
            MbarrierAction::Init { count } => {
                for lane in lanes_of(mask) {
                    let count = warp.registers.row(*count)[lane];
                    let Shared { mbarriers, bytes, .. } = &mut *shared;
                    mbarriers.init(bytes.as_mut_slice(), offsets[lane], count).map_err(at(lane))?;
                }
                self.shared_races(shared, request);
            }
            MbarrierAction::Invalidate => {
                for lane in lanes_of(mask) {
                    let Shared { mbarriers, bytes, .. } = &mut *shared;
                    mbarriers.invalidate(bytes.as_mut_slice(), offsets[lane]).map_err(at(lane))?;
                }
                self.shared_races(shared, request);
            }
            MbarrierAction::Arrive { d, count, drop, completes } => {
                self.shared_races(shared, request);
                let mut known = [0; MAX_WARPS];
                shared.clocks.arrive(warp.index, &mut known);
                for lane in lanes_of(mask) {
                    let count = count.map_or(1, |count| warp.registers.row(count)[lane]);
                    let arrival = Arrival { count, drop: *drop, completes: *completes };
                    let Shared { mbarriers, bytes, .. } = &mut *shared;
                    let state = mbarriers.arrive(bytes.as_mut_slice(), offsets[lane], arrival, &known);
                    let state = state.map_err(at(lane))?;
                    if let Some(d) = d {
                        warp.registers.wide_mut(*d)[lane] = state;
                    }
                }
            }
            MbarrierAction::Test { d, state, parity } => {
                self.arrive_copies_at(shared, request).map_err(at(mask.trailing_zeros() as usize))?;
                self.shared_races(shared, request);
                let mut complete = 0;
                for lane in lanes_of(mask) {
                    let phase = match parity {
                        true => Phase::Parity(warp.registers.row(*state)[lane]),
                        false => Phase::Of(warp.registers.wide(*state)[lane]),
                    };
                    let Shared { mbarriers, bytes, clocks, .. } = &mut *shared;
                    let test = mbarriers.test(bytes.as_mut_slice(), offsets[lane], phase, clocks, warp.index);
                    complete |= u32::from(test.map_err(at(lane))?) << lane;
                }
                warp.registers.set_predicate(*d, complete, mask);
                return Ok(complete == 0);
            }
            MbarrierAction::ArriveAfterCopies { increments } => {
                self.shared_races(shared, request);
                if *increments {
                    for lane in lanes_of(mask) {
                        let Shared { mbarriers, bytes, .. } = &mut *shared;
                        mbarriers.expect(bytes.as_mut_slice(), offsets[lane]).map_err(at(lane))?;
                    }
                }
                let mut known = [0; MAX_WARPS];
                shared.clocks.arrive(warp.index, &mut known);
                let copies = warp.copies.take(mask);
                let (warp, pc) = (warp.index, request.pc);
                shared.arrivals.push(CopyArrival { warp, pc, mask, objects: *offsets, copies, known });
            }
        }
        Ok(false)
    }

    /// Copies land whose arrival somebody waits for at one of the objects, and those that the same threads have begun before them.
    fn arrive_copies_at(&mut self, shared: &mut Shared, request: &Request<'_>) -> Result<(), Misuse> {
        if shared.arrivals.is_empty() {
            return Ok(());
        }
        let objects: Vec<u64> = lanes_of(request.mask).map(|lane| request.offsets[lane]).collect();
        let is_waited_for = |arrival: &CopyArrival| {
            lanes_of(arrival.mask).any(|lane| objects.contains(&arrival.objects[lane]))
        };
        let mut last = [None; MAX_WARPS];
        for (number, arrival) in
            shared.arrivals.iter().enumerate().filter(|(_, arrival)| is_waited_for(arrival))
        {
            last[arrival.warp as usize % MAX_WARPS] = Some(number);
        }
        let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut shared.arrivals)
            .into_iter()
            .enumerate()
            .partition(|(number, arrival)| last[arrival.warp as usize % MAX_WARPS] >= Some(*number));
        shared.arrivals = later.into_iter().map(|(_, arrival)| arrival).collect();
        now.into_iter().try_for_each(|(_, arrival)| self.copies_arrive(shared, arrival))
    }

    /// All copies of an arrival land, and it arrives.
    pub(super) fn copies_arrive(&mut self, shared: &mut Shared, arrival: CopyArrival) -> Result<(), Misuse> {
        let time = arrival.known[arrival.warp as usize % MAX_WARPS];
        for copy in &arrival.copies {
            self.land(shared, arrival.warp, copy, copy.mask, time);
        }
        for lane in lanes_of(arrival.mask) {
            let one = Arrival { count: 1, drop: false, completes: true };
            let Shared { mbarriers, bytes, .. } = &mut *shared;
            mbarriers.arrive(bytes.as_mut_slice(), arrival.objects[lane], one, &arrival.known)?;
        }
        Ok(())
    }

    /// A thread has waited for its copies in another way: those whose arrival is under way land too.
    pub(super) fn land_arriving(
        &mut self,
        shared: &mut Shared,
        warp: &Warp,
        mask: u32,
        is_due: impl Fn(usize, [u32; LANES]) -> bool,
    ) -> Result<(), Fault> {
        let mut arrivals = std::mem::take(&mut shared.arrivals);
        let mut result = Ok(());
        for arrival in arrivals.iter_mut().filter(|arrival| arrival.warp == warp.index) {
            let time = arrival.known[arrival.warp as usize % MAX_WARPS];
            for copy in &mut arrival.copies {
                let landed = lanes_of(copy.mask & mask).filter(|lane| is_due(*lane, copy.groups));
                let landed = landed.fold(0, |landed, lane| landed | 1 << lane);
                copy.mask &= !landed;
                self.land(shared, warp.index, copy, landed, time);
            }
            arrival.copies.retain(|copy| copy.mask != 0);
        }
        // Those without a copy under way have arrived.
        let (now, later): (Vec<_>, Vec<_>) =
            arrivals.into_iter().partition(|arrival| arrival.warp == warp.index && arrival.copies.is_empty());
        shared.arrivals = later;
        for arrival in now {
            let (pc, lane) = (arrival.pc, arrival.mask.trailing_zeros() as usize);
            if let Err(misuse) = self.copies_arrive(shared, arrival) {
                self.find_at(Kind::MbarrierMisuse, pc, warp.index, lane, misuse, None);
                result = Err(Fault::LAUNCH_FAILED);
            }
        }
        result
    }
}

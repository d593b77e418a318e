//! `malloc` and `free` in kernels, and the addresses that they have.

use super::{Fault, Launch, context::Context, transfer::lanes_of, warp::Warp};
use crate::{
    lanes::Slot,
    memory::{Region, WrongFree},
    report::{Kind, Place},
};

impl Launch<'_> {
    /// The region of a whole range, in the program's memory or in what kernels have allocated.
    pub(super) fn find(&self, address: u64, bytes: u64) -> Option<Region> {
        self.space.find(address, bytes).cloned().or_else(|| self.heap.find(address, bytes))
    }

    /// The place of an address there.
    pub(super) fn global_place(&self, address: u64) -> Option<Place> {
        self.heap.place(address).or_else(|| self.space.place(address))
    }

    /// The first address from one on that no region has.
    pub(super) fn first_outside(&self, address: u64) -> u64 {
        let region = self.space.index(address).and_then(|index| self.space.regions.get(index));
        region.map(|region| region.end).or_else(|| self.heap.end_of(address)).unwrap_or(address)
    }
}

impl Context<'_> {
    pub(super) fn allocate(&mut self, warp: &mut Warp, mask: u32, d: Slot, bytes: Slot) {
        let sizes = *warp.registers.wide(bytes);
        for lane in lanes_of(mask) {
            warp.registers.wide_mut(d)[lane] = self.launch.heap.allocate(sizes[lane]);
        }
    }

    pub(super) fn free(&mut self, warp: &Warp, pc: u32, mask: u32, pointer: Slot) -> Result<(), Fault> {
        for lane in lanes_of(mask) {
            let address = warp.registers.wide(pointer)[lane];
            if address == 0 {
                continue;
            }
            if let Err(wrong) = self.launch.heap.free(address) {
                let kind = match wrong {
                    WrongFree::Freed => Kind::DoubleFree,
                    WrongFree::NotAllocated => Kind::InvalidFree,
                };
                self.find_with(kind, pc, warp.index, lane, |context, finding| {
                    finding.address = Some(address);
                    finding.place = context.launch.global_place(address);
                });
                return Err(Fault::LAUNCH_FAILED);
            }
        }
        Ok(())
    }
}

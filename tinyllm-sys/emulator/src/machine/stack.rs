//! `alloca`: memory of a thread that is had while it runs, and gone when the stack is restored or the function returns.

use super::{Fault, context::Context, private::Request, transfer::lanes_of, warp::Warp};
use crate::{
    lanes::{Registers, Slot},
    report::{Kind, MemorySpace, Place, Relation},
};

/// Local memory that a thread may have.
const MAX_LOCAL_BYTES: u64 = 512 << 10;

fn value(registers: &Registers, slot: Slot, wide: bool, lane: usize) -> u64 {
    if wide { registers.wide(slot)[lane] } else { u64::from(registers.row(slot)[lane]) }
}

fn set(registers: &mut Registers, slot: Slot, wide: bool, lane: usize, value: u64) {
    if wide {
        registers.wide_mut(slot)[lane] = value;
    } else {
        registers.row_mut(slot)[lane] = value as u32;
    }
}

impl Context<'_> {
    pub(super) fn stack_allocate(
        &mut self,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        (d, bytes): (Slot, Slot),
        wide: bool,
        align: u32,
    ) -> Result<(), Fault> {
        for lane in lanes_of(mask) {
            let bytes = value(&warp.registers, bytes, wide, lane);
            let Some(at) = warp.local.allocate(lane, bytes, u64::from(align), MAX_LOCAL_BYTES) else {
                let note = format!("{bytes} bytes more than the stack has, which ends at {MAX_LOCAL_BYTES}");
                self.find_misuse(pc, warp.index, lane, note);
                return Err(Fault::ILLEGAL_ADDRESS);
            };
            set(&mut warp.registers, d, wide, lane, at);
        }
        Ok(())
    }

    pub(super) fn stack_save(&mut self, warp: &mut Warp, mask: u32, d: Slot, wide: bool) {
        for lane in lanes_of(mask) {
            let top = warp.local.top(lane);
            set(&mut warp.registers, d, wide, lane, top);
        }
    }

    pub(super) fn stack_restore(
        &mut self,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        a: Slot,
        wide: bool,
    ) -> Result<(), Fault> {
        for lane in lanes_of(mask) {
            let top = value(&warp.registers, a, wide, lane);
            if !warp.local.restore(lane, top) {
                self.find_misuse(pc, warp.index, lane, format!("{top:#x} is no saved top of this stack"));
                return Err(Fault::ILLEGAL_ADDRESS);
            }
        }
        Ok(())
    }

    /// Whether every lane's bytes are its variables' or those of one allocation.
    #[cold]
    pub(super) fn inside_stack(&mut self, warp: &Warp, request: &Request<'_>) -> Result<(), Fault> {
        let Request { mask, offsets, bytes, .. } = *request;
        let misaligned = |lane: &usize| !offsets[*lane].is_multiple_of(bytes);
        if let Some(lane) = lanes_of(mask).find(misaligned) {
            self.find(request.culprit(Kind::Misaligned, MemorySpace::Local, lane), 0, |_, _| {});
            return Err(Fault::MISALIGNED_ADDRESS);
        }
        let Some(lane) = lanes_of(mask).find(|lane| !warp.local.contains(*lane, offsets[*lane], bytes))
        else {
            return Ok(());
        };
        let near = warp.local.allocation_before(lane, offsets[lane]);
        self.find(request.culprit(Kind::OutOfBounds, MemorySpace::Local, lane), 0, |_, finding| {
            if let Some((start, end)) = near {
                // The first byte that is outside is the one to report.
                let (name, offset) = ("memory of alloca".to_owned(), offsets[lane].saturating_sub(end));
                finding.place = Some(Place { name, bytes: end - start, offset, relation: Relation::After });
            }
        });
        Err(Fault::ILLEGAL_ADDRESS)
    }
}

//! Loads, stores and copies of a warp, in whatever space their addresses are.

use super::{
    Fault,
    addresses::addresses,
    context::Context,
    global, private,
    recorder::Touch,
    shared::Shared,
    transfer::{lane_value, lanes_of, read, write},
    warp::Warp,
    words::Use,
};
use crate::{
    kernel::{Target, Transfer},
    lanes::{LANES, Registers},
    memory::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW},
    report::Access,
};

/// Bits of a generic address that are its place in a space's window.
const IN_WINDOW: u64 = SHARED_WINDOW - 1;

/// The parts of an access: lanes by space, and every lane's place in the space that is not global.
#[inline(always)]
pub(super) fn parts(
    target: Target,
    addresses: &[u64; LANES],
    mask: u32,
) -> ([(Target, u32); 4], [u64; LANES]) {
    if target != Target::Generic {
        return ([(target, mask), (target, 0), (target, 0), (target, 0)], *addresses);
    }
    let mut spaces = [(Target::Global, 0), (Target::Shared, 0), (Target::Local, 0), (Target::Param, 0)];
    for lane in lanes_of(mask) {
        let space = match addresses[lane] & !IN_WINDOW {
            SHARED_WINDOW => 1,
            LOCAL_WINDOW => 2,
            PARAM_WINDOW => 3,
            // Beyond all windows: no allocation is there, which is then reported.
            _ => 0,
        };
        spaces[space].1 |= 1 << lane;
    }
    (spaces, in_window(addresses))
}

/// Generic addresses as offsets in their windows.
#[inline(always)]
pub(super) fn in_window(addresses: &[u64; LANES]) -> [u64; LANES] {
    let mut offsets = *addresses;
    for offset in &mut offsets {
        *offset &= IN_WINDOW;
    }
    offsets
}

impl Context<'_> {
    #[inline(always)]
    pub(super) fn load(
        &mut self,
        shared: &mut Shared,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        transfer: &Transfer,
    ) -> Result<(), Fault> {
        let addresses = addresses(&warp.registers, transfer.address);
        let (spaces, offsets) = parts(transfer.target, &addresses, mask);
        for (target, mask) in spaces.into_iter().filter(|(_, mask)| *mask != 0) {
            let at = if target == Target::Global { &addresses } else { &offsets };
            self.load_from(target, shared, warp, pc, mask, transfer, at)?;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "an access has that many sides")]
    #[inline(always)]
    fn load_from(
        &mut self,
        target: Target,
        shared: &mut Shared,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        transfer: &Transfer,
        at: &[u64; LANES],
    ) -> Result<(), Fault> {
        let bytes = transfer.bytes();
        if target == Target::Global {
            let touch = if transfer.order.reaches_blocks() { Touch::Observe } else { Touch::Read };
            self.before_load(at, mask, transfer);
            let access = Access::Read;
            let request = global::Request { pc, warp: warp.index, mask, addresses: at, bytes, access, touch };
            let places = self.global(&request)?;
            read(&mut warp.registers, transfer, &places, mask);
            if !self.unwritten.is_empty() {
                self.load_undefined(warp, transfer);
            }
            return Ok(());
        }
        let request = private::Request { pc, warp: warp.index, mask, offsets: at, bytes, what: Use::Read };
        let places = match target {
            Target::Shared => {
                let places = self.shared(shared, &request)?;
                self.shared_races(shared, &request);
                places
            }
            Target::Local => self.local(warp, &request)?,
            _ => self.params(&request)?,
        };
        read(&mut warp.registers, transfer, &places, mask);
        if !self.unwritten.is_empty() {
            self.load_undefined(warp, transfer);
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn store(
        &mut self,
        shared: &mut Shared,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        transfer: &Transfer,
    ) -> Result<(), Fault> {
        let addresses = addresses(&warp.registers, transfer.address);
        let (spaces, offsets) = parts(transfer.target, &addresses, mask);
        for (target, mask) in spaces.into_iter().filter(|(_, mask)| *mask != 0) {
            let at = if target == Target::Global { &addresses } else { &offsets };
            self.store_to(target, shared, warp, pc, mask, transfer, at)?;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "an access has that many sides")]
    #[inline(always)]
    fn store_to(
        &mut self,
        target: Target,
        shared: &mut Shared,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        transfer: &Transfer,
        at: &[u64; LANES],
    ) -> Result<(), Fault> {
        let bytes = transfer.bytes();
        if target == Target::Global {
            // A strong store is seen like an atomic: two of them do not race.
            let touch = if transfer.order.reaches_blocks() { Touch::Atomic } else { Touch::Write };
            self.before_store(transfer.order);
            let access = Access::Write;
            let request = global::Request { pc, warp: warp.index, mask, addresses: at, bytes, access, touch };
            let places = self.global(&request)?;
            write(&warp.registers, transfer, &places, mask);
            self.changes += 1;
            self.after_store(at, mask, transfer);
            return Ok(());
        }
        let request = private::Request { pc, warp: warp.index, mask, offsets: at, bytes, what: Use::Write };
        match target {
            Target::Shared => {
                let places = self.shared(shared, &request)?;
                let races = shared.touch(&request);
                let registers = &warp.registers;
                let before =
                    if races.is_empty() { 0 } else { are_there(registers, transfer, shared, at, mask) };
                write(registers, transfer, &places, mask);
                if !races.is_empty() {
                    let after = are_there(registers, transfer, shared, at, mask);
                    self.stores_race(shared, &request, &races, before, after);
                }
            }
            Target::Local => {
                let places = self.local(warp, &request)?;
                write(&warp.registers, transfer, &places, mask);
            }
            _ => {
                // Nothing of a kernel's parameters can be written.
                return Err(self.written_params(&request));
            }
        }
        Ok(())
    }

    /// The parameters of a kernel: the same for every lane.
    pub(super) fn load_param(
        &mut self,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        offset: u32,
        transfer: &Transfer,
    ) -> Result<(), Fault> {
        let bytes = transfer.bytes();
        let offsets = [u64::from(offset); LANES];
        let what = Use::Read;
        let request = private::Request { pc, warp: warp.index, mask, offsets: &offsets, bytes, what };
        let places = self.params(&request)?;
        read(&mut warp.registers, transfer, &places, mask);
        Ok(())
    }
}

/// The lanes whose values are in shared memory.
#[cold]
fn are_there(
    registers: &Registers,
    transfer: &Transfer,
    shared: &Shared,
    at: &[u64; LANES],
    mask: u32,
) -> u32 {
    let element = transfer.element;
    let bytes = element.bytes as usize;
    let is_there = |lane: usize| {
        transfer.registers.iter().enumerate().all(|(index, slot)| {
            let start = at[lane] as usize + index * bytes;
            slot.is_none_or(|slot| {
                let value = lane_value(registers, slot, element, lane).to_le_bytes();
                shared.bytes.as_slice()[start..start + bytes] == value[..bytes]
            })
        })
    };
    lanes_of(mask).filter(|lane| is_there(*lane)).fold(0, |lanes, lane| lanes | 1 << lane)
}

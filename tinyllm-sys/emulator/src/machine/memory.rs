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
    lanes::LANES,
    memory::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW},
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
        if transfer.strong && transfer.target != Target::Shared {
            self.synchronize(false);
        }
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
        let bytes = u64::from(transfer.element.bytes) * transfer.registers.len() as u64;
        if target == Target::Global {
            let touch = if transfer.strong { Touch::Observe } else { Touch::Read };
            let request = global::Request { pc, warp: warp.index, mask, addresses: at, bytes, touch };
            let places = self.global(&request)?;
            read(&mut warp.registers, transfer, &places, mask);
            return Ok(());
        }
        let request = private::Request { pc, warp: warp.index, mask, offsets: at, bytes, what: Use::Read };
        let places = match target {
            Target::Shared => {
                let places = self.shared(shared, &request)?;
                self.shared_races(shared, &request, |_, _| false);
                places
            }
            Target::Local => self.local(warp, &request)?,
            _ => self.params(&request)?,
        };
        read(&mut warp.registers, transfer, &places, mask);
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
        if transfer.strong && transfer.target != Target::Shared {
            self.synchronize(true);
        }
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
        let bytes = u64::from(transfer.element.bytes) * transfer.registers.len() as u64;
        if target == Target::Global {
            // A strong store is seen like an atomic: two of them do not race.
            let touch = if transfer.strong { Touch::Atomic } else { Touch::Write };
            let request = global::Request { pc, warp: warp.index, mask, addresses: at, bytes, touch };
            let places = self.global(&request)?;
            write(&warp.registers, transfer, &places, mask);
            return Ok(());
        }
        let request = private::Request { pc, warp: warp.index, mask, offsets: at, bytes, what: Use::Write };
        match target {
            Target::Shared => {
                let places = self.shared(shared, &request)?;
                write(&warp.registers, transfer, &places, mask);
                let registers = &warp.registers;
                self.shared_races(shared, &request, |bytes, lane| {
                    transfer.registers.iter().enumerate().all(|(index, slot)| {
                        let element = transfer.element;
                        let at = at[lane] as usize + index * element.bytes as usize;
                        let there = &bytes.as_slice()[at..at + element.bytes as usize];
                        slot.is_none_or(|slot| {
                            let value = lane_value(registers, slot, element, lane).to_le_bytes();
                            there == &value[..element.bytes as usize]
                        })
                    })
                });
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
        let bytes = u64::from(transfer.element.bytes) * transfer.registers.len() as u64;
        let offsets = [u64::from(offset); LANES];
        let what = Use::Read;
        let request = private::Request { pc, warp: warp.index, mask, offsets: &offsets, bytes, what };
        let places = self.params(&request)?;
        read(&mut warp.registers, transfer, &places, mask);
        Ok(())
    }

    /// An atomic, a strong load or a strong store: what it orders is noted.
    pub(super) fn synchronize(&mut self, stores: bool) {
        let recorder = &mut self.recorder;
        self.order.synchronize(stores, || recorder.take());
    }
}

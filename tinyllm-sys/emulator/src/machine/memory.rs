//! Loads, stores and copies of a warp, in whatever space their addresses are.

use super::{
    Fault, LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW,
    addresses::addresses,
    context::Context,
    global, private,
    recorder::Touch,
    shared::{Shared, Use},
    transfer::{lane_value, lanes_of, read, write},
    warp::Warp,
};
use crate::{
    kernel::{Address, Guard, Target, Transfer},
    lanes::{LANES, Slot},
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
            // Beyond all windows: no allocation is there, and that is what will be said.
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
                self.shared_races(shared, &request, |shared, lane| {
                    transfer.registers.iter().enumerate().all(|(index, slot)| {
                        let element = transfer.element;
                        let at = at[lane] as usize + index * element.bytes as usize;
                        let there = &shared.bytes.as_slice()[at..at + element.bytes as usize];
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

    /// `cp.async`: reads now, lands when it is waited for.
    #[allow(clippy::too_many_arguments, reason = "the instruction has that many operands")]
    pub(super) fn copy_async(
        &mut self,
        shared: &mut Shared,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        to: Address,
        from: Address,
        bytes: u32,
        source_bytes: Option<Slot>,
        ignore: Option<Guard>,
    ) -> Result<(), Fault> {
        let offsets = in_window(&addresses(&warp.registers, to));
        let sources = addresses(&warp.registers, from);
        let mut sizes = [bytes; LANES];
        if let Some(slot) = source_bytes {
            for (size, given) in sizes.iter_mut().zip(warp.registers.row(slot)) {
                *size = (*given).min(bytes);
            }
        }
        if let Some(ignore) = ignore {
            let set = warp.registers.predicate(ignore.predicate) ^ if ignore.negated { u32::MAX } else { 0 };
            lanes_of(set).for_each(|lane| sizes[lane] = 0);
        }
        let mut data = [[0u8; 16]; LANES];
        // Lanes that copy as much are one request.
        let mut left =
            lanes_of(mask).filter(|lane| sizes[*lane] > 0).fold(0u32, |mask, lane| mask | 1 << lane);
        while left != 0 {
            let size = sizes[left.trailing_zeros() as usize];
            let same =
                lanes_of(left).filter(|lane| sizes[*lane] == size).fold(0u32, |mask, lane| mask | 1 << lane);
            left &= !same;
            self.read_sources(warp, pc, same, &sources, size, bytes, &mut data)?;
        }
        let request = private::Request {
            pc,
            warp: warp.index,
            mask,
            offsets: &offsets,
            bytes: u64::from(bytes),
            what: Use::CopyBegun,
        };
        self.shared(shared, &request)?;
        self.shared_races(shared, &request, |_, _| false);
        for lane in lanes_of(mask) {
            warp.copies.start(lane, offsets[lane] as u32, data[lane], bytes, pc);
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "the instruction has that many operands")]
    fn read_sources(
        &mut self,
        warp: &Warp,
        pc: u32,
        mask: u32,
        sources: &[u64; LANES],
        size: u32,
        bytes: u32,
        data: &mut [[u8; 16]; LANES],
    ) -> Result<(), Fault> {
        // The address has to be aligned to the whole copy, however little of it is read.
        let aligned = |lane: &usize| sources[*lane].is_multiple_of(u64::from(bytes));
        let mask_of =
            |keep: &dyn Fn(&usize) -> bool| lanes_of(mask).filter(keep).fold(0u32, |m, lane| m | 1 << lane);
        let misaligned = mask_of(&|lane| !aligned(lane));
        let whole = size.is_power_of_two() && misaligned == 0;
        let request = |mask, bytes| global::Request {
            pc,
            warp: warp.index,
            mask,
            addresses: sources,
            bytes,
            touch: Touch::Read,
        };
        if misaligned != 0 {
            self.global(&request(misaligned, u64::from(bytes)))?;
        }
        let step = if whole { u64::from(size) } else { 1 };
        if whole {
            let places = self.global(&request(mask, step))?;
            for lane in lanes_of(mask) {
                copy_out(places[lane], &mut data[lane][..size as usize]);
            }
            return Ok(());
        }
        // A part that no single access has: byte by byte.
        for byte in 0..u64::from(size) {
            let at = sources.map(|source| source.wrapping_add(byte));
            let request = global::Request { addresses: &at, ..request(mask, 1) };
            let places = self.global(&request)?;
            for lane in lanes_of(mask) {
                copy_out(places[lane], &mut data[lane][byte as usize..=byte as usize]);
            }
        }
        Ok(())
    }

    /// Lets copies land.
    pub(super) fn land(&mut self, shared: &mut Shared, warp: u32, copies: Vec<super::copies::Copy>) {
        for copy in copies {
            let mut offsets = [0; LANES];
            offsets[copy.lane as usize] = u64::from(copy.to);
            let bytes = copy.bytes as usize;
            shared.bytes.as_mut_slice()[copy.to as usize..copy.to as usize + bytes]
                .copy_from_slice(&copy.data[..bytes]);
            shared.mark_written(u64::from(copy.to), u64::from(copy.bytes));
            let request = private::Request {
                pc: copy.pc,
                warp,
                mask: 1 << copy.lane,
                offsets: &offsets,
                bytes: u64::from(copy.bytes),
                what: Use::CopyLanded,
            };
            self.shared_races(shared, &request, |_, _| false);
        }
    }

    /// An atomic, a strong load or a strong store: what it orders is noted.
    pub(super) fn synchronize(&mut self, stores: bool) {
        let recorder = &mut self.recorder;
        self.order.synchronize(stores, || recorder.take());
    }
}

/// Bytes at a place that was checked.
fn copy_out(place: *mut u8, out: &mut [u8]) {
    use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
    for (index, byte) in out.iter_mut().enumerate() {
        // SAFETY: the caller was given the place for as many bytes; it is only used through atomics.
        *byte = unsafe { AtomicU8::from_ptr(place.add(index)) }.load(Relaxed);
    }
}

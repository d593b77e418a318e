//! `cp.async`: copies from global to shared memory that land when they are waited for, and not before.

use super::{
    Fault,
    addresses::addresses,
    context::Context,
    global,
    memory::in_window,
    private,
    recorder::Touch,
    shared::Shared,
    transfer::{Places, lanes_of},
    undefined::UndefinedStore,
    warp::{AsyncCopy, COPY_BYTES, Copies, CopyData, Warp},
    words::Use,
};
use crate::{
    kernel::{Address, Guard},
    lanes::{LANES, Slot},
    memory::load,
    report::{Access, Kind},
};

/// The lanes where something holds.
#[inline(always)]
fn lanes_where(is: impl Fn(usize) -> bool) -> u32 {
    let mut mask = 0;
    for lane in 0..LANES {
        mask |= u32::from(is(lane)) << lane;
    }
    mask
}

impl Context<'_> {
    /// Reads now, lands when it is waited for.
    #[allow(clippy::too_many_arguments, reason = "the instruction has that many operands")]
    #[inline(always)]
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
        let mut data = [[0u8; COPY_BYTES]; LANES];
        // Lanes that copy as much are one request.
        let mut left = mask & lanes_where(|lane| sizes[lane] > 0);
        while left != 0 {
            let size = sizes[left.trailing_zeros() as usize];
            let same = left & lanes_where(|lane| sizes[lane] == size);
            left &= !same;
            self.read_sources(warp, pc, same, &sources, size, bytes, &mut data)?;
        }
        let undefined = if self.unwritten.is_empty() { None } else { Some(self.undefined_sources(&sources)) };
        let request = private::Request {
            pc,
            warp: warp.index,
            mask,
            offsets: &offsets,
            bytes: u64::from(bytes),
            what: Use::CopyBegun,
        };
        self.shared(shared, &request)?;
        self.shared_races(shared, &request);
        let groups = warp.copies.committed;
        warp.copies.pending.push(AsyncCopy { pc, mask, groups, to: offsets, bytes, data, undefined });
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "the instruction has that many operands")]
    #[inline(always)]
    fn read_sources(
        &mut self,
        warp: &Warp,
        pc: u32,
        mask: u32,
        sources: &[u64; LANES],
        size: u32,
        bytes: u32,
        data: &mut CopyData,
    ) -> Result<(), Fault> {
        let request = |mask, bytes| global::Request {
            pc,
            warp: warp.index,
            mask,
            addresses: sources,
            bytes,
            access: Access::Read,
            touch: Touch::Read,
        };
        // The address has to be aligned to the whole copy, however little of it is read.
        let misaligned = mask & lanes_where(|lane| sources[lane] & u64::from(bytes - 1) != 0);
        if misaligned != 0 {
            self.global(&request(misaligned, u64::from(bytes)))?;
        }
        if size.is_power_of_two() && misaligned == 0 {
            let places = self.global(&request(mask, u64::from(size)))?;
            for lane in lanes_of(mask) {
                copy_out(&places, lane, &mut data[lane], size as usize);
            }
            return Ok(());
        }
        // A part that no single access has: byte by byte.
        for byte in 0..u64::from(size) {
            let at = sources.map(|source| source.wrapping_add(byte));
            let places = self.global(&global::Request { addresses: &at, ..request(mask, 1) })?;
            for lane in lanes_of(mask) {
                let mut one = [0; COPY_BYTES];
                copy_out(&places, lane, &mut one, 1);
                data[lane][byte as usize] = one[0];
            }
        }
        Ok(())
    }

    /// The bytes of each lane's source that nobody wrote.
    #[cold]
    fn undefined_sources(&mut self, sources: &[u64; LANES]) -> Box<[u32; LANES]> {
        let mut undefined = Box::new([0; LANES]);
        for unwritten in self.unwritten.drain(..) {
            let lane = unwritten.culprit.lane;
            undefined[lane] |= unwritten.missing << (unwritten.culprit.address - sources[lane]);
        }
        undefined
    }

    /// Lets copies of the lanes of a mask land: those of all but the last `groups` groups of a lane, or all.
    #[inline(always)]
    pub(super) fn wait_for_copies(
        &mut self,
        shared: &mut Shared,
        warp: &mut Warp,
        mask: u32,
        groups: Option<u32>,
    ) -> Result<(), Fault> {
        if !shared.arrivals.is_empty() {
            let committed = warp.copies.committed;
            let is_due = |lane: usize, of: [u32; LANES]| {
                groups.is_none_or(|groups| of[lane] + groups < committed[lane])
            };
            self.land_arriving(shared, warp, mask, is_due)?;
        }
        let time = shared.clocks.time(warp.index);
        let Copies { pending, committed } = &mut warp.copies;
        for copy in pending.iter_mut() {
            let is_due =
                |lane: usize| groups.is_none_or(|groups| copy.groups[lane] + groups < committed[lane]);
            let landed = copy.mask & mask & lanes_where(is_due);
            if landed != 0 {
                copy.mask &= !landed;
                self.land(shared, warp.index, copy, landed, time);
            }
        }
        pending.retain(|copy| copy.mask != 0);
        Ok(())
    }

    /// Lets parts of a copy land at a time of its warp.
    #[inline(always)]
    pub(super) fn land(&mut self, shared: &mut Shared, warp: u32, copy: &AsyncCopy, mask: u32, time: u32) {
        let bytes = copy.bytes as usize;
        let to = shared.bytes.as_mut_slice();
        for lane in lanes_of(mask) {
            let at = copy.to[lane] as usize;
            match bytes {
                // The usual size is known, so that it is moved at once.
                COPY_BYTES => to[at..at + COPY_BYTES].copy_from_slice(&copy.data[lane]),
                _ => to[at..at + bytes].copy_from_slice(&copy.data[lane][..bytes]),
            }
        }
        shared.mark_written(&copy.to, u64::from(copy.bytes), mask);
        if let Some(undefined) = &copy.undefined {
            let store = UndefinedStore { pc: copy.pc, shuffled: None };
            lanes_of(mask).for_each(|lane| shared.store_undefined(copy.to[lane], undefined[lane], store));
        }
        let request = private::Request {
            pc: copy.pc,
            warp,
            mask,
            offsets: &copy.to,
            bytes: u64::from(copy.bytes),
            what: Use::CopyLanded,
        };
        for (lane, race) in shared.touch_at(&request, time) {
            self.shared_race(shared, &request, lane, race, Kind::SharedRace);
        }
    }
}

/// A lane's bytes at a place that was checked for an aligned access of so many, a power of two.
#[inline(always)]
fn copy_out(places: &Places, lane: usize, out: &mut [u8; COPY_BYTES], bytes: usize) {
    /// Moves words of a size.
    macro_rules! words {
        ($bytes:literal, $ty:ty) => {
            for (index, out) in out[..bytes].chunks_exact_mut($bytes).enumerate() {
                // SAFETY: the caller was given the place for as many bytes, aligned; what others use meanwhile is used through
                // words alone.
                let word = unsafe { load::<$bytes>(places[lane].wrapping_add(index * $bytes)) };
                out.copy_from_slice(&(word as $ty).to_le_bytes());
            }
        };
    }
    match bytes {
        4 | 8 | 16 => words!(4, u32),
        _ => words!(1, u8),
    }
}

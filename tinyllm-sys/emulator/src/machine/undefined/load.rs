//! Loads that read what nobody wrote: their registers become undefined.

use super::{LaneRead, Origin, Source, Undefined, Unwritten, register_class};
use crate::{
    kernel::Transfer,
    lanes::{Class, LANES, Slot},
    machine::{context::Context, matrix::fragments, transfer::lanes_of, warp::Warp},
};

/// Bits for bytes: all eight of each.
pub(super) fn bits_of_bytes(bytes: u32) -> u64 {
    (0..8).filter(|byte| bytes >> byte & 1 == 1).fold(0, |bits, byte| bits | 0xff << (8 * byte))
}

impl Context<'_> {
    /// The undefined values of a warp, none yet where it has had none.
    pub(super) fn undefined<'w>(&self, warp: &'w mut Warp) -> &'w mut Undefined {
        let kernel = self.launch.kernel;
        warp.undefined.get_or_insert_with(|| Box::new(Undefined::new(kernel.rows, kernel.predicates)))
    }

    /// After a load.
    #[cold]
    pub(in crate::machine) fn load_undefined(&mut self, warp: &mut Warp, transfer: &Transfer) {
        let all = std::mem::take(&mut self.unwritten);
        let undefined = self.undefined(warp);
        let element = transfer.element;
        let class = register_class(element.register_bits);
        for unwritten in &all {
            let origin = undefined.origin(Source::Memory(*unwritten));
            for (index, slot) in transfer.registers.iter().enumerate() {
                let Some(slot) = *slot else { continue };
                let bytes = unwritten.missing >> (index as u32 * element.bytes) & ((1 << element.bytes) - 1);
                let mut bits = bits_of_bytes(bytes);
                if element.signed && bytes >> (element.bytes - 1) & 1 == 1 {
                    // Copies of the sign.
                    bits |= u64::MAX << (8 * element.bytes - 1) & (u64::MAX >> (64 - element.register_bits));
                }
                if bits != 0 {
                    undefined.set(slot, class, unwritten.culprit.lane, bits, origin);
                }
            }
        }
    }

    /// After `ldmatrix`: each lane's row goes to four lanes, or into eight.
    #[cold]
    pub(in crate::machine) fn load_matrix_undefined(
        &mut self,
        warp: &mut Warp,
        mask: u32,
        transposed: bool,
        registers: &[Slot],
    ) {
        let all = std::mem::take(&mut self.unwritten);
        let undefined = self.undefined(warp);
        // The undefined bits of rows, and the number of the lane that read each, go the way of the values.
        let mut rows = [[[0u32; 4]; 8]; 4];
        let mut readers = [[[0u32; 4]; 8]; 4];
        let mut origins: [Origin; LANES] = [0; LANES];
        for unwritten in &all {
            let Unwritten { culprit, missing, .. } = unwritten;
            let lane = culprit.lane;
            origins[lane] = undefined.origin(Source::Memory(*unwritten));
            for (word, bits) in rows[lane / 8][lane % 8].iter_mut().enumerate() {
                *bits = bits_of_bytes(missing >> (4 * word) & 0xf) as u32;
            }
            // Halves of a word may come from two rows.
            readers[lane / 8][lane % 8] = [lane as u32 | (lane as u32) << 16; 4];
        }
        let fragments = fragments(&rows, transposed).zip(fragments(&readers, transposed));
        for (slot, (bits, readers)) in registers.iter().zip(fragments) {
            for lane in lanes_of(mask & lanes_with(&bits)) {
                let half =
                    if bits[lane] & 0xffff != 0 { readers[lane] & 0xffff } else { readers[lane] >> 16 };
                undefined.set(*slot, Class::Row, lane, u64::from(bits[lane]), origins[half as usize]);
            }
        }
    }

    /// After a shuffle whose `readers` read from lanes that do not execute it.
    #[cold]
    pub(in crate::machine) fn shuffle_undefined(
        &mut self,
        warp: &mut Warp,
        pc: u32,
        readers: u32,
        d: Slot,
        from: &[u32; LANES],
    ) {
        if !self.launch.check.synccheck {
            return;
        }
        let (live, index) = (warp.live, warp.index);
        let undefined = self.undefined(warp);
        for lane in lanes_of(readers) {
            let has_ended = live >> from[lane] & 1 == 0;
            let read = LaneRead { pc, warp: index, lane, from: from[lane], has_ended };
            let origin = undefined.origin(Source::Lane(read));
            undefined.set(d, Class::Row, lane, u64::MAX, origin);
        }
    }
}

/// The lanes where there are bits.
fn lanes_with(bits: &[u32; LANES]) -> u32 {
    bits.iter().enumerate().fold(0, |lanes, (lane, bits)| lanes | u32::from(*bits != 0) << lane)
}

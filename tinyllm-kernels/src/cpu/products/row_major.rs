//! int8 weights where a file holds them, row after row: sixteen rows are transposed into a block, once for all input
//! rows, and then multiplied as any block is: the same bits, at the cost of the transpose.

use std::{mem::MaybeUninit, ops::Range};

use super::{
    RowMajor,
    block::Block,
    pack::{pack_values, read_scale},
};
use crate::{
    GroupSize, MAX_PIECE,
    cpu::{lanes::Lanes, layout::PANEL},
};

impl Block for RowMajor<'_> {
    fn shape(&self) -> (usize, GroupSize) {
        (self.k, self.group_size)
    }

    #[inline(always)]
    unsafe fn widen<L: Lanes>(&self, panel: usize, pairs: Range<usize>, out: &mut [MaybeUninit<L::Pairs>]) {
        let columns = 2 * pairs.start..(2 * pairs.end).min(self.k);
        let outputs = PANEL.min(self.n - panel * PANEL);
        let first = panel * PANEL * self.row_bytes + columns.start;
        let bytes = &self.values[first..first + (outputs - 1) * self.row_bytes + columns.len()];
        let mut transposed = [0u8; MAX_PIECE * PANEL];
        let transposed = &mut transposed[..pairs.len() * 2 * PANEL];
        pack_values(bytes, self.row_bytes, columns.len(), self.offset_binary, transposed);
        for (out, values) in out.iter_mut().zip(transposed.chunks_exact(2 * PANEL)) {
            // SAFETY: `values` are 32 int8; the instruction set is the caller's promise.
            out.write(unsafe { L::load_pairs(values.as_ptr().cast()) });
        }
    }

    #[inline(always)]
    unsafe fn scales<L: Lanes>(&self, panel: usize, group: usize) -> L::Floats {
        let groups = self.group_size.groups(self.k);
        let mut scales = [0.0f32; PANEL];
        for (scale, row) in scales.iter_mut().zip(panel * PANEL..self.n) {
            *scale = read_scale(self.scales, self.scale_type, row * groups + group);
        }
        // SAFETY: sixteen f32; the instruction set is the caller's promise.
        unsafe { L::load_f32(scales.as_ptr()) }
    }
}

//! int8 weights where a file holds them, row after row: sixteen rows are transposed into a block, once for all input
//! rows, and then multiplied as any block is: the same bits, at the cost of the transpose.

use std::{mem::MaybeUninit, ops::Range};

use super::{RowMajor, block::Block, pack::read_scale};
use crate::{
    GroupSize,
    cpu::{lanes::Lanes, layout::PANEL},
};

impl Block for RowMajor<'_> {
    fn shape(&self) -> (usize, GroupSize) {
        (self.k, self.group_size)
    }

    #[inline(always)]
    unsafe fn widen<L: Lanes>(&self, panel: usize, pairs: Range<usize>, out: &mut [MaybeUninit<L::Pairs>]) {
        let offset = if self.offset_binary { 0x80 } else { 0 };
        let columns = 2 * pairs.start..(2 * pairs.end).min(self.k);
        let rows = panel * PANEL..self.n.min((panel + 1) * PANEL);
        for (out, pair) in out.iter_mut().zip(0..pairs.len()) {
            let mut values = [[0i8; 2]; PANEL];
            for (values, row) in values.iter_mut().zip(rows.clone()) {
                let bytes = &self.values[row * self.row_bytes..][columns.clone()][2 * pair..];
                for (value, byte) in values.iter_mut().zip(bytes) {
                    *value = (byte ^ offset) as i8;
                }
            }
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

//! int8 weights in file order, row-major: sixteen rows are transposed into a block once for all input rows, and then
//! multiplied as any block is: the same bits, at the cost of the transpose.

use std::{mem::MaybeUninit, ops::Range};

use super::{RowMajor, block::Block, pack::pack_values};
use crate::{
    GroupSize, ScaleType,
    cpu::{
        lanes::{CACHE_LINE_BYTES, Lanes, TRANSPOSED_PAIRS},
        layout::PANEL,
    },
};

/// Columns that are transposed at a time.
const BLOCK: usize = 2 * TRANSPOSED_PAIRS;

impl Block for RowMajor<'_> {
    fn shape(&self) -> (usize, GroupSize) {
        (self.k, self.group_size)
    }

    #[inline(always)]
    unsafe fn convert<L: Lanes>(&self, panel: usize, pairs: Range<usize>, out: &mut [MaybeUninit<L::Pairs>]) {
        let columns = 2 * pairs.start..(2 * pairs.end).min(self.k);
        let outputs = PANEL.min(self.n - panel * PANEL);
        let first = panel * PANEL * self.row_bytes;
        let rows = self.values.part(first..first + (outputs - 1) * self.row_bytes + self.k);
        let (whole, rest) = out[..pairs.len()].split_at_mut(match outputs {
            PANEL => columns.len() / BLOCK * TRANSPOSED_PAIRS,
            _ => 0,
        });
        let flipped = if self.offset_binary { 0x80 } else { 0 };
        let mut at = columns.start;
        for out in whole.as_chunks_mut::<TRANSPOSED_PAIRS>().0 {
            let columns = rows.as_ptr().wrapping_add(at);
            let mut block = [[[0; 2]; PANEL]; TRANSPOSED_PAIRS];
            // SAFETY: `rows` are sixteen rows of k columns (`whole` is empty if there are fewer), of which a block's
            // columns are some: `columns.len() / BLOCK` blocks begin at `columns.start`. A pair of inputs of sixteen
            // rows is 32 int8. A prefetch reads nothing. The processor has `L` (the contract of `Block::convert`).
            unsafe {
                for row in (PANEL..2 * PANEL).filter(|_| at % CACHE_LINE_BYTES == 0) {
                    L::prefetch_early(columns.wrapping_add(row * self.row_bytes));
                }
                L::transpose_pairs(columns, self.row_bytes, flipped, &mut block);
                for (out, values) in out.iter_mut().zip(&block) {
                    out.write(L::load_pairs(values.as_ptr().cast()));
                }
            }
            at += BLOCK;
        }
        for out in rest.chunks_mut(TRANSPOSED_PAIRS) {
            let count = BLOCK.min(columns.end - at).max(1);
            let (mut copied, mut block) = ([0; PANEL * BLOCK], [0; PANEL * BLOCK]);
            for (row, copy) in copied.chunks_exact_mut(count).take(outputs).enumerate() {
                rows.copy_to(row * self.row_bytes + at, copy);
            }
            let packed = &mut block[..2 * PANEL * out.len()];
            // SAFETY: a pair of inputs of sixteen rows is 32 int8; the processor has `L` (the contract of
            // `Block::convert`).
            unsafe {
                pack_values::<L>(&copied[..outputs * count], count, count, self.offset_binary, packed);
                for (out, values) in out.iter_mut().zip(packed.chunks_exact(2 * PANEL)) {
                    out.write(L::load_pairs(values.as_ptr().cast()));
                }
            }
            at += count;
        }
    }

    #[inline(always)]
    unsafe fn scales<L: Lanes>(&self, panel: usize, group: usize) -> L::Floats {
        let mut packed = [0; 4 * PANEL];
        match self.scale_type {
            ScaleType::F16 | ScaleType::Bf16 => self.copy_scales::<2>(panel, group, &mut packed),
            ScaleType::F32 => self.copy_scales::<4>(panel, group, &mut packed),
        }
        // SAFETY: sixteen scales; the processor has `L` (the contract of `Block::scales`).
        unsafe { L::load_scales(packed.as_ptr(), self.scale_type) }
    }
}

impl RowMajor<'_> {
    /// Copies the scales of a panel's group, one for each row that the panel has.
    #[inline(always)]
    fn copy_scales<const SIZE: usize>(&self, panel: usize, group: usize, out: &mut [u8; 4 * PANEL]) {
        let (groups, first) = (self.group_size.groups(self.k), panel * PANEL);
        let rows = PANEL.min(self.n - first);
        let start = (first * groups + group) * SIZE;
        let scales = self.scales.part(start..start + ((rows - 1) * groups + 1) * SIZE);
        if rows == PANEL {
            let read = scales.arrays::<SIZE, PANEL>(groups * SIZE);
            out[..SIZE * PANEL].copy_from_slice(read.as_flattened());
            return;
        }
        for (row, out) in out.as_chunks_mut::<SIZE>().0.iter_mut().take(rows).enumerate() {
            *out = scales.array(row * groups * SIZE);
        }
    }
}

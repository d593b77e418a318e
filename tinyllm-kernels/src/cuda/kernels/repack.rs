//! Launches of `cuda/repack.cu`.

use super::{Kernel, Queue, blocks, parameter};
use crate::{KernelError, cuda::layout::PieceSteps};

/// Threads of a block.
const THREADS: u32 = 256;

/// Words of four columns in a step of a row.
const STEP_WORDS: u64 = 8;

/// Moves int8 rows and their scales to tiles.
#[derive(Clone, Copy, Debug)]
pub(in crate::cuda) struct RepackInt8 {
    /// `[rows][row_bytes]`.
    pub(in crate::cuda) values: u64,
    pub(in crate::cuda) row_bytes: u32,
    /// 0x80 where a byte is q + 128, else 0.
    pub(in crate::cuda) flip: u32,
    /// `[rows][groups]`.
    pub(in crate::cuda) scales: u64,
    pub(in crate::cuda) scale_bytes: u32,
    pub(in crate::cuda) first_row: u32,
    pub(in crate::cuda) rows: u32,
    pub(in crate::cuda) rows_per_tile: u32,
    pub(in crate::cuda) first_in_tile: u32,
    pub(in crate::cuda) cut: PieceSteps,
    pub(in crate::cuda) to_values: u64,
    pub(in crate::cuda) to_scales: u64,
}

impl RepackInt8 {
    /// # Errors
    /// The driver's.
    pub(in crate::cuda) fn launch(&self, queue: &Queue<'_>) -> Result<(), KernelError> {
        let words = u64::from(self.rows) * u64::from(self.cut.steps) * STEP_WORDS;
        let params = [
            parameter(&self.values),
            parameter(&self.row_bytes),
            parameter(&self.flip),
            parameter(&self.first_row),
            parameter(&self.rows),
            parameter(&self.rows_per_tile),
            parameter(&self.first_in_tile),
            parameter(&self.cut),
            parameter(&self.to_values),
        ];
        // SAFETY: the parameters of `repack_int8`; the session's chunk holds the rows, and the weight's tiles all of its rows
        // (`SlabLayout`), on the stream of the session.
        unsafe { queue.launch(Kernel::RepackInt8, [blocks(words, THREADS)?, 1, 1], THREADS, 0, &params)? };
        let scales = u64::from(self.rows) * u64::from(self.cut.groups);
        let params = [
            parameter(&self.scales),
            parameter(&self.scale_bytes),
            parameter(&self.first_row),
            parameter(&self.rows),
            parameter(&self.rows_per_tile),
            parameter(&self.first_in_tile),
            parameter(&self.cut.groups),
            parameter(&self.to_scales),
        ];
        // SAFETY: as above, of `repack_scales`.
        unsafe { queue.launch(Kernel::RepackScales, [blocks(scales, THREADS)?, 1, 1], THREADS, 0, &params) }
    }
}

/// Moves rows of floats to panels.
#[derive(Clone, Copy, Debug)]
pub(in crate::cuda) struct RepackRows {
    /// `[rows][columns]`.
    pub(in crate::cuda) source: u64,
    pub(in crate::cuda) bytes_each: u32,
    pub(in crate::cuda) first_row: u32,
    pub(in crate::cuda) rows: u32,
    pub(in crate::cuda) columns: u32,
    pub(in crate::cuda) to: u64,
}

impl RepackRows {
    /// # Errors
    /// The driver's.
    pub(in crate::cuda) fn launch(&self, queue: &Queue<'_>) -> Result<(), KernelError> {
        let elements = u64::from(self.rows) * u64::from(self.columns);
        let params = [
            parameter(&self.source),
            parameter(&self.bytes_each),
            parameter(&self.first_row),
            parameter(&self.rows),
            parameter(&self.columns),
            parameter(&self.to),
        ];
        // SAFETY: the parameters of `repack_floats`; the session's chunk holds the rows, and the weight's panels all of its
        // rows (`SlabLayout`), on the stream of the session.
        unsafe { queue.launch(Kernel::RepackFloats, [blocks(elements, THREADS)?, 1, 1], THREADS, 0, &params) }
    }
}

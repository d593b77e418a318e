//! Launches of `cuda/activations.cu` and `cuda/embed.cu`: rows between matmuls.

use super::{Kernel, Queue, number_type, parameter};
use crate::{
    KernelError, ScaleType, VectorFormat,
    cuda::layout::{PieceSteps, ROW_TILE},
};

const THREADS: u32 = 256;
const ROUND_THREADS: u32 = 128;

/// Pieces that a block of [`ROUND_THREADS`] rounds.
const ROUND_PIECES: u32 = 4;

/// Rows of a launch.
#[derive(Clone, Copy, Debug)]
pub(in crate::cuda) struct RowCount {
    /// Where the device finds how many there are.
    pub(in crate::cuda) address: u64,
    /// How many there are at most: the grid.
    pub(in crate::cuda) most: u32,
}

impl RowCount {
    /// The grid of whole row tiles.
    fn tiles(self) -> u32 {
        self.most.next_multiple_of(ROW_TILE as u32)
    }
}

/// Planes of int16 activations and their scales.
#[derive(Clone, Copy, Debug)]
pub(in crate::cuda) struct PlaneAddresses {
    pub(in crate::cuda) values: u64,
    pub(in crate::cuda) scales: u64,
    pub(in crate::cuda) cut: PieceSteps,
}

/// Where a launch notes an input that is not finite.
#[derive(Clone, Copy, Debug)]
pub(in crate::cuda) struct FaultNote {
    pub(in crate::cuda) address: u64,
    pub(in crate::cuda) pass: u32,
}

/// An RMS norm of rows, gathered by `source_rows` unless that is 0.
#[derive(Clone, Copy, Debug)]
pub(in crate::cuda) struct RmsNorm {
    pub(in crate::cuda) input: u64,
    pub(in crate::cuda) source_rows: u64,
    pub(in crate::cuda) rows: RowCount,
    pub(in crate::cuda) weight: u64,
    pub(in crate::cuda) weight_format: VectorFormat,
    pub(in crate::cuda) eps: f32,
    pub(in crate::cuda) columns: u32,
}

impl RmsNorm {
    /// To `out`, `[rows][columns]` f32.
    pub(in crate::cuda) fn launch(&self, queue: &Queue<'_>, out: u64) -> Result<(), KernelError> {
        let weight_type = number_type(self.weight_format.into());
        let params = [
            parameter(&self.input),
            parameter(&self.source_rows),
            parameter(&self.rows.address),
            parameter(&self.weight),
            parameter(&weight_type),
            parameter(&self.eps),
            parameter(&self.columns),
            parameter(&out),
        ];
        // SAFETY: the parameters of `rms_norm`; regions and vector are those of one operation (`program/check.rs`).
        unsafe { queue.launch(Kernel::RmsNorm, [self.rows.most, 1, 1], THREADS, 0, &params) }
    }

    /// To int16 activations.
    pub(in crate::cuda) fn launch_rounded(
        &self,
        queue: &Queue<'_>,
        out: &PlaneAddresses,
        fault: &FaultNote,
    ) -> Result<(), KernelError> {
        let weight_type = number_type(self.weight_format.into());
        let params = [
            parameter(&self.input),
            parameter(&self.source_rows),
            parameter(&self.rows.address),
            parameter(&self.weight),
            parameter(&weight_type),
            parameter(&self.eps),
            parameter(&out.cut),
            parameter(&out.values),
            parameter(&out.scales),
            parameter(&fault.address),
            parameter(&fault.pass),
        ];
        // SAFETY: the parameters of `rms_norm_rounded`; as above, and planes of whole row tiles (`Planes::new`).
        unsafe { queue.launch(Kernel::RmsNormRounded, [self.rows.tiles(), 1, 1], THREADS, 0, &params) }
    }
}

/// Rounds f32 rows to int16 activations.
pub(in crate::cuda) fn round_rows(
    queue: &Queue<'_>,
    input: u64,
    rows: RowCount,
    out: &PlaneAddresses,
    fault: &FaultNote,
) -> Result<(), KernelError> {
    let params = [
        parameter(&input),
        parameter(&rows.address),
        parameter(&out.cut),
        parameter(&out.values),
        parameter(&out.scales),
        parameter(&fault.address),
        parameter(&fault.pass),
    ];
    let grid = [rows.tiles(), out.cut.count.div_ceil(ROUND_PIECES), 1];
    // SAFETY: the parameters of `round_rows`; the region has planes of whole row tiles (`Planes::new`).
    unsafe { queue.launch(Kernel::RoundRows, grid, ROUND_THREADS, 0, &params) }
}

/// `out[row] = input[source_rows[row]]`.
pub(in crate::cuda) fn gather_rows(
    queue: &Queue<'_>,
    input: u64,
    source_rows: u64,
    rows: RowCount,
    columns: u32,
    out: u64,
) -> Result<(), KernelError> {
    let params = [
        parameter(&input),
        parameter(&source_rows),
        parameter(&rows.address),
        parameter(&columns),
        parameter(&out),
    ];
    // SAFETY: the parameters of `gather_rows`; sampled rows are rows of the step (`Step::validate`).
    unsafe { queue.launch(Kernel::GatherRows, [rows.most, 1, 1], THREADS, 0, &params) }
}

/// Rows of an int8 embedding table.
#[derive(Clone, Copy, Debug)]
pub(in crate::cuda) struct Embed {
    pub(in crate::cuda) values: u64,
    pub(in crate::cuda) token_ids: u64,
    pub(in crate::cuda) rows: RowCount,
    pub(in crate::cuda) out: u64,
}

impl Embed {
    pub(in crate::cuda) fn int8(
        &self,
        queue: &Queue<'_>,
        (scales, scale_type): (u64, ScaleType),
        cut: &PieceSteps,
    ) -> Result<(), KernelError> {
        let scale_type = number_type(scale_type);
        let params = [
            parameter(&self.values),
            parameter(&scales),
            parameter(&scale_type),
            parameter(&self.token_ids),
            parameter(&self.rows.address),
            parameter(cut),
            parameter(&self.out),
        ];
        // SAFETY: the parameters of `embed_int8`; token ids are rows of the table (`Step::validate`).
        unsafe { queue.launch(Kernel::EmbedInt8, [self.rows.most, 1, 1], THREADS, 0, &params) }
    }

    pub(in crate::cuda) fn floats(
        &self,
        queue: &Queue<'_>,
        number: ScaleType,
        columns: u32,
    ) -> Result<(), KernelError> {
        let number = number_type(number);
        let params = [
            parameter(&self.values),
            parameter(&number),
            parameter(&self.token_ids),
            parameter(&self.rows.address),
            parameter(&columns),
            parameter(&self.out),
        ];
        // SAFETY: as above, of `embed_floats`.
        unsafe { queue.launch(Kernel::EmbedFloats, [self.rows.most, 1, 1], THREADS, 0, &params) }
    }
}

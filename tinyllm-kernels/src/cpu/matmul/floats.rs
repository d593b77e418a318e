//! Rows of floats for a weight that is int8 in the program and not loaded yet: quantised whenever they are read, to the
//! same numbers as loading gives.

use std::{fmt, ops::Range};

use half::f16;

use super::{InputView, MatmulKernel, Output, RowMajor, WeightView};
use crate::{
    FetchedRows, FloatRows, GroupSize, Isa, KernelError, QuantizedMatrix, ScaleType,
    cpu::{
        lanes::{Kernel, LANES, Lanes, Portable, dispatch, store_to},
        layout::PANEL,
    },
    quantize,
};

/// Panels whose rows are quantised at a time: they stay in L2.
const PANELS: usize = 16;

/// Elements that are copied from the source at a time: enough to amortise the system call, few enough to be in L2 when
/// they are converted.
const FETCHED_ELEMS: usize = 64 << 10;

/// Rows of `k` that are copied from the source at a time: whole panels.
pub(crate) fn fetched_rows(k: usize) -> usize {
    (FETCHED_ELEMS / (k.max(1) * PANEL)).max(1) * PANEL
}

/// A weight matrix whose rows are floats at their source.
#[derive(Clone, Copy)]
pub(crate) struct Floats<'a> {
    pub(crate) rows: &'a dyn FloatRows,
    /// The weight's name, for errors.
    pub(crate) name: &'a str,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) group_size: GroupSize,
}

impl fmt::Debug for Floats<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Floats").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Consecutive rows that have been quantised, with f16 scales, and the buffers for it.
#[derive(Default)]
pub(crate) struct Quantized {
    /// Rows as their source stores them.
    fetched: FetchedRows,
    /// `[k]`: a row as f32.
    row: Vec<f32>,
    /// `[rows][k]`.
    q: Vec<i8>,
    /// `[rows][groups]`.
    scales: Vec<f16>,
    /// How many groups have vanished so far, and the row of the first.
    pub(crate) vanished: Option<(usize, usize)>,
}

impl Quantized {
    /// Copies rows from the source, for [`Quantized::quantize`].
    ///
    /// # Errors
    /// The rows' own.
    pub(crate) fn fetch(&mut self, floats: &Floats<'_>, rows: Range<usize>) -> Result<(), KernelError> {
        floats.rows.fetch(rows, &mut self.fetched)
    }

    /// Quantises rows that were fetched; they replace the earlier ones.
    ///
    /// # Safety
    /// The processor has `L`.
    ///
    /// # Errors
    /// The rows' own, [`KernelError::NonFiniteWeight`] and [`KernelError::F16Overflow`].
    #[inline(always)]
    pub(crate) unsafe fn quantize<L: Lanes>(
        &mut self,
        floats: &Floats<'_>,
        rows: Range<usize>,
    ) -> Result<(), KernelError> {
        self.make_room(floats, rows.len());
        // SAFETY: the processor has `L` (this function's contract), which is all that it requires.
        unsafe { self.quantize_at::<L>(floats, rows, 0) }
    }

    /// Fetches rows and quantises them.
    ///
    /// # Safety
    /// The processor has `L`.
    ///
    /// # Errors
    /// As [`Quantized::quantize`].
    #[inline(always)]
    unsafe fn read<L: Lanes>(&mut self, floats: &Floats<'_>, rows: Range<usize>) -> Result<(), KernelError> {
        self.make_room(floats, rows.len());
        let (start, count) = (rows.start, fetched_rows(floats.k));
        for first in rows.clone().step_by(count) {
            let rows = first..rows.end.min(first + count);
            self.fetch(floats, rows.clone())?;
            // SAFETY: the processor has `L` (this function's contract), which is all that it requires.
            unsafe { self.quantize_at::<L>(floats, rows, first - start) }?;
        }
        Ok(())
    }

    /// Resizes the buffers for `rows` rows, without clearing them.
    #[inline(always)]
    fn make_room(&mut self, floats: &Floats<'_>, rows: usize) {
        self.row.resize(floats.k, 0.0);
        self.q.resize(rows * floats.k, 0);
        self.scales.resize(rows * floats.group_size.groups(floats.k), f16::ZERO);
    }

    /// [`Quantized::quantize`], with results from row `first` of the buffers on.
    ///
    /// # Safety
    /// The processor has `L`.
    #[inline(always)]
    unsafe fn quantize_at<L: Lanes>(
        &mut self,
        floats: &Floats<'_>,
        rows: Range<usize>,
        first: usize,
    ) -> Result<(), KernelError> {
        let (k, group_size) = (floats.k, floats.group_size);
        let groups = group_size.groups(k);
        for (index, row) in (first..).zip(rows) {
            match floats.rows.halves(row, &self.fetched) {
                // SAFETY: the processor has `L` (this function's contract), which is all that it requires.
                Some(bytes) => unsafe { convert::<L>(&bytes[..2 * k], &mut self.row) },
                None => floats.rows.read_fetched(row, &self.fetched, &mut self.row)?,
            }
            let (q, scales) = (&mut self.q[index * k..][..k], &mut self.scales[index * groups..][..groups]);
            let vanished =
                quantize::quantize(floats.name, row, &self.row, group_size.elements(k), q, scales)?;
            if vanished > 0 {
                let (count, first) = self.vanished.unwrap_or((0, row));
                self.vanished = Some((count + vanished, first.min(row)));
            }
        }
        Ok(())
    }

    /// The rows as a matrix of their own.
    pub(crate) fn rows(&self, floats: &Floats<'_>) -> QuantizedMatrix<&[u8]> {
        QuantizedMatrix {
            n: self.q.len().checked_div(floats.k).unwrap_or(0),
            k: floats.k,
            group_size: floats.group_size,
            scale_type: ScaleType::F16,
            offset_binary: false,
            row_bytes: floats.k,
            values: bytemuck::cast_slice(&self.q),
            scales: bytemuck::cast_slice(&self.scales),
        }
    }

    /// As [`Quantized::rows`], for the kernels.
    pub(super) fn matrix(&self, floats: &Floats<'_>) -> RowMajor<'_> {
        self.rows(floats).with_bytes(|bytes| (*bytes).into())
    }
}

/// Converts little-endian f16 of any alignment to f32.
///
/// # Safety
/// The processor has `L`.
#[inline(always)]
unsafe fn convert<L: Lanes>(bytes: &[u8], out: &mut [f32]) {
    for (bytes, out) in bytes.chunks(2 * LANES).zip(out.chunks_mut(LANES)) {
        let mut lanes = [0; 2 * LANES];
        let bytes = bytes.first_chunk().unwrap_or_else(|| {
            lanes[..bytes.len()].copy_from_slice(bytes);
            &lanes
        });
        // SAFETY: sixteen f16; the processor has `L` (this function's contract).
        unsafe { store_to::<L>(L::load_f16(bytes.as_ptr().cast()), out) };
    }
}

/// [`Quantized::read`], compiled for each instruction set.
struct Read<'a> {
    into: &'a mut Quantized,
    floats: &'a Floats<'a>,
    rows: Range<usize>,
}

impl Kernel for Read<'_> {
    type Output = Result<(), KernelError>;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> Self::Output {
        // SAFETY: the processor has `L` (this function's contract), which is all that it requires.
        unsafe { self.into.read::<L>(self.floats, self.rows) }
    }
}

/// [`super::matmul`] for weights that are quantised while they are read.
///
/// # Safety
/// The contract of [`super::matmul`].
pub(super) unsafe fn floats(
    isa: Isa,
    floats: &Floats<'_>,
    panels: Range<usize>,
    input: InputView,
    output: &Output<'_>,
    quantized: &mut Quantized,
) -> Result<(), KernelError> {
    for first in panels.clone().step_by(PANELS) {
        let panels = first..panels.end.min(first + PANELS);
        let rows = panels.start * PANEL..(panels.end * PANEL).min(floats.n);
        // SAFETY: the processor has `isa` (this function's contract).
        unsafe { dispatch(isa, Read { into: quantized, floats, rows: rows.clone() }) }?;
        let weight = &WeightView::RowMajor(quantized.matrix(floats));
        let (panels, output) = (0..panels.len(), &output.only(rows));
        // SAFETY: the contract of `matmul`, which is this function's, holds for these columns of the output: `panels`
        // are those of the rows just quantised.
        unsafe { dispatch(isa, MatmulKernel { weight, panels, input, output }) };
    }
    Ok(())
}

/// Row `row`, quantised as loading would.
///
/// # Errors
/// As [`Quantized::quantize`].
pub(super) fn quantized_row(floats: &Floats<'_>, row: usize) -> Result<Quantized, KernelError> {
    let mut quantized = Quantized::default();
    // SAFETY: every processor has the portable lanes.
    unsafe { quantized.read::<Portable>(floats, row..row + 1) }?;
    Ok(quantized)
}

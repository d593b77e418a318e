//! f32 rows that are int8 in the program and not loaded yet: quantised again whenever they are read, with the numbers
//! that loading would give them.

use std::{fmt, ops::Range};

use half::f16;

use super::{InputView, Output, ProductKernel, RowMajor, Rows, WeightView};
use crate::{
    FetchedRows, FloatRows, GroupSize, Isa, KernelError, ScaleType,
    cpu::{
        lanes::{Kernel, LANES, Lanes, Portable, dispatch, store_to},
        layout::PANEL,
    },
    quantize,
};

/// Panels whose rows are quantised at a time: they stay in the second cache.
const PANELS: usize = 16;

/// Elements that are copied out of their source at a time: the system call costs little beside them, and they are still in
/// the second cache when they are converted.
const FETCHED_ELEMS: usize = 64 << 10;

/// Rows of `k` that are copied out of their source at a time: whole panels.
pub(crate) fn fetched_rows(k: usize) -> usize {
    (FETCHED_ELEMS / (k.max(1) * PANEL)).max(1) * PANEL
}

/// A matrix of such rows.
#[derive(Clone, Copy)]
pub(crate) struct Floats<'a> {
    pub(crate) rows: &'a dyn FloatRows,
    /// The weight, for errors.
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

/// Rows that have been quantised, one after another, with scales of f16.
#[derive(Default)]
pub(crate) struct Quantized {
    /// Rows as their source stores them.
    fetched: FetchedRows,
    /// `[k]`: a row before.
    row: Vec<f32>,
    /// `[rows][k]`.
    q: Vec<i8>,
    /// `[rows][groups]`.
    scales: Vec<f16>,
    /// How many groups have vanished so far, and the first's row.
    pub(crate) vanished: Option<(usize, usize)>,
}

impl Quantized {
    /// Copies rows out of their source, for [`Quantized::quantize`].
    ///
    /// # Errors
    /// The rows' own.
    pub(crate) fn fetch(&mut self, floats: &Floats<'_>, rows: Range<usize>) -> Result<(), KernelError> {
        floats.rows.fetch(rows, &mut self.fetched)
    }

    /// Quantises rows that were fetched; they take the place of those before.
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
        // SAFETY: the processor has `L` (this function's contract), which is all that it asks for.
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
            // SAFETY: the processor has `L` (this function's contract), which is all that it asks for.
            unsafe { self.quantize_at::<L>(floats, rows, first - start) }?;
        }
        Ok(())
    }

    /// For as many rows; what is there already is written over, not cleared.
    #[inline(always)]
    fn make_room(&mut self, floats: &Floats<'_>, rows: usize) {
        self.row.resize(floats.k, 0.0);
        self.q.resize(rows * floats.k, 0);
        self.scales.resize(rows * floats.group_size.groups(floats.k), f16::ZERO);
    }

    /// [`Quantized::quantize`] into the place of row `first` and those behind it.
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
                // SAFETY: the processor has `L` (this function's contract), which is all that it asks for.
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

    /// As rows to pack.
    pub(crate) fn rows(&self, k: usize) -> Rows<'_> {
        Rows {
            values: bytemuck::cast_slice(&self.q),
            row_bytes: k,
            offset_binary: false,
            scales: bytemuck::cast_slice(&self.scales),
        }
    }

    /// As a matrix of its own.
    pub(super) fn matrix(&self, k: usize, group_size: GroupSize) -> RowMajor<'_> {
        let Rows { values, row_bytes, offset_binary, scales } = self.rows(k);
        let (values, scales) = (values.into(), scales.into());
        let n = self.q.len().checked_div(k).unwrap_or(0);
        RowMajor { values, row_bytes, offset_binary, scales, scale_type: ScaleType::F16, n, k, group_size }
    }
}

/// Little-endian f16 of any alignment as f32.
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
        // SAFETY: the processor has `L` (this function's contract), which is all that it asks for.
        unsafe { self.into.read::<L>(self.floats, self.rows) }
    }
}

/// [`super::product`] of such rows.
///
/// # Safety
/// The terms of [`super::product`].
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
        // SAFETY: the processor has `isa`: one of the terms of `product`, which are this function's.
        unsafe { dispatch(isa, Read { into: quantized, floats, rows: rows.clone() }) }?;
        let weight = &WeightView::RowMajor(quantized.matrix(floats.k, floats.group_size));
        let (panels, output) = (0..panels.len(), &output.only(rows));
        // SAFETY: the terms of `product`, which are this function's, hold for these columns of the output: `panels` are the
        // panels that the rows just quantised make.
        unsafe { dispatch(isa, ProductKernel { weight, panels, input, output }) };
    }
    Ok(())
}

/// Row `row` as it would be once loaded, `[k]`.
pub(super) fn unpack(floats: &Floats<'_>, row: usize, out: &mut [f32]) -> Result<(), KernelError> {
    let mut quantized = Quantized::default();
    // SAFETY: any processor has these lanes.
    unsafe { quantized.read::<Portable>(floats, row..row + 1) }?;
    super::unpack_row(&WeightView::RowMajor(quantized.matrix(floats.k, floats.group_size)), 0, out)
}

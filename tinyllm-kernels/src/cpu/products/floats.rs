//! f32 rows that are int8 in the program and not loaded yet: quantised again whenever they are read, with the numbers
//! that loading would give them.

use std::{fmt, ops::Range};

use half::f16;

use super::{InputView, Output, ProductKernel, RowMajor, Rows, WeightView};
use crate::{
    FloatRows, GroupSize, Isa, KernelError, ScaleType,
    cpu::{
        lanes::{Kernel, LANES, Lanes, Portable, dispatch, store_to},
        layout::PANEL,
    },
    quantize,
};

/// Panels whose rows are quantised at a time: they stay in the second cache, and the system call that gives the pages of
/// their source back costs little beside them.
const PANELS: usize = 16;

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
    /// `[k]`: a row before.
    row: Vec<f32>,
    /// `[rows][k]`.
    q: Vec<i8>,
    /// `[rows][groups]`.
    scales: Vec<f16>,
}

impl Quantized {
    /// Takes the place of what was there.
    ///
    /// # Safety
    /// The processor has `L`.
    ///
    /// # Errors
    /// The rows' own, [`KernelError::NonFiniteWeight`] and [`KernelError::F16Overflow`].
    #[inline(always)]
    pub(crate) unsafe fn read<L: Lanes>(
        &mut self,
        floats: &Floats<'_>,
        rows: Range<usize>,
    ) -> Result<(), KernelError> {
        let (k, group_size) = (floats.k, floats.group_size);
        let groups = group_size.groups(k);
        self.row.resize(k, 0.0);
        self.q.resize(rows.len() * k, 0);
        self.scales.resize(rows.len() * groups, f16::ZERO);
        let halves = floats.rows.halves();
        for (index, row) in rows.enumerate() {
            match halves {
                // SAFETY: the caller's promise.
                Some(bytes) => unsafe { convert::<L>(&bytes[2 * row * k..][..2 * k], &mut self.row) },
                None => floats.rows.read(row..row + 1, &mut self.row)?,
            }
            let (q, scales) = (&mut self.q[index * k..][..k], &mut self.scales[index * groups..][..groups]);
            quantize::quantize(floats.name, row, &self.row, group_size.elements(k), q, scales)?;
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
        // SAFETY: sixteen f16; the instruction set is the caller's promise.
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
        // SAFETY: the caller's promise.
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
        // SAFETY: the caller's promise.
        unsafe { dispatch(isa, Read { into: quantized, floats, rows: rows.clone() }) }?;
        floats.rows.consumed(rows.clone());
        let weight = &WeightView::RowMajor(quantized.matrix(floats.k, floats.group_size));
        let (panels, output) = (0..panels.len(), &output.only(rows));
        // SAFETY: the caller's promise, of these columns.
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

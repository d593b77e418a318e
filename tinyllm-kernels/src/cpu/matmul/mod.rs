//! Matmul kernels: inputs times transposed weights, sixteen outputs (a panel) at a time.
//!
//! A W8A16 matmul multiplies int8 weights by int16 inputs and sums each piece exactly in i32, then adds the pieces in
//! order, one fused multiply-add each. So every kernel here gives the same bits; they differ in speed only.

mod block;
mod floats;
mod input;
mod output;
mod pack;
mod panels;
#[cfg(test)]
mod reference;
mod row_major;
mod streams;
#[cfg(test)]
mod tests;
mod unpack;

use std::ops::Range;

use half::f16;

pub(crate) use floats::{Floats, Quantized, fetched_rows};
pub(crate) use input::{ActivationLayout, round_row, round_row_in_place};
pub(crate) use output::{Output, Store};
pub(crate) use pack::{pack_rows, pack_values};
pub(crate) use streams::{Matrices, Part, multiply};
pub(crate) use unpack::unpack_row;

use super::{
    lanes::{Kernel, Lanes, dispatch},
    layout::{Extent, PANEL, PanelLayout},
    raw_bytes::RawBytes,
};
use crate::{Isa, KernelError, QuantizedMatrix};

/// int8 weights in panels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panels<'a> {
    /// The weights slab, which `extents` index.
    pub(crate) slab: &'a [u8],
    /// The weight's `ceil(n/16)` panels.
    pub(crate) extents: &'a [Extent],
    pub(crate) layout: PanelLayout,
    pub(crate) n: usize,
}

/// int8 weights as stored in a file: `[n][row_bytes]`.
pub(crate) type RowMajor<'a> = QuantizedMatrix<RawBytes<'a>>;

/// 16- or 32-bit weights in panels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FloatPanels<'a, T> {
    /// `[ceil(n/16)][k][16]`.
    pub(crate) values: &'a [T],
    pub(crate) n: usize,
    pub(crate) k: usize,
}

/// A weight matrix, as the kernels read it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WeightView<'a> {
    Panels(Panels<'a>),
    RowMajor(RowMajor<'a>),
    Floats(Floats<'a>),
    F16(FloatPanels<'a, f16>),
    F32(FloatPanels<'a, f32>),
}

impl WeightView<'_> {
    /// `(n, k)`.
    pub(crate) fn shape(&self) -> (usize, usize) {
        match self {
            WeightView::Panels(weight) => (weight.n, weight.layout.k),
            WeightView::RowMajor(weight) => (weight.n, weight.k),
            WeightView::Floats(weight) => (weight.n, weight.k),
            WeightView::F16(weight) => (weight.n, weight.k),
            WeightView::F32(weight) => (weight.n, weight.k),
        }
    }
}

/// Rows of a matmul's input, in the weight's input format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputView {
    /// The first row.
    pub(crate) data: *const u8,
    pub(crate) row_stride_bytes: usize,
    pub(crate) rows: usize,
    pub(crate) k: usize,
}

impl InputView {
    /// The first byte of a row.
    #[inline(always)]
    fn row(&self, row: usize) -> *const u8 {
        self.data.wrapping_add(row * self.row_stride_bytes)
    }
}

/// Computes the outputs of `panels` for every row of `input`, and stores each (row, panel) through `output` once.
/// [`multiply`] instead streams several matrices at a time for a few rows. `scratch` is for weights that are quantised
/// while they are read.
///
/// # Safety
/// The processor has `isa`. `input` is `rows` readable rows in the weight's input format ([`ActivationLayout`] for
/// W8A16, `[k]` f32 otherwise), 4-byte aligned, which no thread writes meanwhile. The view's slices are as long as its
/// n, k and group size say, and `panels` lies within `ceil(n/16)`. `output` has as many rows of n columns, and no other
/// thread uses the columns of `panels`.
///
/// # Errors
/// Those of weights that are quantised while they are read.
pub(crate) unsafe fn matmul(
    isa: Isa,
    weight: &WeightView<'_>,
    panels: Range<usize>,
    input: InputView,
    output: &Output<'_>,
    scratch: &mut Quantized,
) -> Result<(), KernelError> {
    debug_assert_eq!(weight.shape().1, input.k);
    debug_assert!(panels.end <= weight.shape().0.div_ceil(PANEL) && output.n == weight.shape().0);
    // SAFETY: this function's contract.
    unsafe {
        match weight {
            WeightView::Floats(weight) => return floats::floats(isa, weight, panels, input, output, scratch),
            WeightView::Panels(weight) if Panels::streams(input.rows) => {
                let part = Part { weight: *weight, output: *output };
                let matrices = Matrices::one(part);
                let streams = matrices.streams(panels, input.rows);
                multiply(isa, &matrices, streams, 0..streams.columns(), input);
            }
            _ => dispatch(isa, MatmulKernel { weight, panels, input, output }),
        }
    }
    Ok(())
}

struct MatmulKernel<'a> {
    weight: &'a WeightView<'a>,
    panels: Range<usize>,
    input: InputView,
    output: &'a Output<'a>,
}

impl Kernel for MatmulKernel<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let MatmulKernel { weight, panels, input, output } = self;
        // SAFETY: the contract of `matmul`, whose arguments these are; the processor has `L` (the contract of
        // `Kernel::run`).
        unsafe {
            match weight {
                WeightView::Panels(weight) if L::LOADS_CONVERT => {
                    streams::many_rows::<L>(*weight, panels, input, *output)
                }
                WeightView::Panels(weight) => block::matmul::<L, _>(weight, panels, input, output),
                WeightView::RowMajor(weight) => block::matmul::<L, _>(weight, panels, input, output),
                // `floats::floats` has quantised them: never reached.
                WeightView::Floats(_) => {}
                WeightView::F16(weight) => {
                    let values = weight.values.as_ptr();
                    panels::float::<L, f16>(values, weight.k, panels, input, output, L::load_f16);
                }
                WeightView::F32(weight) => {
                    let values = weight.values.as_ptr();
                    panels::float::<L, f32>(values, weight.k, panels, input, output, L::load_f32);
                }
            }
        }
    }
}

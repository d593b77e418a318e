//! Products of inputs with weights, sixteen outputs (a panel) at a time.
//!
//! A W8A16 product is exact integers: int8 weights times int16 inputs, summed in i32 for each piece, then one fused
//! multiply-add for each piece in order. So every version here gives the same bits; they differ in speed only.

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

use std::ops::Range;

use half::f16;

pub(crate) use floats::{Floats, Quantized, fetched_rows};
pub(crate) use input::{ProductInputLayout, quantize_input_row, quantize_row_in_place};
pub(crate) use output::{Output, Store};
pub(crate) use pack::{Rows, pack_rows, pack_values, read_scale, unpack_row};
pub(crate) use streams::{Factors, MAX_STREAMS, Part, Streams, multiply};

use super::{
    lanes::{Kernel, Lanes, dispatch},
    layout::{PANEL, PanelLayout, Stretch},
    raw_bytes::RawBytes,
};
use crate::{GroupSize, Isa, KernelError, ScaleType};

/// int8 weights in panels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panels<'a> {
    /// What `stretches` lie in.
    pub(crate) slab: &'a [u8],
    /// `ceil(n/16)` panels.
    pub(crate) stretches: &'a [Stretch],
    pub(crate) layout: PanelLayout,
    pub(crate) n: usize,
}

/// int8 weights as a file holds them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowMajor<'a> {
    /// `[n][row_bytes]`; the last row may end after k.
    pub(crate) values: RawBytes<'a>,
    pub(crate) row_bytes: usize,
    /// Whether a byte is `q + 128`.
    pub(crate) offset_binary: bool,
    /// `[n][groups]` of `scale_type`, not aligned.
    pub(crate) scales: RawBytes<'a>,
    pub(crate) scale_type: ScaleType,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) group_size: GroupSize,
}

/// 16- or 32-bit weights in panels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FloatPanels<'a, T> {
    /// `[ceil(n/16)][k][16]`.
    pub(crate) values: &'a [T],
    pub(crate) n: usize,
    pub(crate) k: usize,
}

/// A weight matrix in one of its forms.
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

/// Rows of a product's input, in the format its weight reads.
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

/// Computes the outputs in `panels` for every row of `input`, and hands each (row, panel) to `output` once. Panels that a
/// few rows share with other matrices go through [`multiply`]. `scratch` is for weights that are still to be quantised.
///
/// # Safety
/// The processor has `isa`. `input` is `rows` readable rows in the weight's input format ([`ProductInputLayout`] for
/// W8A16, `[k]` f32 otherwise), 4-byte aligned. The view's slices are as long as its n, k and group size say, and
/// `panels` lies within `ceil(n/16)`. `output` has as many rows of n columns, and nobody else uses those of `panels`.
///
/// # Errors
/// Of weights that are still to be quantised.
pub(crate) unsafe fn product(
    isa: Isa,
    weight: &WeightView<'_>,
    panels: Range<usize>,
    input: InputView,
    output: &Output<'_>,
    scratch: &mut Quantized,
) -> Result<(), KernelError> {
    debug_assert_eq!(weight.shape().1, input.k);
    debug_assert!(panels.end <= weight.shape().0.div_ceil(PANEL) && output.n == weight.shape().0);
    // SAFETY: this function's terms.
    unsafe {
        match weight {
            WeightView::Floats(weight) => return floats::floats(isa, weight, panels, input, output, scratch),
            WeightView::Panels(weight) if Panels::streams(input.rows) => {
                let part = Part { weight: *weight, output: *output };
                let factors = Factors::one(part);
                let streams = factors.streams(panels, input.rows);
                multiply(isa, &factors, streams, 0..streams.columns(), input);
            }
            _ => dispatch(isa, ProductKernel { weight, panels, input, output }),
        }
    }
    Ok(())
}

struct ProductKernel<'a> {
    weight: &'a WeightView<'a>,
    panels: Range<usize>,
    input: InputView,
    output: &'a Output<'a>,
}

impl Kernel for ProductKernel<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let ProductKernel { weight, panels, input, output } = self;
        // SAFETY: the terms of `product`.
        unsafe {
            match weight {
                WeightView::Panels(weight) if L::LOADS_WIDEN => {
                    streams::many_rows::<L>(*weight, panels, input, *output)
                }
                WeightView::Panels(weight) => block::product::<L, _>(weight, panels, input, output),
                WeightView::RowMajor(weight) => block::product::<L, _>(weight, panels, input, output),
                // Quantised before.
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

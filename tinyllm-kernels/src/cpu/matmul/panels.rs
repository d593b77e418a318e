//! Weights in panels: where each panel is, and kernels for f16 and f32 weights.

use std::{mem::MaybeUninit, ops::Range};

use super::{InputView, Output, Panels, block::Block};
use crate::{
    GroupSize,
    cpu::{lanes::Lanes, layout::PANEL},
};

/// From this many rows on, converting a block of weights once costs less than it saves.
const BLOCK_ROWS: usize = 16;

impl<'a> Panels<'a> {
    /// Whether `rows` rows are few enough for the streaming kernel ([`super::multiply`]).
    pub(crate) fn streams(rows: usize) -> bool {
        rows < BLOCK_ROWS
    }

    /// Number of panels.
    #[inline(always)]
    pub(crate) fn panels(&self) -> usize {
        self.n.div_ceil(PANEL)
    }

    /// The slab from a panel on: the panel, and what is read after it.
    #[inline(always)]
    pub(crate) fn from(&self, panel: usize) -> &'a [u8] {
        let after = self.extents.partition_point(|extent| extent.first_panel <= panel);
        let extent = &self.extents[after - 1];
        &self.slab[extent.bytes.start + (panel - extent.first_panel) * self.layout.bytes()..]
    }

    /// A panel.
    #[inline(always)]
    pub(crate) fn panel(&self, panel: usize) -> &'a [u8] {
        &self.from(panel)[..self.layout.bytes()]
    }

    /// Whether both can be multiplied with one input in one loop: the same k, group size and type of scales.
    pub(crate) fn fits(&self, other: &Panels<'_>) -> bool {
        self.layout == other.layout
    }
}

/// f16 or f32 panels, f32 inputs: one fused multiply-add for each input, in order.
///
/// # Safety
/// The contract of [`super::matmul`]; `values` are the panels of a weight with `k` inputs; the processor has `L`.
#[inline(always)]
pub(super) unsafe fn float<L: Lanes, T>(
    values: *const T,
    k: usize,
    panels: Range<usize>,
    input: InputView,
    output: &Output<'_>,
    load: unsafe fn(*const T) -> L::Floats,
) {
    // SAFETY: this function's contract; tiles stay within `panels` and `rows`.
    unsafe {
        for panel in panels {
            let mut row = 0;
            while row + 4 <= input.rows {
                float_tile::<L, T, 4>(values, k, panel, input, row, output, load);
                row += 4;
            }
            while row < input.rows {
                float_tile::<L, T, 1>(values, k, panel, input, row, output, load);
                row += 1;
            }
        }
    }
}

/// # Safety
/// As [`float`]; `panel` and rows `row..row + R` are among its panels and rows.
#[inline(always)]
unsafe fn float_tile<L: Lanes, T, const R: usize>(
    values: *const T,
    k: usize,
    panel: usize,
    input: InputView,
    row: usize,
    output: &Output<'_>,
    load: unsafe fn(*const T) -> L::Floats,
) {
    // SAFETY: `values` holds ceil(n/16) panels of `k` × 16 values, the input rows of `k` f32.
    unsafe {
        let values = values.add(panel * k * PANEL);
        let inputs: [*const f32; R] = std::array::from_fn(|r| input.row(row + r).cast());
        let mut accumulated = [[L::zero_floats(); R]; 1];
        for column in 0..k {
            let weights = load(values.add(column * PANEL));
            for r in 0..R {
                accumulated[0][r] = L::fma(weights, inputs[r].add(column).read(), accumulated[0][r]);
            }
        }
        emit::<L, R, 1>(&accumulated, row, panel, output);
    }
}

/// # Safety
/// The contract of [`Output::put`] for each row and panel of the tile.
#[inline(always)]
unsafe fn emit<L: Lanes, const R: usize, const P: usize>(
    accumulated: &[[L::Floats; R]; P],
    row: usize,
    panel: usize,
    output: &Output<'_>,
) {
    for (p, rows) in accumulated.iter().enumerate() {
        // SAFETY: this function's contract: the tile's rows and panels are the output's.
        unsafe { output.put::<L>(row, panel + p, rows) };
    }
}

impl Block for Panels<'_> {
    fn shape(&self) -> (usize, GroupSize) {
        (self.layout.k, self.layout.group_size)
    }

    #[inline(always)]
    unsafe fn convert<L: Lanes>(&self, panel: usize, pairs: Range<usize>, out: &mut [MaybeUninit<L::Pairs>]) {
        let (panel, group_pairs) = (self.panel(panel).as_ptr(), self.layout.group_pairs());
        let (mut out, mut pairs) = (out.iter_mut(), pairs);
        while !pairs.is_empty() {
            let group = pairs.start / group_pairs;
            let last = pairs.end.min((group + 1) * group_pairs);
            for (pair, out) in (pairs.start..last).zip(&mut out) {
                let offset = self.layout.values_offset(group, pair);
                // SAFETY: the pair is in the panel, 32 int8; the processor has `L` (the contract of `Block::convert`).
                out.write(unsafe { L::load_pairs(panel.add(offset).cast()) });
            }
            pairs.start = last;
        }
    }

    #[inline(always)]
    unsafe fn scales<L: Lanes>(&self, panel: usize, group: usize) -> L::Floats {
        // SAFETY: each group of each panel begins with sixteen scales; the processor has `L` (the contract of
        // `Block::scales`).
        unsafe {
            let address = self.panel(panel).as_ptr().add(group * self.layout.group_bytes());
            L::load_scales(address, self.layout.scale_type)
        }
    }
}

//! Weights in panels. A few rows are multiplied while the weights stream by: integer sums stay in registers for a
//! piece, float accumulators for the whole row, and several panels are in flight. Many rows go through [`block`].

use std::{mem::MaybeUninit, ops::Range};

use super::{
    InputView, Output, Panels, ProductInputLayout,
    block::{self, Block},
};
use crate::{
    GroupSize,
    cpu::{lanes::Lanes, layout::PANEL},
};

/// From this many rows on widening a block of weights costs less than it saves.
const BLOCK_ROWS: usize = 16;

/// How far ahead of the reader weights are fetched, in bytes of each panel in flight: about a memory latency at one
/// core's bandwidth.
const PREFETCH_BYTES: usize = 2048;

/// Bytes that a prefetch brings.
const LINE_BYTES: usize = 64;

/// Pairs of inputs whose sixteen pairs of weights fill a line.
const PAIRS_PER_LINE: usize = LINE_BYTES / (2 * PANEL);

/// Pairs of inputs between one look at where the streams go on and the next.
const STRETCH: usize = 32;

/// W8A16 panels.
#[inline(always)]
pub(super) unsafe fn w8a16<L: Lanes>(
    weight: &Panels<'_>,
    panels: Range<usize>,
    input: InputView,
    output: &Output<'_>,
) {
    // SAFETY: the caller's promise (`super::product`); tiles stay within `panels` and `rows`.
    unsafe {
        if input.rows >= BLOCK_ROWS {
            return block::product::<L, _>(weight, panels, input, output);
        }
        let mut panel = panels.start;
        // A few rows leave the multipliers waiting for each other unless several panels are in flight.
        while input.rows <= L::FEW_ROWS && panel + 4 <= panels.end {
            w8a16_rows::<L, 4>(weight, panel, input, output);
            panel += 4;
        }
        while input.rows <= L::FEW_ROWS && panel + 2 <= panels.end {
            w8a16_rows::<L, 2>(weight, panel, input, output);
            panel += 2;
        }
        while panel < panels.end {
            w8a16_rows::<L, 1>(weight, panel, input, output);
            panel += 1;
        }
    }
}

/// All rows against `P` panels.
#[inline(always)]
unsafe fn w8a16_rows<L: Lanes, const P: usize>(
    weight: &Panels<'_>,
    panel: usize,
    input: InputView,
    output: &Output<'_>,
) {
    // SAFETY: the caller's promise; each tile's rows are below `input.rows`.
    unsafe {
        let mut row = 0;
        while L::TILE_ROWS >= 12 && row + 12 <= input.rows {
            w8a16_tile::<L, 12, P>(weight, panel, input, row, output);
            row += 12;
        }
        while row + 4 <= input.rows {
            w8a16_tile::<L, 4, P>(weight, panel, input, row, output);
            row += 4;
        }
        while row < input.rows {
            w8a16_tile::<L, 1, P>(weight, panel, input, row, output);
            row += 1;
        }
    }
}

/// `R` rows against `P` panels.
#[inline(always)]
unsafe fn w8a16_tile<L: Lanes, const R: usize, const P: usize>(
    weight: &Panels<'_>,
    panel: usize,
    input: InputView,
    row: usize,
    output: &Output<'_>,
) {
    let k = weight.k;
    let piece = weight.group_size.piece(k);
    let pieces_per_group = weight.group_size.elements(k).div_ceil(piece);
    let groups = weight.group_size.groups(k);
    let pairs = k.div_ceil(2);
    let scales_offset = ProductInputLayout { k, piece }.scales_offset();
    let scale_bytes = PANEL * weight.scale_type.size_bytes();
    // SAFETY: `values` holds ceil(n/16) panels of `pairs` × 32 bytes, `scales` as many of `groups` × 16 scales; the
    // input holds rows `row..row + R` of the layout. Every index below stays under these.
    unsafe {
        let values: [*const i8; P] =
            std::array::from_fn(|p| weight.values.as_ptr().add((panel + p) * pairs * 2 * PANEL));
        let scales: [*const u8; P] =
            std::array::from_fn(|p| weight.scales.as_ptr().add((panel + p) * groups * scale_bytes));
        let inputs: [*const u8; R] = std::array::from_fn(|r| input.row(row + r));
        let (panel_bytes, scales_bytes) = (pairs * 2 * PANEL, groups * scale_bytes);
        for line in (0..P * scales_bytes).step_by(LINE_BYTES) {
            L::prefetch(scales[0].wrapping_add(P * scales_bytes + line));
        }
        let mut accumulated = [[L::zero_floats(); R]; P];
        for index in 0..k.div_ceil(piece) {
            let first = index * piece / 2;
            let last = ((index + 1) * piece).min(k).div_ceil(2);
            let mut sums = [[L::zero_sums(); R]; P];
            for start in (first..last).step_by(STRETCH) {
                let end = (start + STRETCH).min(last);
                let mut ahead = start * 2 * PANEL + PREFETCH_BYTES;
                if ahead >= panel_bytes {
                    // Each stream goes on in the panels that come after these `P`.
                    ahead += (P - 1) * panel_bytes;
                }
                for pair in start..end {
                    for p in 0..P {
                        if pair % PAIRS_PER_LINE == 0 {
                            let line = ahead + (pair - start) * 2 * PANEL;
                            L::prefetch(values[p].cast::<u8>().wrapping_add(line));
                        }
                        let weights = L::load_pairs(values[p].add(pair * 2 * PANEL));
                        for r in 0..R {
                            let x = inputs[r].cast::<i32>().add(pair).read_unaligned();
                            sums[p][r] = L::dot(sums[p][r], weights, x);
                        }
                    }
                }
            }
            for p in 0..P {
                let weight_scales =
                    L::load_scales(scales[p].add(index / pieces_per_group * scale_bytes), weight.scale_type);
                for r in 0..R {
                    let input_scale = inputs[r].add(scales_offset).cast::<f32>().add(index).read_unaligned();
                    accumulated[p][r] = L::scale(sums[p][r], input_scale, weight_scales, accumulated[p][r]);
                }
            }
        }
        emit::<L, R, P>(&accumulated, row, panel, output);
    }
}

/// 16- or 32-bit panels, f32 inputs: one fused multiply-add for each input, in order.
#[inline(always)]
pub(super) unsafe fn float<L: Lanes, T>(
    values: *const T,
    k: usize,
    panels: Range<usize>,
    input: InputView,
    output: &Output<'_>,
    load: unsafe fn(*const T) -> L::Floats,
) {
    // SAFETY: the caller's promise (`super::product`); tiles stay within `panels` and `rows`.
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

#[inline(always)]
unsafe fn emit<L: Lanes, const R: usize, const P: usize>(
    accumulated: &[[L::Floats; R]; P],
    row: usize,
    panel: usize,
    output: &Output<'_>,
) {
    for (p, rows) in accumulated.iter().enumerate() {
        for (r, floats) in rows.iter().enumerate() {
            // SAFETY: the caller's promise: the tile's rows and panels are the output's.
            unsafe { output.put::<L>(row + r, panel + p, *floats) };
        }
    }
}

impl Block for Panels<'_> {
    fn shape(&self) -> (usize, GroupSize) {
        (self.k, self.group_size)
    }

    #[inline(always)]
    unsafe fn widen<L: Lanes>(&self, panel: usize, pairs: Range<usize>, out: &mut [MaybeUninit<L::Pairs>]) {
        let first = panel * self.k.div_ceil(2) + pairs.start;
        for (out, pair) in out.iter_mut().zip(first..first + pairs.len()) {
            // SAFETY: the caller's promise: the pair lies in the panel, 32 int8 each.
            out.write(unsafe { L::load_pairs(self.values.as_ptr().add(pair * 2 * PANEL)) });
        }
    }

    #[inline(always)]
    unsafe fn scales<L: Lanes>(&self, panel: usize, group: usize) -> L::Floats {
        let index = (panel * self.group_size.groups(self.k) + group) * PANEL;
        // SAFETY: the caller's promise: sixteen scales for each group of each panel.
        unsafe {
            let address = self.scales.as_ptr().add(index * self.scale_type.size_bytes());
            L::load_scales(address, self.scale_type)
        }
    }
}

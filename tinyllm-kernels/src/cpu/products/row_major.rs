//! int8 weights where a file holds them, row after row. A piece of sixteen rows is transposed into a panel on the
//! stack, once for all input rows, and then multiplied as any panel is: the same bits, at the cost of the transpose.

use std::ops::Range;

use super::{
    InputView, ProductInputLayout, RowMajor, Sink,
    pack::{pack_values, read_scale},
};
use crate::{
    MAX_PIECE,
    cpu::{lanes::Lanes, layout::PANEL},
};

/// Rows of the input that share one transposition: their accumulators stay in the nearest cache.
const TILE_ROWS: usize = 64;

/// Rows that are multiplied side by side, so that the multipliers do not wait for each other.
const ROWS: usize = 4;

#[inline(always)]
pub(super) unsafe fn w8a16<L: Lanes>(
    weight: &RowMajor<'_>,
    panels: Range<usize>,
    input: InputView,
    sink: Sink<'_>,
) {
    for panel in panels {
        let mut row = 0;
        while row < input.rows {
            let rows = row..(row + TILE_ROWS).min(input.rows);
            // SAFETY: the caller's promise (`super::product`); the rows are below `input.rows`.
            unsafe { tile::<L>(weight, panel, input, rows, sink) };
            row += TILE_ROWS;
        }
    }
}

#[inline(always)]
unsafe fn tile<L: Lanes>(
    weight: &RowMajor<'_>,
    panel: usize,
    input: InputView,
    rows: Range<usize>,
    sink: Sink<'_>,
) {
    let k = weight.k;
    let piece = weight.group_size.piece(k);
    let pieces_per_group = weight.group_size.elements(k).div_ceil(piece);
    let groups = weight.group_size.groups(k);
    let scales_offset = ProductInputLayout { k, piece }.scales_offset();
    let first_output = panel * PANEL;
    let outputs = PANEL.min(weight.n - first_output);
    let mut transposed = [0u8; MAX_PIECE * PANEL];
    let mut weight_scales = [0.0f32; PANEL];
    // SAFETY: `zero_floats` and `zero_sums` need the instruction set only, which the caller promises.
    let mut accumulated = [unsafe { L::zero_floats() }; TILE_ROWS];
    for index in 0..k.div_ceil(piece) {
        let columns = index * piece..((index + 1) * piece).min(k);
        let pairs = columns.len().div_ceil(2);
        for (lane, weight_scale) in weight_scales[..outputs].iter_mut().enumerate() {
            let at = (first_output + lane) * groups + index / pieces_per_group;
            *weight_scale = read_scale(weight.scales, weight.scale_type, at);
        }
        let first = first_output * weight.row_bytes + columns.start;
        let bytes = &weight.values[first..first + (outputs - 1) * weight.row_bytes + columns.len()];
        let panel = &mut transposed[..pairs * 2 * PANEL];
        pack_values(bytes, weight.row_bytes, columns.len(), weight.offset_binary, panel);
        let piece = Piece { panel, first_pair: columns.start / 2, scale: scales_offset + 4 * index };
        let (fours, ones) = accumulated[..rows.len()].as_chunks_mut::<ROWS>();
        // SAFETY: the panel is the piece's pairs × 32 bytes, and every input row holds those pairs and a scale a piece.
        unsafe {
            let row = |index: usize| input.data.add((rows.start + index) * input.row_stride_bytes);
            let weight_scales = L::load_f32(weight_scales.as_ptr());
            for (index, accumulated) in fours.iter_mut().enumerate() {
                let inputs = std::array::from_fn(|r| row(index * ROWS + r));
                piece.multiply::<L, ROWS>(inputs, weight_scales, accumulated);
            }
            let done = rows.len() - ones.len();
            for (index, accumulated) in ones.iter_mut().enumerate() {
                let accumulated = std::array::from_mut(accumulated);
                piece.multiply::<L, 1>([row(done + index)], weight_scales, accumulated);
            }
        }
    }
    let mut y = [0.0f32; PANEL];
    for (floats, row) in accumulated.iter().zip(rows) {
        // SAFETY: the instruction set is the caller's promise.
        unsafe { L::store(*floats, &mut y) };
        sink(row, panel, &y);
    }
}

/// A piece of sixteen rows, transposed.
struct Piece<'a> {
    /// `[pairs][16][2]`.
    panel: &'a [u8],
    /// Where the piece begins in an input row, in pairs.
    first_pair: usize,
    /// Where its scale is in an input row, in bytes.
    scale: usize,
}

impl Piece<'_> {
    /// Adds the piece's products with `R` input rows.
    ///
    /// # Safety
    /// The processor has the instructions of `L`; each input is a row of the product's input layout.
    #[inline(always)]
    unsafe fn multiply<L: Lanes, const R: usize>(
        &self,
        inputs: [*const u8; R],
        weight_scales: L::Floats,
        accumulated: &mut [L::Floats; R],
    ) {
        // SAFETY: the caller's promise; `pairs` stays inside the panel and the row.
        unsafe {
            let mut sums = [L::zero_sums(); R];
            for (pair, weights) in self.panel.chunks_exact(2 * PANEL).enumerate() {
                let weights = L::load_pairs(weights.as_ptr().cast());
                for r in 0..R {
                    let x = inputs[r].cast::<i32>().add(self.first_pair + pair).read_unaligned();
                    sums[r] = L::dot(sums[r], weights, x);
                }
            }
            for r in 0..R {
                let input_scale = inputs[r].add(self.scale).cast::<f32>().read_unaligned();
                accumulated[r] = L::scale(sums[r], input_scale, weight_scales, accumulated[r]);
            }
        }
    }
}

//! int8 weights where a file holds them, row after row. A piece of sixteen rows is transposed into a panel on the
//! stack, once for all input rows, and then multiplied as any panel is: the same bits, at the cost of the transpose.

use std::ops::Range;

use super::{InputView, ProductInputLayout, RowMajor, Sink, pack::read_scale};
use crate::{
    MAX_PIECE,
    cpu::{lanes::Lanes, layout::PANEL},
};

/// Rows of the input that share one transposition: their accumulators stay in the nearest cache.
const TILE_ROWS: usize = 32;

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
    let offset = if weight.offset_binary { 0x80 } else { 0 };
    let outputs = PANEL.min(weight.n - panel * PANEL);
    let mut transposed = [0i8; MAX_PIECE * PANEL];
    let mut weight_scales = [0.0f32; PANEL];
    // SAFETY: `zero_floats` and `zero_sums` need the instruction set only, which the caller promises.
    let mut accumulated = [unsafe { L::zero_floats() }; TILE_ROWS];
    for index in 0..k.div_ceil(piece) {
        let columns = index * piece..((index + 1) * piece).min(k);
        let pairs = columns.len().div_ceil(2);
        for (lane, weight_scale) in weight_scales[..outputs].iter_mut().enumerate() {
            let row = panel * PANEL + lane;
            let bytes = &weight.values[row * weight.row_bytes..][columns.clone()];
            let (whole, odd) = bytes.as_chunks::<2>();
            for (pair, values) in whole.iter().enumerate() {
                let at = (pair * PANEL + lane) * 2;
                transposed[at] = (values[0] ^ offset) as i8;
                transposed[at + 1] = (values[1] ^ offset) as i8;
            }
            if let [last] = odd {
                let at = (whole.len() * PANEL + lane) * 2;
                transposed[at] = (last ^ offset) as i8;
                transposed[at + 1] = 0;
            }
            *weight_scale =
                read_scale(weight.scales, weight.scale_type, row * groups + index / pieces_per_group);
        }
        for (accumulated, row) in accumulated.iter_mut().zip(rows.clone()) {
            // SAFETY: `transposed` holds `pairs` × 32 bytes, the input row the piece's pairs and scales.
            unsafe {
                let x = input.data.add(row * input.row_stride_bytes);
                let mut sums = L::zero_sums();
                for pair in 0..pairs {
                    let inputs = x.cast::<i32>().add(columns.start / 2 + pair).read_unaligned();
                    sums = L::dot(sums, L::load_pairs(transposed.as_ptr().add(pair * 2 * PANEL)), inputs);
                }
                let input_scale = x.add(scales_offset).cast::<f32>().add(index).read_unaligned();
                *accumulated = L::scale(sums, input_scale, L::load_f32(weight_scales.as_ptr()), *accumulated);
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

//! Rows into panels, and a row out of any form again.

use half::{bf16, f16};

use super::WeightView;
use crate::{GroupSize, ScaleType, cpu::layout::PANEL};

/// Packs up to sixteen rows of int8 (`[rows][row_bytes]`, k columns used) into one panel, `[ceil(k/2)][16][2]`; what
/// the rows do not fill is 0.
pub(crate) fn pack_values(rows: &[u8], row_bytes: usize, k: usize, offset_binary: bool, panel: &mut [i8]) {
    let offset = if offset_binary { 0x80 } else { 0 };
    if k % 2 == 1 || rows.len() < PANEL * row_bytes {
        panel.fill(0);
    }
    for (lane, row) in rows.chunks(row_bytes.max(1)).enumerate() {
        for (pair, values) in row[..k].chunks(2).enumerate() {
            for (half, value) in values.iter().enumerate() {
                // Offset binary and two's complement differ in the top bit.
                panel[(pair * PANEL + lane) * 2 + half] = (value ^ offset) as i8;
            }
        }
    }
}

/// Packs the scales of up to sixteen rows (`[rows][groups]`) into one panel, `[groups][16]`.
pub(crate) fn pack_scales(scales: &[u8], groups: usize, scale_type: ScaleType, panel: &mut [u8]) {
    let size = scale_type.size_bytes();
    panel.fill(0);
    for (lane, row) in scales.chunks((groups * size).max(1)).enumerate() {
        for (group, scale) in row.chunks(size).enumerate() {
            panel[(group * PANEL + lane) * size..][..size].copy_from_slice(scale);
        }
    }
}

/// Row `row` of a matrix as f32, `[k]`: an embedding lookup.
pub(crate) fn unpack_row(weight: &WeightView<'_>, row: usize, out: &mut [f32]) {
    let (panel, lane) = (row / PANEL, row % PANEL);
    match weight {
        WeightView::Panels(weight) => {
            let k = weight.k;
            let values = &weight.values[panel * k.next_multiple_of(2) * PANEL..];
            let groups = weight.group_size.groups(k);
            scaled(out, weight.group_size, |column, group| {
                let q = values[((column / 2) * PANEL + lane) * 2 + column % 2];
                (
                    i32::from(q),
                    read_scale(weight.scales, weight.scale_type, (panel * groups + group) * PANEL + lane),
                )
            });
        }
        WeightView::RowMajor(weight) => {
            let values = &weight.values[row * weight.row_bytes..][..weight.k];
            let groups = weight.group_size.groups(weight.k);
            let offset = if weight.offset_binary { 0x80 } else { 0 };
            scaled(out, weight.group_size, |column, group| {
                let q = (values[column] ^ offset) as i8;
                (i32::from(q), read_scale(weight.scales, weight.scale_type, row * groups + group))
            });
        }
        WeightView::F16(weight) => {
            let values = weight.values[panel * weight.k * PANEL + lane..].iter().step_by(PANEL);
            out.iter_mut().zip(values).for_each(|(out, value)| *out = value.to_f32());
        }
        WeightView::F32(weight) => {
            let values = weight.values[panel * weight.k * PANEL + lane..].iter().step_by(PANEL);
            out.iter_mut().zip(values).for_each(|(out, value)| *out = *value);
        }
    }
}

fn scaled(out: &mut [f32], group_size: GroupSize, at: impl Fn(usize, usize) -> (i32, f32)) {
    let elements = group_size.elements(out.len());
    for (column, out) in out.iter_mut().enumerate() {
        let (q, scale) = at(column, column / elements);
        *out = q as f32 * scale;
    }
}

/// Scale `index` of a packed array.
pub(super) fn read_scale(scales: &[u8], scale_type: ScaleType, index: usize) -> f32 {
    let size = scale_type.size_bytes();
    match (scale_type, &scales[index * size..][..size]) {
        (ScaleType::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
        (ScaleType::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
        (ScaleType::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        _ => 0.0,
    }
}

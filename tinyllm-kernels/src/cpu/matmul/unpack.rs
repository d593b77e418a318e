//! A row out of any form of a weight, as f32: an embedding lookup.

use super::{WeightView, floats};
use crate::{GroupSize, KernelError, cpu::layout::PANEL};

/// Row `row` of a matrix as f32, `[k]`: an embedding lookup.
///
/// # Errors
/// Of a row that is still to be quantised.
pub(crate) fn unpack_row(weight: &WeightView<'_>, row: usize, out: &mut [f32]) -> Result<(), KernelError> {
    let (panel, lane) = (row / PANEL, row % PANEL);
    match weight {
        WeightView::Panels(weight) => {
            let (layout, panel) = (weight.layout, weight.panel(panel));
            scaled(out, layout.group_size, |column, group| {
                let q = panel[layout.values_offset(group, column / 2) + 2 * lane + column % 2] as i8;
                let scales = &panel[group * layout.group_bytes()..];
                (i32::from(q), layout.scale_type.read(scales, lane))
            });
        }
        WeightView::RowMajor(weight) => {
            let first = row * weight.row_bytes;
            let values = weight.values.part(first..first + weight.k);
            let (groups, size) = (weight.group_size.groups(weight.k), weight.scale_type.size_bytes());
            let scales = weight.scales.part(row * groups * size..(row + 1) * groups * size);
            let offset = if weight.offset_binary { 0x80 } else { 0 };
            let mut scale = [0; 4];
            scaled(out, weight.group_size, |column, group| {
                let [value] = values.array(column);
                scales.copy_to(group * size, &mut scale[..size]);
                (i32::from((value ^ offset) as i8), weight.scale_type.read(&scale, 0))
            });
        }
        WeightView::Floats(weight) => {
            let quantized = floats::quantized_row(weight, row)?;
            return unpack_row(&WeightView::RowMajor(quantized.matrix(weight)), 0, out);
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
    Ok(())
}

fn scaled(out: &mut [f32], group_size: GroupSize, mut at: impl FnMut(usize, usize) -> (i32, f32)) {
    let elements = group_size.elements(out.len());
    for (column, out) in out.iter_mut().enumerate() {
        let (q, scale) = at(column, column / elements);
        *out = q as f32 * scale;
    }
}

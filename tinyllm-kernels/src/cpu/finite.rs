//! What is refused because it is no number, or none that its type holds.

use half::f16;

use super::products::read_scale;
use crate::{KernelError, RawQuantized, ScaleType, WeightFormat, WeightSpec};

pub(super) fn check_finite(name: &str, row: usize, values: &[f32]) -> Result<(), KernelError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(column) => {
            Err(KernelError::NonFiniteWeight { name: name.into(), row, column, value: values[column] })
        }
    }
}

pub(super) fn to_f16(name: &str, row: usize, column: usize, value: f32) -> Result<f16, KernelError> {
    let rounded = f16::from_f32(value);
    if rounded.is_finite() {
        return Ok(rounded);
    }
    Err(KernelError::F16Overflow { name: name.into(), row, group: column, value })
}

/// Refuses int8 rows that are not as many as the weight's, or whose scales are not, or not finite.
pub(super) fn check_rows(spec: &WeightSpec, raw: &RawQuantized<'_>) -> Result<(), KernelError> {
    let WeightFormat::W8A16 { group_size, scales } = spec.format else { return Ok(()) };
    let groups = group_size.groups(spec.k);
    let sizes = [
        ("a row", raw.row_bytes.min(spec.k), spec.k),
        ("rows", raw.values.len(), spec.n * raw.row_bytes),
        ("scales", raw.scales.len(), spec.n * groups * scales.size_bytes()),
    ];
    if let Some((what, found, needed)) = sizes.into_iter().find(|(_, found, needed)| found != needed) {
        let problem = format!("{found} bytes of {what} where {needed} are needed");
        return Err(KernelError::Source { name: spec.name.clone(), problem });
    }
    if are_finite(raw.scales, scales) {
        return Ok(());
    }
    let read = |index| read_scale(raw.scales, scales, index);
    let found = (0..spec.n * groups).find(|index| !read(*index).is_finite());
    found.map_or(Ok(()), |index| {
        let (row, group) = (index / groups, index % groups);
        Err(KernelError::NonFiniteScale { name: spec.name.clone(), row, group, value: read(index) })
    })
}

/// Whether no exponent is all ones: the largest of what is left without the sign.
fn are_finite(scales: &[u8], scale_type: ScaleType) -> bool {
    let halves = |infinity| {
        let magnitudes = scales.as_chunks().0.iter().map(|bytes| i16::from_le_bytes(*bytes) & i16::MAX);
        magnitudes.fold(0, i16::max) < infinity
    };
    match scale_type {
        ScaleType::F16 => halves(0x7c00),
        ScaleType::Bf16 => halves(0x7f80),
        ScaleType::F32 => {
            let magnitudes = scales.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes) & i32::MAX);
            magnitudes.fold(0, i32::max) < 0x7f80_0000
        }
    }
}

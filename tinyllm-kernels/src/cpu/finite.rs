//! What is refused because it is no number, or none that its type holds.

use half::f16;

use super::products::read_scale;
use crate::{KernelError, QuantizedRows, ScaleType, WeightFormat, WeightSpec};

/// Refuses a row of a weight that is not finite.
pub(super) fn check_finite(name: &str, row: usize, values: &[f32]) -> Result<(), KernelError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(column) => {
            Err(KernelError::NonFiniteWeight { name: name.into(), row, column, value: values[column] })
        }
    }
}

/// A weight as f16; refused where it is too large.
pub(super) fn to_f16(name: &str, row: usize, column: usize, value: f32) -> Result<f16, KernelError> {
    let rounded = f16::from_f32(value);
    if rounded.is_finite() {
        return Ok(rounded);
    }
    Err(KernelError::F16Overflow { name: name.into(), row, group: column, value })
}

/// Scales that are looked at together: they stay in the nearest cache.
const SCALE_BYTES: usize = 16 << 10;

/// Refuses int8 rows that are not as many as the weight's, or whose scales are not, or not finite.
pub(super) fn check_rows(spec: &WeightSpec, rows: &dyn QuantizedRows) -> Result<(), KernelError> {
    let WeightFormat::W8A16 { group_size, scales } = spec.format else { return Ok(()) };
    let (groups, layout) = (group_size.groups(spec.k), rows.layout());
    let row_bytes = groups * scales.size_bytes();
    let sizes =
        [("values", layout.row_bytes.min(spec.k), spec.k), ("scales", layout.row_scale_bytes, row_bytes)];
    if let Some((what, found, needed)) = sizes.into_iter().find(|(_, found, needed)| found != needed) {
        let problem = format!("rows of {found} bytes of {what} where {needed} are needed");
        return Err(KernelError::Source { name: spec.name.clone(), problem });
    }
    let count = (SCALE_BYTES / row_bytes.max(1)).clamp(1, spec.n.max(1));
    let mut buffer = vec![0; count * row_bytes];
    for first in (0..spec.n).step_by(count) {
        let block = first..spec.n.min(first + count);
        let bytes = &mut buffer[..block.len() * row_bytes];
        rows.read_scales(block, bytes)?;
        if are_finite(bytes, scales) {
            continue;
        }
        let read = |index: &usize| read_scale(bytes, scales, *index);
        if let Some(index) = (0..bytes.len() / scales.size_bytes()).find(|index| !read(index).is_finite()) {
            let (row, group, value) = (first + index / groups, index % groups, read(&index));
            return Err(KernelError::NonFiniteScale { name: spec.name.clone(), row, group, value });
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use half::bf16;
    use tinyllm_mem::{Category, MappedFile};

    use super::*;
    use crate::{GroupSize, MappedWeight, Placement};

    /// With scales of f32 that are looked at in blocks of 2,048 rows: more than one.
    const ROWS: usize = 5000;

    /// Checks rows of 64 with two scales each: `scale`, and `last` at the end.
    fn check(scales: ScaleType, scale: &[u8], last: &[u8]) -> Result<(), String> {
        let format = WeightFormat::W8A16 { group_size: GroupSize::Elements(32), scales };
        let (name, category, placement) = ("q".into(), Category::Weights, Placement::Slab);
        let spec = WeightSpec { name, n: ROWS, k: 64, format, category, placement };
        let values = MappedFile::from_static(&[0; ROWS * 64], "q").range(0..ROWS * 64).unwrap();
        let stored = [scale.repeat(2 * ROWS - 1), last.to_vec()].concat().leak();
        let stored = MappedFile::from_static(stored, "q").range(0..stored.len()).unwrap();
        let rows =
            MappedWeight::new((ROWS, 64), values, 64, false, stored).map_err(|error| error.to_string())?;
        check_rows(&spec, &rows).map_err(|error| error.to_string())
    }

    #[test]
    fn every_type_of_scales_is_finite_up_to_its_largest_number() {
        let cases: [(ScaleType, [Vec<u8>; 4]); 3] = [
            (
                ScaleType::F16,
                [f16::MIN, f16::MAX, f16::NEG_INFINITY, f16::NAN].map(|x| x.to_le_bytes().into()),
            ),
            (
                ScaleType::Bf16,
                [bf16::MIN, bf16::MAX, bf16::NEG_INFINITY, bf16::NAN].map(|x| x.to_le_bytes().into()),
            ),
            (
                ScaleType::F32,
                [f32::MIN, f32::MAX, f32::NEG_INFINITY, f32::NAN].map(|x| x.to_le_bytes().into()),
            ),
        ];
        for (scales, [least, largest, infinity, nan]) in cases {
            assert_eq!(check(scales, &least, &largest), Ok(()));
            for (last, word) in [(infinity, "-inf"), (nan, "NaN")] {
                let error = check(scales, &largest, &last).unwrap_err();
                assert!(error.contains(&format!("row 4999, group 1 is {word}")), "{error}");
            }
        }
    }

    #[test]
    fn sizes_are_the_weights() {
        let error = check(ScaleType::F16, &[0; 2], &[]).unwrap_err();
        assert!(error.contains("19998 of scales for [5000, 64]"), "{error}");
        let error = check(ScaleType::F32, &[0; 2], &[0; 2]).unwrap_err();
        assert!(error.contains("4 bytes of scales where 8 are needed"), "{error}");
    }
}

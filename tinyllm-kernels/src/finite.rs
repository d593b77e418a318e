//! Checks that weights and scales are finite and in range.

use half::f16;

use crate::{Bytes, KernelError, QuantizedMatrix, ScaleType, WeightFormat, WeightSpec};

/// Refuses a row of a weight that is not finite.
pub(crate) fn check_finite(name: &str, row: usize, values: &[f32]) -> Result<(), KernelError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(column) => {
            Err(KernelError::NonFiniteWeight { name: name.into(), row, column, value: values[column] })
        }
    }
}

/// A weight as f16; an error where it is too large.
pub(crate) fn to_f16(name: &str, row: usize, column: usize, value: f32) -> Result<f16, KernelError> {
    let rounded = f16::from_f32(value);
    if rounded.is_finite() {
        return Ok(rounded);
    }
    Err(KernelError::F16Overflow { name: name.into(), row, group: column, value })
}

/// Bytes of scales that are checked at a time: they stay in L1.
const SCALE_BYTES: usize = 16 << 10;

/// Refuses int8 rows in another format than the weight's, and scales that are not finite.
pub(crate) fn check_rows<B: Bytes>(spec: &WeightSpec, rows: &QuantizedMatrix<B>) -> Result<(), KernelError> {
    let source = |problem: String| Err(KernelError::Source { name: spec.name.clone(), problem });
    let WeightFormat::W8A16 { group_size, scales } = spec.format else {
        return source("int8 rows cannot fill a floating-point weight".into());
    };
    let groups = group_size.groups(spec.k);
    let is_same = group_size.elements(spec.k) == rows.group_size.elements(spec.k);
    if !is_same || rows.scale_type != scales {
        return source(format!("{:?} where {:?} is needed", rows.format(), spec.format));
    }
    let row_bytes = rows.row_scale_bytes();
    let count = (SCALE_BYTES / row_bytes.max(1)).clamp(1, spec.n.max(1));
    let mut buffer = vec![0; count * row_bytes];
    for first in (0..spec.n).step_by(count) {
        let block = first..spec.n.min(first + count);
        let bytes = &mut buffer[..block.len() * row_bytes];
        rows.read_scales(block, bytes)?;
        if are_finite(bytes, scales) {
            continue;
        }
        let read = |index: &usize| scales.read(bytes, *index);
        if let Some(index) = (0..bytes.len() / scales.size_bytes()).find(|index| !read(index).is_finite()) {
            let (row, group, value) = (first + index / groups, index % groups, read(&index));
            return Err(KernelError::NonFiniteScale { name: spec.name.clone(), row, group, value });
        }
    }
    Ok(())
}

/// Whether all scales are finite: the largest magnitude, compared as integers, is below infinity's bits.
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
    use tinyllm_mem::Category;

    use super::*;
    use crate::{GroupSize, Placement};

    /// More than one block: f32 scales are checked in blocks of 2,048 rows.
    const ROWS: usize = 5000;

    fn spec(scales: ScaleType) -> WeightSpec {
        let format = WeightFormat::W8A16 { group_size: GroupSize::Elements(32), scales };
        let (name, category, placement) = ("q".into(), Category::Weights, Placement::Slab);
        WeightSpec { name, n: ROWS, k: 64, format, category, placement }
    }

    /// Checks rows of 64 with two scales each: `scale`, and `last` at the end.
    fn check(scales: ScaleType, scale: &[u8], last: &[u8]) -> Result<(), String> {
        let spec = spec(scales);
        let (values, stored) = (vec![0; ROWS * 64], [scale.repeat(2 * ROWS - 1), last.to_vec()].concat());
        let rows = QuantizedMatrix::new((ROWS, 64), spec.format, &values[..], 64, false, &stored[..])
            .map_err(|error| error.to_string())?;
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
        let (values, stored) = (vec![0; ROWS * 64], vec![0; ROWS * 4]);
        let halves = spec(ScaleType::F16).format;
        let rows = QuantizedMatrix::new((ROWS, 64), halves, &values[..], 64, false, &stored[..]).unwrap();
        let error = check_rows(&spec(ScaleType::F32), &rows).unwrap_err().to_string();
        assert!(error.contains("F16") && error.contains("F32"), "{error}");
    }
}

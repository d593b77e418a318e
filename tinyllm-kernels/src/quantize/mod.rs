//! The W8A16 rule: `s = f16(max|w| / 127)`, `q = clamp(round_half_even(w / s), -127, 127)`, per group along k.

use half::f16;

use crate::KernelError;

/// 1.5 · 2²³: f32 near it are integers, and their lowest bits are the difference to it.
const ROUNDER: f32 = 12_582_912.0;

/// Quantises one row `[k]` in groups of `group` weights (the last may be shorter) into q `[k]` and scales `[groups]`.
///
/// ```
/// use half::f16;
/// let (mut q, mut scales) = ([0; 4], [f16::ZERO; 2]);
/// tinyllm_kernels::quantize::quantize_row("w", 0, &[1.0, -0.5, 0.0, 0.25], 3, &mut q, &mut scales)?;
/// assert_eq!(q, [127, -64, 0, 127]);
/// # Ok::<(), tinyllm_kernels::KernelError>(())
/// ```
///
/// # Errors
/// [`KernelError::NonFiniteWeight`], and [`KernelError::F16Overflow`] for a scale above 65504; both name `name` and
/// `row`.
pub fn quantize_row(
    name: &str,
    row: usize,
    weights: &[f32],
    group: usize,
    q: &mut [i8],
    scales: &mut [f16],
) -> Result<(), KernelError> {
    quantize(name, row, weights, group, q, scales).map(|_| ())
}

/// Groups of a weight whose f16 scale rounded to 0 although their weights are not 0: W8A16 makes all of them 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VanishedGroups {
    /// The weight.
    pub weight: String,
    /// Number of such groups.
    pub count: usize,
    /// The row of the first one.
    pub row: usize,
}

/// One entry a weight, of entries for parts of weights.
pub(crate) fn merged(parts: &[VanishedGroups]) -> Vec<VanishedGroups> {
    let mut merged: Vec<VanishedGroups> = Vec::new();
    for part in parts {
        match merged.iter_mut().find(|whole| whole.weight == part.weight) {
            Some(whole) => {
                whole.count += part.count;
                whole.row = whole.row.min(part.row);
            }
            None => merged.push(part.clone()),
        }
    }
    merged
}

/// [`quantize_row`], inlined to be compiled with its caller's target features; returns how many groups have vanished
/// ([`VanishedGroups`]).
#[inline(always)]
pub(crate) fn quantize(
    name: &str,
    row: usize,
    weights: &[f32],
    group: usize,
    q: &mut [i8],
    scales: &mut [f16],
) -> Result<usize, KernelError> {
    let (group, mut vanished) = (group.max(1), 0);
    let groups = weights.chunks(group).zip(q.chunks_mut(group)).zip(scales);
    for (index, ((weights, q), scale)) in groups.enumerate() {
        // Without the sign, floats are ordered as their bits are; infinity and NaN have the largest.
        let largest = weights.iter().fold(0u32, |largest, w| largest.max(w.to_bits() & 0x7fff_ffff));
        let largest = f32::from_bits(largest);
        if !largest.is_finite() {
            let column = weights.iter().position(|w| !w.is_finite()).unwrap_or(0);
            let value = weights[column];
            return Err(KernelError::NonFiniteWeight {
                name: name.into(),
                row,
                column: index * group + column,
                value,
            });
        }
        *scale = f16::from_f32(largest / 127.0);
        if scale.is_infinite() {
            return Err(KernelError::F16Overflow {
                name: name.into(),
                row,
                group: index,
                value: largest / 127.0,
            });
        }
        let step = scale.to_f32();
        if step == 0.0 {
            q.fill(0);
            vanished += usize::from(largest > 0.0);
        } else {
            for (q, w) in q.iter_mut().zip(weights) {
                // Adding 1.5 · 2²³ rounds half to even, and vectorises on any instruction set; within ±127 the lowest
                // byte is the integer.
                *q = ((w / step).clamp(-127.0, 127.0) + ROUNDER).to_bits() as i8;
            }
        }
    }
    Ok(vanished)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference() -> Option<Vec<u8>> {
        let folder = std::env::var_os("TINYLLM_ORACLE_DIR").map_or_else(
            || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracle"),
            std::path::PathBuf::from,
        );
        let path = folder.join("w8a16/w8a16_oracle.safetensors");
        let bytes = std::fs::read(&path);
        if bytes.is_err() {
            eprintln!("skipped: {} is absent", path.display());
        }
        bytes.ok()
    }

    #[test]
    fn rows_equal_the_reference_bit_for_bit() {
        let Some(bytes) = reference() else { return };
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut cases = 0;
        for name in file.names() {
            let Some(case) = name.strip_suffix(".weight") else { continue };
            let weight = file.tensor(name).unwrap();
            let halves = |f: fn(u16) -> f32| -> Vec<f32> {
                weight.data().chunks(2).map(|b| f(u16::from_le_bytes([b[0], b[1]]))).collect()
            };
            let values: Vec<f32> = match weight.dtype() {
                safetensors::Dtype::F16 => halves(|bits| f16::from_bits(bits).to_f32()),
                safetensors::Dtype::BF16 => halves(|bits| half::bf16::from_bits(bits).to_f32()),
                _ => weight.data().chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            };
            let (k, groups) = (weight.shape()[1], weight.shape()[1].div_ceil(128));
            let expected_q = file.tensor(&format!("{case}.qweight")).unwrap();
            let expected_scales = file.tensor(&format!("{case}.scales")).unwrap();
            for (row, values) in values.chunks(k).enumerate() {
                let (mut q, mut scales) = (vec![0; k], vec![f16::ZERO; groups]);
                quantize_row(case, row, values, 128, &mut q, &mut scales).unwrap();
                assert_eq!(
                    bytemuck::cast_slice::<i8, u8>(&q),
                    &expected_q.data()[row * k..][..k],
                    "{case} row {row}"
                );
                let bytes: Vec<u8> = scales.iter().flat_map(|s| s.to_le_bytes()).collect();
                assert_eq!(
                    bytes,
                    &expected_scales.data()[row * groups * 2..][..groups * 2],
                    "{case} row {row}"
                );
            }
            cases += 1;
        }
        assert!(cases >= 5, "{cases} cases");
    }

    #[test]
    fn what_cannot_be_quantised_is_named() {
        let (mut q, mut scales) = ([0; 4], [f16::ZERO; 2]);
        let error = quantize_row("w", 7, &[1.0, 2.0, f32::NAN, 0.0], 2, &mut q, &mut scales).unwrap_err();
        assert!(matches!(error, KernelError::NonFiniteWeight { row: 7, column: 2, .. }), "{error}");
        let error = quantize_row("w", 7, &[1.0, 2.0, 1e7, 0.0], 2, &mut q, &mut scales).unwrap_err();
        assert!(matches!(error, KernelError::F16Overflow { row: 7, group: 1, .. }), "{error}");
    }
}

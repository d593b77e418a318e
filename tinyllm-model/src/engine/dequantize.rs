//! W8A16 tensors read as f32, for `--weights f32` and `f16` on a file that is quantised.

use std::ops::Range;

use half::{bf16, f16};
use tinyllm_kernels::{FloatRows, KernelError, QuantizedRows, ScaleType};

use crate::checkpoint::W8A16Tensor;

/// `q * s` of a quantised tensor.
pub(super) struct Dequantized<'a> {
    tensor: &'a W8A16Tensor<'a>,
    group_size: Option<usize>,
    scales: ScaleType,
}

impl<'a> Dequantized<'a> {
    /// Of a tensor whose scales cover `group_size` weights each; `None` is the whole row.
    pub(super) fn new(tensor: &'a W8A16Tensor<'a>, group_size: Option<usize>, scales: ScaleType) -> Self {
        Dequantized { tensor, group_size, scales }
    }

    fn scale(&self, index: usize) -> f32 {
        let size = self.scales.size_bytes();
        let bytes = &self.tensor.scales[index * size..][..size];
        match (self.scales, bytes) {
            (ScaleType::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
            (ScaleType::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
            (ScaleType::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            _ => f32::NAN,
        }
    }
}

impl FloatRows for Dequantized<'_> {
    fn shape(&self) -> (usize, usize) {
        (self.tensor.n, self.tensor.k)
    }

    fn read(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), KernelError> {
        let tensor = self.tensor;
        let group = self.group_size.unwrap_or(tensor.k).clamp(1, tensor.k.max(1));
        let groups = tensor.k.div_ceil(group);
        for (row, out) in rows.zip(out.chunks_mut(tensor.k.max(1))) {
            let values = &tensor.values[row * tensor.row_bytes..][..tensor.k];
            for (index, (out, values)) in out.chunks_mut(group).zip(values.chunks(group)).enumerate() {
                let scale = self.scale(row * groups + index);
                for (out, value) in out.iter_mut().zip(values) {
                    let q =
                        if tensor.offset_binary { i32::from(*value) - 128 } else { i32::from(*value as i8) };
                    *out = q as f32 * scale;
                }
            }
        }
        Ok(())
    }

    fn consumed(&self, rows: Range<usize>) {
        self.tensor.mapped().consumed(rows);
    }
}

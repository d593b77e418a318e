//! W8A16 tensors read as f32, for `--weights f32` and `f16` on a file that is quantised.

use std::ops::Range;

use half::{bf16, f16};
use tinyllm_kernels::{FetchedRows, FloatRows, KernelError, MappedWeight, QuantizedRows, ScaleType};

use crate::checkpoint::rows::{not_fetched, read_by_fetching};

/// `q * s` of a quantised tensor.
pub(super) struct Dequantized<'a> {
    name: &'a str,
    tensor: &'a MappedWeight,
    group_size: Option<usize>,
    scales: ScaleType,
}

impl<'a> Dequantized<'a> {
    /// Of a tensor whose scales cover `group_size` weights each; `None` is the whole row.
    pub(super) fn new(
        name: &'a str,
        tensor: &'a MappedWeight,
        group_size: Option<usize>,
        scales: ScaleType,
    ) -> Self {
        Dequantized { name, tensor, group_size, scales }
    }

    fn scale(&self, scales: &[u8], index: usize) -> f32 {
        let size = self.scales.size_bytes();
        let bytes = &scales[index * size..][..size];
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
        self.tensor.shape()
    }

    fn read(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), KernelError> {
        read_by_fetching(self, rows, out)
    }

    /// The rows' values, then their scales.
    fn fetch(&self, rows: Range<usize>, fetched: &mut FetchedRows) -> Result<(), KernelError> {
        let layout = self.tensor.layout();
        let bytes = fetched.replace(rows.clone(), layout.row_bytes + layout.row_scale_bytes);
        let (values, scales) = bytes.split_at_mut(rows.len() * layout.row_bytes);
        self.tensor.read_values(rows.clone(), values)?;
        self.tensor.read_scales(rows, scales)
    }

    fn read_fetched(&self, row: usize, fetched: &FetchedRows, out: &mut [f32]) -> Result<(), KernelError> {
        let (layout, (rows, bytes)) = (self.tensor.layout(), fetched.all());
        if !rows.contains(&row) {
            return Err(not_fetched(self.name, row));
        }
        let (index, (_, k)) = (row - rows.start, self.shape());
        let (values, scales) = bytes.split_at(rows.len() * layout.row_bytes);
        let values = &values[index * layout.row_bytes..][..k];
        let scales = &scales[index * layout.row_scale_bytes..][..layout.row_scale_bytes];
        let group = self.group_size.unwrap_or(k).clamp(1, k.max(1));
        for (index, (out, values)) in out.chunks_mut(group).zip(values.chunks(group)).enumerate() {
            let scale = self.scale(scales, index);
            for (out, value) in out.iter_mut().zip(values) {
                let q = if layout.offset_binary { i32::from(*value) - 128 } else { i32::from(*value as i8) };
                *out = q as f32 * scale;
            }
        }
        Ok(())
    }
}

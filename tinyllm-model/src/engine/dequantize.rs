//! W8A16 tensors read as f32, for `--weights f32` and `f16` on a file that is quantised.

use std::ops::Range;

use tinyllm_kernels::{FetchedRows, FloatRows, KernelError, QuantizedMatrix};

use crate::checkpoint::rows::{not_fetched, read_by_fetching};

/// `q * s` of a quantised tensor.
pub(super) struct Dequantized<'a> {
    name: &'a str,
    matrix: &'a QuantizedMatrix,
}

impl<'a> Dequantized<'a> {
    pub(super) fn new(name: &'a str, matrix: &'a QuantizedMatrix) -> Self {
        Dequantized { name, matrix }
    }
}

impl FloatRows for Dequantized<'_> {
    fn shape(&self) -> (usize, usize) {
        self.matrix.shape()
    }

    fn read(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), KernelError> {
        read_by_fetching(self, rows, out)
    }

    /// The rows' values, then their scales.
    fn fetch(&self, rows: Range<usize>, fetched: &mut FetchedRows) -> Result<(), KernelError> {
        let (row_bytes, row_scale_bytes) = (self.matrix.row_bytes(), self.matrix.row_scale_bytes());
        let bytes = fetched.replace(rows.clone(), row_bytes + row_scale_bytes);
        let (values, scales) = bytes.split_at_mut(rows.len() * row_bytes);
        self.matrix.read_values(rows.clone(), values)?;
        self.matrix.read_scales(rows, scales)
    }

    fn read_fetched(&self, row: usize, fetched: &FetchedRows, out: &mut [f32]) -> Result<(), KernelError> {
        let (rows, bytes) = fetched.all();
        if !rows.contains(&row) {
            return Err(not_fetched(self.name, row));
        }
        let (row_bytes, row_scale_bytes) = (self.matrix.row_bytes(), self.matrix.row_scale_bytes());
        let (values, scales) = bytes.split_at(rows.len() * row_bytes);
        let index = row - rows.start;
        let values = &values[index * row_bytes..][..row_bytes];
        self.matrix.dequantize_row(values, &scales[index * row_scale_bytes..][..row_scale_bytes], out);
        Ok(())
    }
}

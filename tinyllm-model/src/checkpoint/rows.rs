//! Rows of a stored f32, f16 or bf16 tensor as f32, copied out of its file.

use std::{ops::Range, sync::Arc};

use half::{bf16, f16, slice::HalfFloatSliceExt};
use safetensors::Dtype;
use tinyllm_kernels::{FetchedRows, FloatRows, KernelError};
use tinyllm_mem::MappedRange;

/// The floating-point types that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloatType {
    F32,
    F16,
    Bf16,
}

impl FloatType {
    /// `None` where it is not one of these.
    pub(crate) fn from_dtype(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(FloatType::F32),
            Dtype::F16 => Some(FloatType::F16),
            Dtype::BF16 => Some(FloatType::Bf16),
            _ => None,
        }
    }

    /// Size of one element in bytes.
    pub(crate) const fn size_bytes(self) -> usize {
        match self {
            FloatType::F32 => 4,
            FloatType::F16 | FloatType::Bf16 => 2,
        }
    }

    /// Converts little-endian elements, of any alignment.
    fn decode(self, bytes: &[u8], out: &mut [f32]) {
        fn each<const N: usize>(bytes: &[u8], out: &mut [f32], convert: impl Fn([u8; N]) -> f32) {
            for (element, value) in bytes.as_chunks::<N>().0.iter().zip(out) {
                *value = convert(*element);
            }
        }
        match self {
            FloatType::F32 => each(bytes, out, f32::from_le_bytes),
            FloatType::F16 => halves(bytes, out),
            FloatType::Bf16 => each(bytes, out, |element| bf16::from_le_bytes(element).to_f32()),
        }
    }
}

/// Elements of f16 converted at a time, in an array on the stack.
const CHUNK: usize = 64;

/// Converts little-endian f16, of any alignment, by the processor's own instructions where it has them.
pub(crate) fn halves(bytes: &[u8], out: &mut [f32]) {
    for (bytes, out) in bytes.as_chunks::<2>().0.chunks(CHUNK).zip(out.chunks_mut(CHUNK)) {
        let mut halves = [f16::ZERO; CHUNK];
        for (half, bytes) in halves.iter_mut().zip(bytes) {
            *half = f16::from_le_bytes(*bytes);
        }
        // The last chunks may differ in length, where the caller passes more of one than of the other.
        let count = out.len().min(bytes.len());
        halves[..count].convert_to_f32_slice(&mut out[..count]);
    }
}

/// [`FloatRows::read`] of a source whose rows are fetched and then converted.
pub(crate) fn read_by_fetching(
    source: &dyn FloatRows,
    rows: Range<usize>,
    out: &mut [f32],
) -> Result<(), KernelError> {
    let (_, k) = source.shape();
    let mut fetched = FetchedRows::default();
    source.fetch(rows.clone(), &mut fetched)?;
    rows.zip(out.chunks_mut(k.max(1))).try_for_each(|(row, out)| source.read_fetched(row, &fetched, out))
}

/// The error of a reader that reads a row it has not fetched.
pub(crate) fn not_fetched(name: &str, row: usize) -> KernelError {
    KernelError::Source { name: name.to_owned(), problem: format!("row {row} was not fetched") }
}

/// A `[n, k]` tensor in a file; a vector is one row.
#[derive(Clone)]
pub(crate) struct StoredRows {
    /// The tensor, for errors.
    pub(crate) name: String,
    /// `n · k` elements.
    pub(crate) bytes: MappedRange,
    /// Their type.
    pub(crate) element: FloatType,
    /// Rows.
    pub(crate) n: usize,
    /// Columns.
    pub(crate) k: usize,
}

impl StoredRows {
    fn misfit(&self, rows: &Range<usize>, elements: usize) -> KernelError {
        let problem = format!("rows {rows:?} of [{}, {}] do not fit {elements} elements", self.n, self.k);
        KernelError::Source { name: self.name.clone(), problem }
    }
}

impl FloatRows for StoredRows {
    fn shape(&self) -> (usize, usize) {
        (self.n, self.k)
    }

    fn read(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), KernelError> {
        if rows.len().checked_mul(self.k) != Some(out.len()) {
            return Err(self.misfit(&rows, out.len()));
        }
        read_by_fetching(self, rows, out)
    }

    fn fetch(&self, rows: Range<usize>, fetched: &mut FetchedRows) -> Result<(), KernelError> {
        if rows.start > rows.end || rows.end > self.n {
            return Err(self.misfit(&rows, rows.len()));
        }
        let row_bytes = self.k * self.element.size_bytes();
        let start = rows.start * row_bytes;
        Ok(self.bytes.read_at(start, fetched.replace(rows, row_bytes))?)
    }

    fn read_fetched(&self, row: usize, fetched: &FetchedRows, out: &mut [f32]) -> Result<(), KernelError> {
        let bytes = fetched.row(row).ok_or_else(|| not_fetched(&self.name, row))?;
        self.element.decode(bytes, out);
        Ok(())
    }

    fn halves<'a>(&self, row: usize, fetched: &'a FetchedRows) -> Option<&'a [u8]> {
        fetched.row(row).filter(|_| self.element == FloatType::F16)
    }

    fn shared(&self) -> Option<Arc<dyn FloatRows>> {
        Some(Arc::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use tinyllm_mem::MappedFile;

    use super::*;

    fn rows(bytes: &'static [u8], element: FloatType, n: usize, k: usize) -> StoredRows {
        let bytes = MappedFile::from_static(bytes, "t.safetensors").range(0..bytes.len()).unwrap();
        StoredRows { name: "t".into(), bytes, element, n, k }
    }

    #[test]
    fn every_type_reads_at_any_alignment() {
        // 1.5, −2 and the smallest subnormal, by the formats' definitions.
        const F16_BYTES: &[u8] = &[0, 0x00, 0x3e, 0x00, 0xc0, 0x01, 0x00];
        let mut out = [0.0; 3];
        rows(&F16_BYTES[1..], FloatType::F16, 1, 3).read(0..1, &mut out).unwrap();
        assert_eq!(out, [1.5, -2.0, 5.960_464_5e-8]);
        rows(&[0xc0, 0x3f, 0x00, 0xc0, 0x80, 0x7f], FloatType::Bf16, 3, 1).read(0..3, &mut out).unwrap();
        assert_eq!(out, [1.5, -2.0, f32::INFINITY]);
        rows(&[0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0], FloatType::F32, 2, 1).read(1..2, &mut out[..1]).unwrap();
        assert_eq!(out[0], -2.0);
    }

    #[test]
    fn rows_beyond_the_tensor_are_an_error() {
        let rows = rows(&[0; 8], FloatType::F32, 2, 1);
        assert!(rows.read(1..3, &mut [0.0; 2]).is_err());
        assert!(rows.read(0..2, &mut [0.0; 3]).is_err());
    }
}

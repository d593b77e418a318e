//! Rows of a stored f32, f16 or bf16 tensor as f32, read from a mapping whose pages can be dropped behind the reader.

use std::{ops::Range, sync::Arc};

use half::{bf16, f16, slice::HalfFloatSliceExt};
use safetensors::Dtype;
use tinyllm_kernels::{FloatRows, KernelError};
use tinyllm_mem::MappedFile;

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

/// Elements of f16 converted at a time: an array on the stack, which the conversion's vector code fills whole.
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

/// A `[n, k]` tensor in a mapping; a vector is one row.
#[derive(Clone)]
pub(crate) struct MappedRows {
    /// The tensor, for errors.
    pub(crate) name: String,
    /// The mapping.
    pub(crate) file: Arc<MappedFile>,
    /// Where in it `n · k` elements are.
    pub(crate) at: Range<usize>,
    /// Their type.
    pub(crate) element: FloatType,
    /// Rows.
    pub(crate) n: usize,
    /// Columns.
    pub(crate) k: usize,
}

impl MappedRows {
    /// The bytes of some rows; `None` where the tensor has no such rows.
    fn bytes(&self, rows: &Range<usize>) -> Option<&[u8]> {
        let row_bytes = self.k * self.element.size_bytes();
        let (start, end) = (rows.start.checked_mul(row_bytes)?, rows.end.checked_mul(row_bytes)?);
        self.file.bytes().get(self.at.clone())?.get(start..end)
    }
}

impl FloatRows for MappedRows {
    fn shape(&self) -> (usize, usize) {
        (self.n, self.k)
    }

    fn read(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), KernelError> {
        let Some(source) = self.bytes(&rows).filter(|_| rows.len() * self.k == out.len()) else {
            let problem =
                format!("rows {rows:?} of [{}, {}] do not fit {} elements", self.n, self.k, out.len());
            return Err(KernelError::Source { name: self.name.clone(), problem });
        };
        self.element.decode(source, out);
        Ok(())
    }

    fn consumed(&self, rows: Range<usize>) {
        if let Some(bytes) = self.bytes(&rows) {
            self.file.drop_pages(bytes);
        }
    }

    fn halves(&self) -> Option<&[u8]> {
        self.bytes(&(0..self.n)).filter(|_| self.element == FloatType::F16)
    }

    fn shared(&self) -> Option<Arc<dyn FloatRows>> {
        Some(Arc::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(bytes: &'static [u8], element: FloatType, n: usize, k: usize) -> MappedRows {
        let file = MappedFile::from_static(bytes, "t.safetensors");
        MappedRows { name: "t".into(), file, at: 0..bytes.len(), element, n, k }
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

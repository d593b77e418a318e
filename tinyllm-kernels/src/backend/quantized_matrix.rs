//! A `[n, k]` matrix of int8 weights in file order. Kernels read it in place, or it is packed into panels.

use std::ops::Range;

use tinyllm_mem::MappedRange;

use crate::{GroupSize, KernelError, ScaleType, WeightFormat};

/// The storage of a [`QuantizedMatrix`]'s bytes.
pub trait Bytes: Clone {
    /// Number of bytes.
    fn count(&self) -> usize;

    /// Fills `out` with the bytes from `at` on.
    ///
    /// # Errors
    /// [`KernelError::Memory`] if they cannot be read, or are out of bounds.
    fn read_at(&self, at: usize, out: &mut [u8]) -> Result<(), KernelError>;
}

impl Bytes for MappedRange {
    fn count(&self) -> usize {
        self.len()
    }

    fn read_at(&self, at: usize, out: &mut [u8]) -> Result<(), KernelError> {
        Ok(MappedRange::read_at(self, at, out)?)
    }
}

impl Bytes for &[u8] {
    fn count(&self) -> usize {
        self.len()
    }

    fn read_at(&self, at: usize, out: &mut [u8]) -> Result<(), KernelError> {
        let end = at.checked_add(out.len());
        let bytes = end.and_then(|end| self.get(at..end)).ok_or_else(|| KernelError::Invalid {
            what: "int8 matrix",
            problem: format!("{} bytes at {at} of {}", out.len(), self.len()),
        })?;
        out.copy_from_slice(bytes);
        Ok(())
    }
}

/// Bytes of a mapped file or of memory, borrowed.
#[derive(Clone, Copy, Debug)]
pub enum SourceBytes<'a> {
    /// Bytes of a mapped file.
    Mapped(&'a MappedRange),
    /// Bytes in memory.
    Memory(&'a [u8]),
}

impl Bytes for SourceBytes<'_> {
    fn count(&self) -> usize {
        match self {
            SourceBytes::Mapped(bytes) => bytes.len(),
            SourceBytes::Memory(bytes) => bytes.len(),
        }
    }

    fn read_at(&self, at: usize, out: &mut [u8]) -> Result<(), KernelError> {
        match self {
            SourceBytes::Mapped(bytes) => Bytes::read_at(*bytes, at, out),
            SourceBytes::Memory(bytes) => bytes.read_at(at, out),
        }
    }
}

/// int8 rows with scales; bytes of a mapped file unless `B` is another storage.
#[derive(Clone, Copy, Debug)]
pub struct QuantizedMatrix<B = MappedRange> {
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) group_size: GroupSize,
    pub(crate) scale_type: ScaleType,
    /// Whether a byte is `q + 128` (offset binary); otherwise it is q in two's complement.
    pub(crate) offset_binary: bool,
    /// Bytes from one row to the next.
    pub(crate) row_bytes: usize,
    /// `[n][row_bytes]`.
    pub(crate) values: B,
    /// `[n][groups]`, little-endian, of any alignment.
    pub(crate) scales: B,
}

impl<B: Bytes> QuantizedMatrix<B> {
    /// A `[n, k]` matrix in `format`, which must be W8A16: `values` are `[n, row_bytes]`, `scales` `[n, groups]`,
    /// little-endian.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for another format, for a number of bytes that is not that of n rows, or for rows
    /// shorter than k.
    pub fn new(
        (n, k): (usize, usize),
        format: WeightFormat,
        values: B,
        row_bytes: usize,
        offset_binary: bool,
        scales: B,
    ) -> Result<Self, KernelError> {
        let invalid = |problem: String| Err(KernelError::Invalid { what: "int8 matrix", problem });
        let WeightFormat::W8A16 { group_size, scales: scale_type } = format else {
            return invalid(format!("its format is {format:?}"));
        };
        let fits = |bytes: usize, row: usize| n.checked_mul(row) == Some(bytes);
        let scale_bytes = group_size.groups(k).checked_mul(scale_type.size_bytes());
        let scales_fit = scale_bytes.is_some_and(|row| fits(scales.count(), row));
        if row_bytes < k || !fits(values.count(), row_bytes) || !scales_fit {
            return invalid(format!(
                "{} bytes of values, {row_bytes} a row, and {} of scales for [{n}, {k}] with {} groups a row of {}",
                values.count(),
                scales.count(),
                group_size.groups(k),
                scale_type.name(),
            ));
        }
        Ok(QuantizedMatrix { n, k, group_size, scale_type, offset_binary, row_bytes, values, scales })
    }
}

impl<B> QuantizedMatrix<B> {
    /// `(n, k)`.
    pub fn shape(&self) -> (usize, usize) {
        (self.n, self.k)
    }

    /// The format: W8A16.
    pub fn format(&self) -> WeightFormat {
        WeightFormat::W8A16 { group_size: self.group_size, scales: self.scale_type }
    }

    /// Bytes from one row to the next, at least k.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Whether a byte is `q + 128` (offset binary); otherwise it is q in two's complement.
    pub fn is_offset_binary(&self) -> bool {
        self.offset_binary
    }

    /// Bytes of a row's scales.
    pub fn row_scale_bytes(&self) -> usize {
        self.group_size.groups(self.k) * self.scale_type.size_bytes()
    }

    /// Dequantises a row: its values, `[row_bytes]`, and its scales, `[row_scale_bytes]`, to `out`, `[k]`.
    pub fn dequantize_row(&self, values: &[u8], scales: &[u8], out: &mut [f32]) {
        let (group, offset) = (self.group_size.elements(self.k), if self.offset_binary { 0x80 } else { 0 });
        let groups = out.chunks_mut(group).zip(values.chunks(group)).enumerate();
        for (index, (out, values)) in groups {
            let scale = self.scale_type.read(scales, index);
            for (out, value) in out.iter_mut().zip(values) {
                *out = f32::from((value ^ offset) as i8) * scale;
            }
        }
    }

    /// The same matrix over bytes in memory.
    pub(crate) fn in_memory<'a>(&self, values: &'a [u8], scales: &'a [u8]) -> QuantizedMatrix<&'a [u8]> {
        QuantizedMatrix { values, scales, ..self.with_bytes(|_| &[][..]) }
    }

    /// The same matrix with another storage of its bytes.
    pub(crate) fn with_bytes<'a, C: 'a>(&'a self, bytes: impl Fn(&'a B) -> C) -> QuantizedMatrix<C> {
        QuantizedMatrix {
            n: self.n,
            k: self.k,
            group_size: self.group_size,
            scale_type: self.scale_type,
            offset_binary: self.offset_binary,
            row_bytes: self.row_bytes,
            values: bytes(&self.values),
            scales: bytes(&self.scales),
        }
    }
}

impl<B: Bytes> QuantizedMatrix<B> {
    /// Copies the values of rows `rows` to `out`, `[rows.len()][row_bytes]`.
    ///
    /// # Errors
    /// [`KernelError::Memory`] if they cannot be read.
    pub fn read_values(&self, rows: Range<usize>, out: &mut [u8]) -> Result<(), KernelError> {
        self.values.read_at(rows.start * self.row_bytes, out)
    }

    /// Copies the scales of rows `rows` to `out`, `[rows.len()][row_scale_bytes]`.
    ///
    /// # Errors
    /// As [`QuantizedMatrix::read_values`].
    pub fn read_scales(&self, rows: Range<usize>, out: &mut [u8]) -> Result<(), KernelError> {
        self.scales.read_at(rows.start * self.row_scale_bytes(), out)
    }
}

impl QuantizedMatrix {
    /// The same matrix, borrowed.
    pub(crate) fn borrowed(&self) -> QuantizedMatrix<SourceBytes<'_>> {
        self.with_bytes(SourceBytes::Mapped)
    }

    /// Releases the pages of mapped rows; a hint: they can be read again.
    pub(crate) fn release_pages(&self, rows: Range<usize>) {
        let bytes = |row: usize| row * rows.start..row * rows.end;
        self.values.drop_pages(bytes(self.row_bytes));
        self.scales.drop_pages(bytes(self.row_scale_bytes()));
    }
}

impl QuantizedMatrix<SourceBytes<'_>> {
    /// The same matrix, which keeps its file mapped; `None` if its bytes are in memory.
    pub(crate) fn kept(&self) -> Option<QuantizedMatrix> {
        let mapped = |bytes: &SourceBytes<'_>| match bytes {
            SourceBytes::Mapped(bytes) => Some((*bytes).clone()),
            SourceBytes::Memory(_) => None,
        };
        let (values, scales) = (mapped(&self.values)?, mapped(&self.scales)?);
        let bytes = self.with_bytes(|_| values.clone());
        Some(QuantizedMatrix { scales, ..bytes })
    }
}

impl QuantizedMatrix<&[u8]> {
    /// A matrix of some of the rows.
    pub(crate) fn rows(&self, rows: Range<usize>) -> Self {
        let bytes = |row: usize| row * rows.start..row * rows.end;
        QuantizedMatrix {
            n: rows.len(),
            values: &self.values[bytes(self.row_bytes)],
            scales: &self.scales[bytes(self.row_scale_bytes())],
            ..*self
        }
    }
}

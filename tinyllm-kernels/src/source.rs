//! Where an upload reads a weight from. Files and their formats are above this crate; here are only rows.
//!
//! Rows are copied out of their source into a reader's own buffer, many at a time: what a file holds may change under
//! whoever looks at it where it lies.

use std::{ops::Range, sync::Arc};

use tinyllm_mem::MappedRange;

use crate::KernelError;

/// A `[n, k]` matrix (or a vector as one row) that can be read as f32, rows at a time, from several threads.
pub trait FloatRows: Send + Sync {
    /// `(n, k)`.
    fn shape(&self) -> (usize, usize);

    /// Writes rows `rows` to `out`, `[rows.len(), k]` row-major.
    ///
    /// # Errors
    /// [`KernelError::Source`] where the source cannot be read.
    fn read(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), KernelError>;

    /// Copies rows `rows` as they are stored, for [`FloatRows::read_fetched`] to convert one after another. A source in
    /// memory has nothing to copy.
    ///
    /// # Errors
    /// As [`FloatRows::read`].
    fn fetch(&self, _rows: Range<usize>, _fetched: &mut FetchedRows) -> Result<(), KernelError> {
        Ok(())
    }

    /// Writes row `row`, which was fetched, to `out`, `[k]`.
    ///
    /// # Errors
    /// As [`FloatRows::read`].
    fn read_fetched(&self, row: usize, _fetched: &FetchedRows, out: &mut [f32]) -> Result<(), KernelError> {
        self.read(row..row + 1, out)
    }

    /// Row `row` of what was fetched, `[k]`, where that is little-endian f16; of any alignment.
    fn halves<'a>(&self, _row: usize, _fetched: &'a FetchedRows) -> Option<&'a [u8]> {
        None
    }

    /// The same rows for as long as somebody holds them; `None` where they are borrowed.
    fn shared(&self) -> Option<Arc<dyn FloatRows>> {
        None
    }
}

impl FloatRows for (&[f32], usize) {
    fn shape(&self) -> (usize, usize) {
        (self.0.len().checked_div(self.1).unwrap_or(0), self.1)
    }

    fn read(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), KernelError> {
        out.copy_from_slice(&self.0[rows.start * self.1..rows.end * self.1]);
        Ok(())
    }
}

/// Rows as their source stores them, in a buffer that is used again and again.
#[derive(Debug, Default)]
pub struct FetchedRows {
    rows: Range<usize>,
    row_bytes: usize,
    /// `[rows.len()][row_bytes]`, and what earlier rows left behind them.
    bytes: Vec<u8>,
}

impl FetchedRows {
    /// Makes room for rows of `row_bytes` in place of those before: for the source to fill.
    pub fn replace(&mut self, rows: Range<usize>, row_bytes: usize) -> &mut [u8] {
        let bytes = rows.len() * row_bytes;
        if self.bytes.len() < bytes {
            self.bytes.resize(bytes, 0);
        }
        (self.rows, self.row_bytes) = (rows, row_bytes);
        &mut self.bytes[..bytes]
    }

    /// The rows, and the bytes of all of them.
    pub fn all(&self) -> (&Range<usize>, &[u8]) {
        (&self.rows, &self.bytes[..self.rows.len() * self.row_bytes])
    }

    /// A row; `None` where it was not fetched.
    pub fn row(&self, row: usize) -> Option<&[u8]> {
        let index = row.checked_sub(self.rows.start).filter(|_| row < self.rows.end)?;
        self.bytes.get(index * self.row_bytes..(index + 1) * self.row_bytes)
    }
}

/// int8 weights of a `[n, k]` matrix as a file holds them.
pub trait QuantizedRows: Send + Sync {
    /// `(n, k)`.
    fn shape(&self) -> (usize, usize);

    /// How its rows are stored.
    fn layout(&self) -> QuantizedLayout;

    /// Writes the bytes of rows `rows` to `out`, `[rows.len()][row_bytes]`.
    ///
    /// # Errors
    /// [`KernelError::Source`] where the source cannot be read.
    fn read_values(&self, rows: Range<usize>, out: &mut [u8]) -> Result<(), KernelError>;

    /// Writes the scales of rows `rows` to `out`, `[rows.len()][row_scale_bytes]`.
    ///
    /// # Errors
    /// As [`QuantizedRows::read_values`].
    fn read_scales(&self, rows: Range<usize>, out: &mut [u8]) -> Result<(), KernelError>;
}

/// How int8 rows are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuantizedLayout {
    /// Bytes from one row to the next, at least k.
    pub row_bytes: usize,
    /// Whether a byte is `q + 128`, else it is q in two's complement.
    pub offset_binary: bool,
    /// Bytes of a row's scales: `[groups]`, little-endian, of the format's scale type; not aligned.
    pub row_scale_bytes: usize,
}

/// int8 rows inside a mapped file, kept mapped by whoever uses them: read there, or copied out.
#[derive(Clone, Debug)]
pub struct MappedWeight {
    shape: (usize, usize),
    layout: QuantizedLayout,
    values: MappedRange,
    scales: MappedRange,
}

impl MappedWeight {
    /// A `[n, k]` matrix: `values` are `[n, row_bytes]`, `scales` `[n, groups]`.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where the bytes are not as many as n rows, or a row is shorter than k.
    pub fn new(
        (n, k): (usize, usize),
        values: MappedRange,
        row_bytes: usize,
        offset_binary: bool,
        scales: MappedRange,
    ) -> Result<Self, KernelError> {
        let row_scale_bytes = scales.len().checked_div(n).unwrap_or(0);
        let fits = |bytes: usize, row: usize| n.checked_mul(row) == Some(bytes);
        if row_bytes < k || !fits(values.len(), row_bytes) || !fits(scales.len(), row_scale_bytes) {
            let problem = format!(
                "{} bytes of values, {row_bytes} a row, and {} of scales for [{n}, {k}]",
                values.len(),
                scales.len()
            );
            return Err(KernelError::Invalid { what: "mapped weight", problem });
        }
        let layout = QuantizedLayout { row_bytes, offset_binary, row_scale_bytes };
        Ok(MappedWeight { shape: (n, k), layout, values, scales })
    }

    /// `[n][row_bytes]`.
    pub(crate) fn values(&self) -> &MappedRange {
        &self.values
    }

    /// `[n][row_scale_bytes]`.
    pub(crate) fn scales(&self) -> &MappedRange {
        &self.scales
    }

    /// Gives back the pages in which rows `rows` were read where they lie; a hint: they may be read again.
    pub(crate) fn drop_pages(&self, rows: Range<usize>) {
        let bytes = |row: usize| row * rows.start..row * rows.end;
        self.values.drop_pages(bytes(self.layout.row_bytes));
        self.scales.drop_pages(bytes(self.layout.row_scale_bytes));
    }
}

impl QuantizedRows for MappedWeight {
    fn shape(&self) -> (usize, usize) {
        self.shape
    }

    fn layout(&self) -> QuantizedLayout {
        self.layout
    }

    fn read_values(&self, rows: Range<usize>, out: &mut [u8]) -> Result<(), KernelError> {
        Ok(self.values.read_at(rows.start * self.layout.row_bytes, out)?)
    }

    fn read_scales(&self, rows: Range<usize>, out: &mut [u8]) -> Result<(), KernelError> {
        Ok(self.scales.read_at(rows.start * self.layout.row_scale_bytes, out)?)
    }
}

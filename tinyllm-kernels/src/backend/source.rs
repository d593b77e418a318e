//! The source of an upload: rows of a weight. Files and their formats are handled above this crate.
//!
//! Rows of floats are copied from their source into the reader's own buffer, many at a time: a mapped file may change
//! while it is read.

use std::{ops::Range, sync::Arc};

use super::{QuantizedMatrix, quantized_matrix::SourceBytes};
use crate::{KernelError, VectorId, WeightId};

/// A weight matrix or a vector of a program, for [`crate::Session::upload`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorId {
    /// A weight matrix.
    Weight(WeightId),
    /// A norm's weight or a bias.
    Vector(VectorId),
}

impl From<WeightId> for TensorId {
    fn from(id: WeightId) -> Self {
        TensorId::Weight(id)
    }
}

impl From<VectorId> for TensorId {
    fn from(id: VectorId) -> Self {
        TensorId::Vector(id)
    }
}

/// How long a weight is read at its source instead of being copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Keep {
    /// It is copied by the upload.
    #[default]
    Copy,
    /// Until [`crate::Session::warm_up`] has copied it. A backend that cannot do this copies at once, and so does a
    /// source that is only borrowed; results are the same.
    UntilWarm,
    /// As long as the session lives: required by [`crate::Placement::Mapped`], for int8 rows in a mapped file.
    Forever,
}

/// The source of an upload, and how long it is kept.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub(crate) rows: Rows<'a>,
    pub(crate) keep: Keep,
}

/// Rows of a weight, or a vector as one row.
#[derive(Clone, Copy)]
pub(crate) enum Rows<'a> {
    /// f32 rows, to be quantised (with f16 scales only) or rounded to the weight's format.
    Float(&'a dyn FloatRows),
    /// int8 rows with scales: W8A16.
    Quantized(QuantizedMatrix<SourceBytes<'a>>),
}

impl<'a> Source<'a> {
    /// f32 rows, to be quantised (with f16 scales only) or rounded to the weight's format; a vector is one row.
    pub fn float(rows: &'a dyn FloatRows) -> Self {
        Source { rows: Rows::Float(rows), keep: Keep::Copy }
    }

    /// int8 rows of a mapped file.
    pub fn quantized(matrix: &'a QuantizedMatrix) -> Self {
        Source { rows: Rows::Quantized(matrix.borrowed()), keep: Keep::Copy }
    }

    /// int8 rows in memory.
    pub fn quantized_memory(matrix: QuantizedMatrix<&'a [u8]>) -> Self {
        let rows = matrix.with_bytes(|bytes| SourceBytes::Memory(bytes));
        Source { rows: Rows::Quantized(rows), keep: Keep::Copy }
    }

    /// The same source with this [`Keep`].
    pub fn keep(self, keep: Keep) -> Self {
        Source { keep, ..self }
    }

    /// `(n, k)`.
    pub(crate) fn shape(&self) -> (usize, usize) {
        match &self.rows {
            Rows::Float(rows) => rows.shape(),
            Rows::Quantized(matrix) => matrix.shape(),
        }
    }
}

/// A `[n, k]` matrix (or a vector as one row) that can be read as f32, rows at a time, from several threads.
pub trait FloatRows: Send + Sync {
    /// `(n, k)`.
    fn shape(&self) -> (usize, usize);

    /// Writes rows `rows` to `out`, `[rows.len(), k]` row-major.
    ///
    /// # Errors
    /// [`KernelError::Source`] if the source cannot be read.
    fn read(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), KernelError>;

    /// Copies rows `rows` as they are stored, for [`FloatRows::read_fetched`] to convert one by one. A source in memory
    /// has nothing to copy.
    ///
    /// # Errors
    /// As [`FloatRows::read`].
    fn fetch(&self, _rows: Range<usize>, _fetched: &mut FetchedRows) -> Result<(), KernelError> {
        Ok(())
    }

    /// Converts row `row`, which was fetched, to `out`, `[k]`.
    ///
    /// # Errors
    /// As [`FloatRows::read`].
    fn read_fetched(&self, row: usize, _fetched: &FetchedRows, out: &mut [f32]) -> Result<(), KernelError> {
        self.read(row..row + 1, out)
    }

    /// The bytes of fetched row `row`, `[k]` little-endian f16 of any alignment; `None` if it is not f16.
    fn halves<'a>(&self, _row: usize, _fetched: &'a FetchedRows) -> Option<&'a [u8]> {
        None
    }

    /// The same rows with shared ownership; `None` if they are borrowed.
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

/// Rows as their source stores them, in a buffer that is reused.
#[derive(Debug, Default)]
pub struct FetchedRows {
    rows: Range<usize>,
    row_bytes: usize,
    /// `[rows.len()][row_bytes]`; longer after larger fetches.
    bytes: Vec<u8>,
}

impl FetchedRows {
    /// Replaces the rows by `rows`, of `row_bytes` each; returns their bytes for the source to fill.
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

    /// The bytes of a row; `None` if it was not fetched.
    pub fn row(&self, row: usize) -> Option<&[u8]> {
        let index = row.checked_sub(self.rows.start).filter(|_| row < self.rows.end)?;
        self.bytes.get(index * self.row_bytes..(index + 1) * self.row_bytes)
    }
}

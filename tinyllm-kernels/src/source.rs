//! Where an upload reads a weight from. Files and their formats are above this crate; here are only rows.

use std::{ops::Range, sync::Arc};

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

    /// Says that rows `rows` have been read; their pages may go. A hint: they may be read again.
    fn consumed(&self, _rows: Range<usize>) {}

    /// All rows as they are stored, `[n][k]`, where that is little-endian f16; of any alignment.
    fn halves(&self) -> Option<&[u8]> {
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

/// int8 weights of a `[n, k]` matrix as a file holds them.
pub trait QuantizedRows: Send + Sync {
    /// `(n, k)`.
    fn shape(&self) -> (usize, usize);

    /// The bytes of all rows, borrowed from a mapping.
    fn raw(&self) -> RawQuantized<'_>;

    /// Says that rows `rows` have been read; their pages may go. A hint: they may be read again.
    fn consumed(&self, rows: Range<usize>);
}

/// Borrowed bytes of an int8 matrix.
#[derive(Clone, Copy, Debug)]
pub struct RawQuantized<'a> {
    /// `[n, row_bytes]`.
    pub values: &'a [u8],
    /// Bytes from one row to the next, at least k.
    pub row_bytes: usize,
    /// Whether a byte is `q + 128`, else it is q in two's complement.
    pub offset_binary: bool,
    /// `[n, groups]`, little-endian, of the format's scale type; not aligned.
    pub scales: &'a [u8],
}

//! Where an upload reads a weight from. Files and their formats are above this crate; here are only rows.

use std::ops::Range;

use crate::KernelError;

/// A `[n, k]` matrix (or a vector as one row) that can be read as f32, rows at a time, from several threads.
pub trait FloatRows: Send + Sync {
    /// `(n, k)`.
    fn shape(&self) -> (usize, usize);

    /// Writes rows `rows` to `out`, `[rows.len(), k]` row-major, and may drop the source's pages behind them.
    ///
    /// # Errors
    /// [`KernelError::Source`] where the source cannot be read.
    fn read(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), KernelError>;
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

//! The result of a submission: a ticket, and for it rows of the output.

use crate::KernelError;

/// Identifies a submission, for [`crate::Session::wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "errors of the step are known to who waits for it"]
pub struct Ticket {
    pub(super) session: u64,
    pub(super) submission: u64,
}

/// Rows of a program's output, in host memory; the caller may overwrite them.
#[derive(Debug)]
pub struct Outputs<'a> {
    /// `[rows, stride]`; the last row may end after its columns.
    values: &'a mut [f32],
    rows: usize,
    columns: usize,
    stride_elems: usize,
}

impl<'a> Outputs<'a> {
    /// Outputs of `rows` rows of `columns` values in `values`, `stride_elems` apart.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] if `values` is too short for them.
    pub fn new(
        values: &'a mut [f32],
        rows: usize,
        columns: usize,
        stride_elems: usize,
    ) -> Result<Self, KernelError> {
        let needed = rows.checked_sub(1).map_or(Some(0), |before| {
            before.checked_mul(stride_elems).and_then(|start| start.checked_add(columns))
        });
        if columns <= stride_elems && needed.is_some_and(|needed| needed <= values.len()) {
            return Ok(Outputs { values, rows, columns, stride_elems });
        }
        let problem = format!("{rows} rows of {columns}, {stride_elems} apart, in {} values", values.len());
        Err(KernelError::Invalid { what: "outputs", problem })
    }

    /// Number of rows that the submission computed.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// All rows, `[rows, columns]`; `None` if they are not contiguous.
    pub fn contiguous(&self) -> Option<&[f32]> {
        let is_contiguous = self.stride_elems == self.columns || self.rows <= 1;
        self.values.get(..self.rows * self.columns).filter(|_| is_contiguous)
    }

    /// A row, `[columns]`; `None` if the submission did not compute it.
    pub fn row(&mut self, row: usize) -> Option<&mut [f32]> {
        let start = (row < self.rows).then_some(row)? * self.stride_elems;
        self.values.get_mut(start..start + self.columns)
    }

    /// As [`Outputs::row`], for as long as the session is borrowed.
    pub fn into_row(self, row: usize) -> Option<&'a mut [f32]> {
        let start = (row < self.rows).then_some(row)? * self.stride_elems;
        self.values.get_mut(start..start + self.columns)
    }
}

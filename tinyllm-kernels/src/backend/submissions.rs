//! The state that every session keeps of its submissions: the last ticket, and how far its step has run.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use super::Ticket;
use crate::{EntryId, KernelError, Program, RowSet, Step};

/// The submissions of one session, one at a time.
#[derive(Debug)]
pub(crate) struct Submissions {
    last: Ticket,
    /// Fingerprint of the last step, and the operation that it has run up to; `None` if it failed.
    ran: Option<(u64, usize)>,
    /// Rows of the output that the last step computed.
    rows: usize,
}

/// A submission that passed all checks: its ticket, and its operations.
pub(crate) struct Submission {
    pub(crate) ticket: Ticket,
    pub(crate) operations: Range<usize>,
    fingerprint: u64,
}

impl Submissions {
    pub(crate) fn new() -> Self {
        static SESSIONS: AtomicU64 = AtomicU64::new(0);
        let last = Ticket { session: SESSIONS.fetch_add(1, Ordering::Relaxed), submission: 0 };
        Submissions { last, ran: None, rows: 0 }
    }

    /// Checks a submission and makes its ticket. Until [`Submissions::succeeded`] it counts as failed, and no entry can
    /// continue it.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for a step outside the limits, or for an entry that does not continue the last step.
    /// Nothing is changed then.
    pub(crate) fn begin(
        &mut self,
        program: &Program,
        entry: EntryId,
        step: &Step<'_>,
    ) -> Result<Submission, KernelError> {
        let operations = program.operations(entry)?;
        step.validate(program)?;
        let fingerprint = step.fingerprint(program);
        let continues = self.ran.is_some_and(|(last, end)| last == fingerprint && end >= operations.start);
        if operations.start > 0 && !continues {
            let problem = "the entry goes on where the step that ran last ended, and that was another".into();
            return Err(KernelError::Invalid { what: "step", problem });
        }
        self.forget();
        Ok(Submission { ticket: self.last, operations, fingerprint })
    }

    /// Records that a submission has run to its end.
    pub(crate) fn succeeded(&mut self, program: &Program, submission: &Submission, step: &Step<'_>) {
        let end = submission.operations.end;
        self.ran = Some((submission.fingerprint, end));
        let writes = |op: &crate::Op| op.writes().contains(&program.output());
        self.rows = match program.region(program.output()).rows {
            _ if program.ops()[end..].iter().any(writes) => 0,
            RowSet::Tokens => step.tokens(),
            RowSet::Sampled => step.sampled_rows.len(),
        };
    }

    /// Invalidates the last submission: no entry can continue it, and its ticket is stale.
    pub(crate) fn forget(&mut self) {
        self.last.submission += 1;
        (self.ran, self.rows) = (None, 0);
    }

    /// Number of output rows of a ticket's submission.
    ///
    /// # Errors
    /// [`KernelError::StaleTicket`].
    pub(crate) fn rows(&self, ticket: Ticket) -> Result<usize, KernelError> {
        let succeeded = ticket == self.last && self.ran.is_some();
        succeeded.then_some(self.rows).ok_or(KernelError::StaleTicket)
    }
}

impl Program {
    /// Refuses values that are not whole rows of the input region, or more rows than it has.
    ///
    /// # Errors
    /// [`KernelError::Invalid`].
    pub(crate) fn check_input(&self, region: crate::RegionId, values: usize) -> Result<(), KernelError> {
        let invalid = |problem: String| Err(KernelError::Invalid { what: "input", problem });
        if self.input() != Some(region) {
            return invalid("the region is not the program's input".into());
        }
        let spec = self.region(region);
        let rows = values.checked_div(spec.columns).unwrap_or(0);
        if rows * spec.columns != values || rows > self.max_rows(spec) {
            let (most, columns) = (self.max_rows(spec), spec.columns);
            return invalid(format!("{values} values, where up to {most} rows of {columns} fit"));
        }
        Ok(())
    }

    /// Refuses copies of blocks that the cache does not have.
    ///
    /// # Errors
    /// [`KernelError::Invalid`].
    pub(crate) fn check_copies(&self, copies: &[super::BlockCopy]) -> Result<(), KernelError> {
        let blocks = self.limits().cache_blocks;
        match copies.iter().find(|copy| copy.from.max(copy.to) as usize >= blocks) {
            None => Ok(()),
            Some(copy) => Err(KernelError::Invalid {
                what: "block copy",
                problem: format!("from {} to {} in a cache of {blocks} blocks", copy.from, copy.to),
            }),
        }
    }

    /// Refuses a tensor of another program, and a source of another shape.
    ///
    /// # Errors
    /// [`KernelError::Invalid`], [`KernelError::Source`].
    pub(crate) fn check_upload(
        &self,
        tensor: super::TensorId,
        shape: (usize, usize),
    ) -> Result<(), KernelError> {
        let (is_own, name, needed) = match tensor {
            super::TensorId::Weight(id) => {
                let spec = id.is_of(self.id).then(|| &self.weights[id.index()]);
                (spec.is_some(), spec.map(|spec| &spec.name), spec.map(|spec| (spec.n, spec.k)))
            }
            super::TensorId::Vector(id) => {
                let spec = id.is_of(self.id).then(|| &self.vectors[id.index()]);
                (spec.is_some(), spec.map(|spec| &spec.name), spec.map(|spec| (1, spec.len)))
            }
        };
        let (Some(name), Some(needed), true) = (name, needed, is_own) else {
            let problem = "it names a weight of another program".into();
            return Err(KernelError::Invalid { what: "id", problem });
        };
        if shape == needed {
            return Ok(());
        }
        let problem = format!("shape {shape:?} where {needed:?} is needed");
        Err(KernelError::Source { name: name.clone(), problem })
    }
}

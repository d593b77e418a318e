//! Names of sequences that are never given twice.

use std::sync::atomic::{AtomicU64, Ordering};

/// The number of the next sequence that this process makes.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A sequence of an engine. No other sequence of this process ever has an equal one, also after it was freed, and in no
/// other engine: every call with one that its engine does not hold is [`crate::ModelError::UnknownSequence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId {
    serial: u64,
    slot: usize,
}

impl SequenceId {
    /// The name of a new sequence, which lies in `slot`.
    pub(super) fn new(slot: usize) -> Self {
        // 2^64 sequences are more than a process can make. Nothing else is ordered by it.
        SequenceId { serial: NEXT.fetch_add(1, Ordering::Relaxed), slot }
    }

    /// Where the sequence lies, as long as it is there.
    pub(super) fn slot(self) -> usize {
        self.slot
    }
}

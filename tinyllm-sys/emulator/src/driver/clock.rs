//! What is before what: a count for each lane of work, a stream's or a branch of a graph.

use std::collections::BTreeMap;

/// A lane of work that is done in order.
pub(super) type Lane = u64;

/// What somebody knows to be before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock {
    known: BTreeMap<Lane, u64>,
}

impl Clock {
    /// Whether it knows of a lane's work number `count`.
    pub(super) fn knows(&self, lane: Lane, count: u64) -> bool {
        self.known.get(&lane).is_some_and(|known| *known >= count)
    }

    /// Learns what another knows.
    pub(super) fn join(&mut self, other: &Clock) {
        for (lane, count) in &other.known {
            let known = self.known.entry(*lane).or_default();
            *known = (*known).max(*count);
        }
    }

    /// Learns of a lane's work.
    pub(super) fn set(&mut self, lane: Lane, count: u64) {
        self.known.insert(lane, count);
    }
}

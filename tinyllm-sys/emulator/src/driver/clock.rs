//! Vector clocks: which work happens before which. A component for each lane of work: a stream, or a branch of a graph.

use std::collections::BTreeMap;

/// A lane of work that is done in order.
pub(super) type Lane = u64;

/// For each lane, how many of its pieces of work happen before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock {
    known: BTreeMap<Lane, u64>,
}

impl Clock {
    /// Whether a lane's work number `count` happens before.
    pub(super) fn knows(&self, lane: Lane, count: u64) -> bool {
        self.known.get(&lane).is_some_and(|known| *known >= count)
    }

    /// The component-wise maximum with another.
    pub(super) fn join(&mut self, other: &Clock) {
        for (lane, count) in &other.known {
            let known = self.known.entry(*lane).or_default();
            *known = (*known).max(*count);
        }
    }

    /// Sets a lane's component.
    pub(super) fn set(&mut self, lane: Lane, count: u64) {
        self.known.insert(lane, count);
    }
}

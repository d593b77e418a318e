//! Events: the work that they recorded.

use tinyllm_sys::EventTiming;

use super::{schedule::Issued, work::Stamp};

#[derive(Debug)]
pub(super) struct Event {
    pub(super) timing: EventTiming,
    pub(super) recorded: Option<(Issued, Stamp)>,
    /// The capture and its node that it stands for.
    pub(super) captured: Option<(u64, usize)>,
}

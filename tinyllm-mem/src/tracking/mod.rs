//! An adaptor that counts: live, peak and number of allocations, by category and in all, with the names of live allocations.
//!
//! Counting is the cargo feature `tracking`. Without it [`Tracking`] has the same methods, passes every call on, and
//! reports nothing: it costs nothing then.

#[cfg(not(feature = "tracking"))]
mod passing;
#[cfg(feature = "tracking")]
mod recording;

use std::{collections::BTreeMap, time::Duration};

#[cfg(not(feature = "tracking"))]
pub use passing::Tracking;
#[cfg(feature = "tracking")]
pub use recording::Tracking;

use crate::Category;

/// Bytes and allocations of one category, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes allocated now.
    pub live_bytes: usize,
    /// The most bytes allocated at once.
    pub peak_bytes: usize,
    /// Parts (of the total: allocations) that are allocated now.
    pub count: usize,
}

/// What a [`Tracking`] has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// By category; categories that were never used are absent.
    pub categories: BTreeMap<Category, Usage>,
    /// All together. Its peak is a moment of its own, not the sum of the categories' peaks.
    pub total: Usage,
    /// Allocations made since the start, the freed ones included.
    pub allocations_total: u64,
    /// Name and bytes of each live allocation, largest first.
    pub live: Vec<(String, usize)>,
}

/// An allocation or deallocation, in the history of a [`Tracking`] that keeps one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AllocationEvent {
    /// Since the tracking began.
    pub at: Duration,
    /// The allocation's name.
    pub name: String,
    /// Its bytes.
    pub bytes: usize,
    /// True for an allocation, false for a deallocation.
    pub is_allocation: bool,
    /// Live bytes by category afterwards.
    pub live: BTreeMap<Category, usize>,
}

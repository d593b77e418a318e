//! The adaptor without the feature: every call goes straight on.

use std::{sync::Arc, time::Instant};

use super::{AllocationEvent, Report};
use crate::{
    MemError, MemoryInfo, Stream,
    resource::{Allocation, MemoryResource, Request, Space},
};

/// Passes calls on to another resource. Counting is the feature `tracking`, which is off.
#[derive(Debug)]
pub struct Tracking<S: Space> {
    inner: Arc<dyn MemoryResource<Space = S>>,
    start: Instant,
}

impl<S: Space> Tracking<S> {
    /// Allocates from `inner`.
    pub fn new(inner: Arc<dyn MemoryResource<Space = S>>) -> Self {
        Tracking { inner, start: Instant::now() }
    }

    /// The same: there is no history without counting.
    pub fn with_history(inner: Arc<dyn MemoryResource<Space = S>>) -> Self {
        Self::new(inner)
    }

    /// The same: there is nothing to remember without counting.
    pub fn with_backtraces(inner: Arc<dyn MemoryResource<Space = S>>) -> Self {
        Self::new(inner)
    }

    /// Allocates from another resource.
    pub fn beside<T: Space>(&self, inner: Arc<dyn MemoryResource<Space = T>>) -> Tracking<T> {
        Tracking { inner, start: self.start }
    }

    /// Nothing.
    pub fn live_backtraces(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// When this was made.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Nothing.
    pub fn events(&self) -> Vec<AllocationEvent> {
        Vec::new()
    }

    /// Nothing.
    pub fn report(&self) -> Report {
        Report::default()
    }

    /// Does nothing.
    pub fn reset_peaks(&self) {}
}

// SAFETY: every allocation is the inner resource's own.
unsafe impl<S: Space> MemoryResource for Tracking<S> {
    type Space = S;

    fn allocate(&self, request: &Request) -> Result<Allocation, MemError> {
        self.inner.allocate(request)
    }

    unsafe fn deallocate(&self, allocation: Allocation, stream: &Stream) {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.inner.deallocate(allocation, stream) }
    }

    fn memory_info(&self) -> Option<MemoryInfo> {
        self.inner.memory_info()
    }
}

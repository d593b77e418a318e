//! An adaptor that injects failures, so that tests see how callers handle them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{
    MemError, MemoryInfo, Stream,
    resource::{Allocation, MemoryResource, Request, Space},
};

/// Which allocations fail.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Failures {
    /// None: the calls are counted.
    Never,
    /// This one alone, counted from 0.
    Nth(u64),
    /// Each with this probability, drawn from a seed: the same calls in every run.
    Fraction {
        /// From 0 to 1.
        probability: f64,
        /// Another seed fails other calls.
        seed: u64,
    },
}

/// Fails some allocations with [`MemError::Injected`], and passes the others on.
///
/// ```
/// use std::sync::Arc;
/// use tinyllm_mem::{Buffer, Category, FailureInjection, Failures, HostMemory, HostResource};
/// let memory: HostMemory = Arc::new(FailureInjection::new(HostResource::shared(), Failures::Nth(1)));
/// let allocate = || Buffer::<u8>::zeroed(&memory, Category::Workspace, "w", 64);
/// assert_eq!([allocate().is_ok(), allocate().is_ok(), allocate().is_ok()], [true, false, true]);
/// ```
#[derive(Debug)]
pub struct FailureInjection<S: Space> {
    inner: Arc<dyn MemoryResource<Space = S>>,
    failures: Failures,
    calls: AtomicU64,
}

impl<S: Space> FailureInjection<S> {
    /// Allocates from `inner`, with these failures injected.
    pub fn new(inner: Arc<dyn MemoryResource<Space = S>>, failures: Failures) -> Self {
        FailureInjection { inner, failures, calls: AtomicU64::new(0) }
    }

    /// Calls of `allocate` so far, the failed ones included.
    pub fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }
}

/// SplitMix64's output function (Steele, Lea, Flood 2014) as a number in [0, 1).
fn uniform(value: u64) -> f64 {
    let z = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

// SAFETY: every allocation is the inner resource's own.
unsafe impl<S: Space> MemoryResource for FailureInjection<S> {
    type Space = S;

    fn allocate(&self, request: &Request) -> Result<Allocation, MemError> {
        let call = self.calls.fetch_add(1, Relaxed);
        let fails = match self.failures {
            Failures::Never => false,
            Failures::Nth(nth) => call == nth,
            Failures::Fraction { probability, seed } => uniform(seed ^ call.rotate_left(32)) < probability,
        };
        if fails {
            return Err(MemError::Injected {
                name: request.name.clone(),
                requested_bytes: request.bytes,
                call,
            });
        }
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

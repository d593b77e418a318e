//! An adaptor with a budget: a total, and one for each category that has its own.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    Category, MemError, MemoryInfo, Part, Stream,
    resource::{Allocation, MemoryResource, Request, Space},
};

/// The most bytes that may be allocated at once.
///
/// ```
/// use tinyllm_mem::{Budget, Category};
/// let budget = Budget::total(8 << 30).with(Category::Kv, 2 << 30);
/// assert_eq!(budget.category_bytes[&Category::Kv], 2 << 30);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// In all; `None`: as many as there are.
    pub total_bytes: Option<usize>,
    /// Of single categories.
    pub category_bytes: BTreeMap<Category, usize>,
}

impl Budget {
    /// A budget for everything together; the default has none.
    pub fn total(bytes: usize) -> Self {
        Budget { total_bytes: Some(bytes), ..Budget::default() }
    }

    /// The same, with so many bytes for a category.
    pub fn with(mut self, category: Category, bytes: usize) -> Self {
        self.category_bytes.insert(category, bytes);
        self
    }
}

/// Refuses what would exceed a [`Budget`].
///
/// ```
/// use std::sync::Arc;
/// use tinyllm_mem::{Budget, Buffer, Category, HostMemory, HostResource, Limiting, MemError};
/// let memory: HostMemory = Arc::new(Limiting::new(HostResource::shared(), Budget::total(1000)));
/// let first = Buffer::<u8>::zeroed(&memory, Category::Kv, "kv", 900)?;
/// let refused = Buffer::<u8>::zeroed(&memory, Category::Logits, "logits", 200).unwrap_err();
/// assert!(matches!(refused, MemError::OverBudget { used_bytes: 900, limit_bytes: 1000, .. }));
/// drop(first);
/// assert!(Buffer::<u8>::zeroed(&memory, Category::Logits, "logits", 200).is_ok());
/// # Ok::<(), MemError>(())
/// ```
#[derive(Debug)]
pub struct Limiting<S: Space> {
    inner: Arc<dyn MemoryResource<Space = S>>,
    budget: Budget,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    total_bytes: usize,
    category_bytes: BTreeMap<Category, usize>,
    /// The parts of each live allocation, by address.
    live: HashMap<usize, Vec<Part>>,
}

impl<S: Space> Limiting<S> {
    /// Allocates from `inner` within `budget`.
    pub fn new(inner: Arc<dyn MemoryResource<Space = S>>, budget: Budget) -> Self {
        Limiting { inner, budget, state: Mutex::default() }
    }

    /// Bytes allocated now.
    pub fn used_bytes(&self) -> usize {
        self.state().total_bytes
    }

    /// The sums stay right even where a holder of the lock panicked: each update is a few additions.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self, request: &Request, state: &State) -> Option<MemError> {
        let over = |category, used_bytes: usize, requested_bytes: usize, limit_bytes| {
            let fits = used_bytes.checked_add(requested_bytes).is_some_and(|sum| sum <= limit_bytes);
            (!fits).then(|| MemError::OverBudget {
                name: request.name.clone(),
                category,
                requested_bytes,
                used_bytes,
                limit_bytes,
            })
        };
        let total =
            self.budget.total_bytes.and_then(|limit| over(None, state.total_bytes, request.bytes, limit));
        total.or_else(|| {
            self.budget.category_bytes.iter().find_map(|(category, limit)| {
                let parts = request.parts.iter().filter(|part| part.category == *category);
                let used = state.category_bytes.get(category).copied().unwrap_or(0);
                over(Some(*category), used, parts.map(|part| part.bytes).sum(), *limit)
            })
        })
    }
}

// SAFETY: every allocation is the inner resource's own.
unsafe impl<S: Space> MemoryResource for Limiting<S> {
    type Space = S;

    fn allocate(&self, request: &Request) -> Result<Allocation, MemError> {
        request.check_parts()?;
        // Held over the inner call, so that two threads cannot both take the last bytes.
        let state = &mut *self.state();
        if let Some(refusal) = self.refusal(request, state) {
            return Err(refusal);
        }
        let allocation = self.inner.allocate(request)?;
        if request.bytes > 0 {
            state.total_bytes += request.bytes;
            for part in &request.parts {
                *state.category_bytes.entry(part.category).or_default() += part.bytes;
            }
            state.live.insert(allocation.address.as_ptr().addr(), request.parts.clone());
        }
        Ok(allocation)
    }

    unsafe fn deallocate(&self, allocation: Allocation, stream: &Stream) {
        {
            let state = &mut *self.state();
            for part in state.live.remove(&allocation.address.as_ptr().addr()).unwrap_or_default() {
                state.total_bytes -= part.bytes;
                if let Some(bytes) = state.category_bytes.get_mut(&part.category) {
                    *bytes -= part.bytes;
                }
            }
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { self.inner.deallocate(allocation, stream) }
    }

    fn memory_info(&self) -> Option<MemoryInfo> {
        let info = self.inner.memory_info();
        let Some(limit) = self.budget.total_bytes else { return info };
        let left = limit.saturating_sub(self.used_bytes()) as u64;
        let free_bytes = info.map_or(left, |info| info.free_bytes.min(left));
        Some(MemoryInfo {
            free_bytes,
            total_bytes: info.map_or(limit as u64, |info| info.total_bytes.min(limit as u64)),
        })
    }
}

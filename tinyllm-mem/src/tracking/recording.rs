//! The adaptor that counts, where the feature is on.

use std::{
    any::TypeId,
    backtrace::Backtrace,
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{AllocationEvent, Report, Usage};
use crate::{
    Category, MemError, MemoryInfo, Part, Stream,
    resource::{Allocation, MemoryResource, Request, Space},
};

/// Counts what passes through to another resource.
///
/// ```
/// use std::sync::Arc;
/// use tinyllm_mem::{Buffer, Category, HostMemory, HostResource, Tracking};
/// let tracking = Arc::new(Tracking::new(HostResource::shared()));
/// let memory: HostMemory = tracking.clone();
/// let kv = Buffer::<u8>::zeroed(&memory, Category::Kv, "kv", 4096)?;
/// assert_eq!(tracking.report().categories[&Category::Kv].live_bytes, 4096);
/// drop(kv);
/// assert_eq!(tracking.report().total.live_bytes, 0);
/// # Ok::<(), tinyllm_mem::MemError>(())
/// ```
#[derive(Debug)]
pub struct Tracking<S: Space> {
    inner: Arc<dyn MemoryResource<Space = S>>,
    /// Shared with those that count together ([`Tracking::beside`]).
    state: Arc<Mutex<State>>,
    start: Instant,
}

#[derive(Debug, Default)]
struct State {
    /// Kept only where asked for.
    events: Option<Vec<AllocationEvent>>,
    categories: BTreeMap<Category, Usage>,
    total: Usage,
    allocations_total: u64,
    /// By space and address; zero-byte allocations share addresses and are not listed.
    live: HashMap<(TypeId, usize), Live>,
    /// Whether allocations remember where they were made.
    with_backtraces: bool,
}

impl Usage {
    fn add(&mut self, bytes: usize) {
        self.live_bytes += bytes;
        self.peak_bytes = self.peak_bytes.max(self.live_bytes);
        self.count += 1;
    }

    fn remove(&mut self, bytes: usize) {
        self.live_bytes -= bytes;
        self.count -= 1;
    }
}

/// A live allocation.
#[derive(Debug)]
struct Live {
    name: String,
    parts: Vec<Part>,
    backtrace: Option<Backtrace>,
}

impl State {
    fn record(&mut self, at: Duration, name: &str, bytes: usize, is_allocation: bool) {
        let Some(events) = &mut self.events else { return };
        let live = self.categories.iter().map(|(category, usage)| (*category, usage.live_bytes)).collect();
        events.push(AllocationEvent { at, name: name.to_owned(), bytes, is_allocation, live });
    }
}

impl<S: Space> Tracking<S> {
    /// Counts what is allocated from `inner` from now on.
    pub fn new(inner: Arc<dyn MemoryResource<Space = S>>) -> Self {
        Self::of(inner, State::default())
    }

    /// The same, keeping an [`AllocationEvent`] for each allocation and each deallocation.
    pub fn with_history(inner: Arc<dyn MemoryResource<Space = S>>) -> Self {
        let state = State { events: Some(Vec::new()), ..State::default() };
        Self::of(inner, state)
    }

    /// The same, remembering where each allocation was made: slow, and the way to find a leak.
    pub fn with_backtraces(inner: Arc<dyn MemoryResource<Space = S>>) -> Self {
        let state = State { with_backtraces: true, ..State::default() };
        Self::of(inner, state)
    }

    fn of(inner: Arc<dyn MemoryResource<Space = S>>, state: State) -> Self {
        Tracking { inner, state: Arc::new(Mutex::new(state)), start: Instant::now() }
    }

    /// Counts what is allocated from another resource, of another space or the same, together with this: both give one
    /// report.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tinyllm_mem::{Buffer, Category, HostMemory, HostResource, Tracking};
    /// let tracking = Tracking::new(HostResource::shared());
    /// let other: HostMemory = Arc::new(tracking.beside(HostResource::shared()));
    /// let _staging = Buffer::<u8>::zeroed(&other, Category::Staging, "staging", 64)?;
    /// assert_eq!(tracking.report().total.live_bytes, 64);
    /// # Ok::<(), tinyllm_mem::MemError>(())
    /// ```
    pub fn beside<T: Space>(&self, inner: Arc<dyn MemoryResource<Space = T>>) -> Tracking<T> {
        Tracking { inner, state: Arc::clone(&self.state), start: self.start }
    }

    /// What an allocation is listed by.
    fn key(allocation: &Allocation) -> (TypeId, usize) {
        (TypeId::of::<S>(), allocation.address.as_ptr().addr())
    }

    /// Name and backtrace of each live allocation, where backtraces are kept.
    pub fn live_backtraces(&self) -> Vec<(String, String)> {
        let state = self.state();
        let with_places = state.live.values().filter_map(|live| Some((live, live.backtrace.as_ref()?)));
        let mut places: Vec<(String, String)> =
            with_places.map(|(live, backtrace)| (live.name.clone(), backtrace.to_string())).collect();
        places.sort();
        places
    }

    /// When counting began: [`AllocationEvent::at`] is since then.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// The events so far; none without a history.
    pub fn events(&self) -> Vec<AllocationEvent> {
        self.state().events.clone().unwrap_or_default()
    }

    /// What has been counted so far.
    pub fn report(&self) -> Report {
        let state = self.state();
        let mut live: Vec<(String, usize)> = state
            .live
            .values()
            .map(|live| (live.name.clone(), live.parts.iter().map(|part| part.bytes).sum()))
            .collect();
        live.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Report {
            categories: state.categories.clone(),
            total: state.total,
            allocations_total: state.allocations_total,
            live,
        }
    }

    /// Resets the peaks to what is allocated now.
    pub fn reset_peaks(&self) {
        let state = &mut *self.state();
        for usage in state.categories.values_mut().chain([&mut state.total]) {
            usage.peak_bytes = usage.live_bytes;
        }
    }

    /// The counts stay right even where a holder of the lock panicked: each update is a few additions.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: every allocation is the inner resource's own.
unsafe impl<S: Space> MemoryResource for Tracking<S> {
    type Space = S;

    fn allocate(&self, request: &Request) -> Result<Allocation, MemError> {
        request.check_parts()?;
        let allocation = self.inner.allocate(request)?;
        let state = &mut *self.state();
        state.allocations_total += 1;
        if request.bytes > 0 {
            state.total.add(request.bytes);
            for part in &request.parts {
                state.categories.entry(part.category).or_default().add(part.bytes);
            }
            let live = Live {
                name: request.name.clone(),
                parts: request.parts.clone(),
                backtrace: state.with_backtraces.then(Backtrace::force_capture),
            };
            state.live.insert(Self::key(&allocation), live);
            state.record(self.start.elapsed(), &request.name, request.bytes, true);
        }
        Ok(allocation)
    }

    unsafe fn deallocate(&self, allocation: Allocation, stream: &Stream) {
        {
            let state = &mut *self.state();
            if let Some(Live { name, parts, .. }) = state.live.remove(&Self::key(&allocation)) {
                state.total.remove(allocation.bytes);
                for part in parts {
                    if let Some(usage) = state.categories.get_mut(&part.category) {
                        usage.remove(part.bytes);
                    }
                }
                state.record(self.start.elapsed(), &name, allocation.bytes, false);
            }
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { self.inner.deallocate(allocation, stream) }
    }

    fn memory_info(&self) -> Option<MemoryInfo> {
        self.inner.memory_info()
    }
}

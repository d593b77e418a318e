//! Functions of the host that streams call in their order (`cuLaunchHostFunc`, `cuStreamAddCallback`): on one thread of the driver,
//! one after the other. They may take as long as they like, and calls of other threads go on meanwhile.
//!
//! A program may wait for such a function without a call of the driver, so another thread runs the work that is before one.

use std::{
    cell::Cell,
    collections::BTreeSet,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Sender, channel},
    },
    thread,
};

use tinyllm_sys::DriverCode;

use super::{failure::Failure, schedule::WorkId};

/// A function that a stream calls when what is before it is done.
#[derive(Clone)]
pub struct HostFunction {
    call: Arc<dyn Fn(u32) + Send + Sync>,
    pub(super) is_callback: bool,
}

impl fmt::Debug for HostFunction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HostFunction").field("is_callback", &self.is_callback).finish_non_exhaustive()
    }
}

impl HostFunction {
    /// As `cuLaunchHostFunc` has it: not called where something before it failed.
    pub fn new(call: impl Fn() + Send + Sync + 'static) -> Self {
        HostFunction { call: Arc::new(move |_| call()), is_callback: false }
    }

    /// As `cuStreamAddCallback` has it: called whatever happens, with the error's number or 0.
    pub fn callback(call: impl Fn(u32) + Send + Sync + 'static) -> Self {
        HostFunction { call: Arc::new(call), is_callback: true }
    }

    /// As findings call it.
    pub(super) fn name(&self) -> &'static str {
        if self.is_callback { "callback" } else { "host function" }
    }
}

thread_local! {
    /// Whether this thread is one that calls host functions.
    static CALLS: Cell<bool> = const { Cell::new(false) };
}

/// Whether the caller is a host function, which may make no calls of the driver.
pub(super) fn is_calling() -> bool {
    CALLS.get()
}

/// What was called and has returned.
#[derive(Debug, Default)]
struct Returned {
    /// Those that the driver has not taken note of.
    ids: Vec<WorkId>,
    /// All there ever were.
    count: u64,
}

/// What the thread and the driver share.
#[derive(Debug, Default)]
pub(super) struct Progress {
    returned: Mutex<Returned>,
    changed: Condvar,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, Returned> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many functions have returned.
    pub(super) fn count(&self) -> u64 {
        self.lock().count
    }

    /// Waits until more have.
    pub(super) fn wait_beyond(&self, count: u64) {
        let returned = self.lock();
        let more = self.changed.wait_while(returned, |returned| returned.count == count);
        drop(more.unwrap_or_else(PoisonError::into_inner));
    }
}

/// What the thread is given: a function, its argument, and the work it is where the schedule knows it.
type Job = (Option<WorkId>, HostFunction, u32);

/// The threads, once there was a function to call, and what they were given.
#[derive(Debug, Default)]
pub(super) struct HostFunctions {
    jobs: Option<Sender<Job>>,
    /// Has work run until no function is left that waits for some.
    pokes: Option<Sender<()>>,
    running: BTreeSet<WorkId>,
    progress: Arc<Progress>,
    /// Nothing is called any more: the program is ending, and what functions use may be gone.
    is_closed: bool,
}

impl HostFunctions {
    /// Begins the threads. One of them calls `run_work` whenever there may be some before a function.
    pub(super) fn prepare(&mut self, run_work: impl Fn() + Send + 'static) -> Result<(), Failure> {
        if self.jobs.is_some() {
            return Ok(());
        }
        let begin = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let begun = thread::Builder::new().name(name.into()).spawn(run);
            begun.map_err(|_| Failure::new(DriverCode::OutOfMemory, "the host has no thread for it"))
        };
        let (pokes, poked) = channel();
        begin("before host functions", Box::new(move || poked.iter().for_each(|()| run_work())))?;
        let (jobs, queue) = channel::<Job>();
        let poke = pokes.clone();
        let progress = self.progress.clone();
        let run = move || {
            CALLS.set(true);
            for (id, function, status) in queue {
                // One that panics has returned.
                let _ = catch_unwind(AssertUnwindSafe(|| (function.call)(status)));
                // What it holds is gone before anyone hears that it has returned.
                drop(function);
                if let Some(id) = id {
                    let mut returned = progress.lock();
                    returned.ids.push(id);
                    returned.count += 1;
                    drop(returned);
                    progress.changed.notify_all();
                    // Without the other end the driver is gone.
                    let _ = poke.send(());
                }
            }
        };
        begin("host functions", Box::new(run))?;
        (self.jobs, self.pokes) = (Some(jobs), Some(pokes));
        Ok(())
    }

    /// Work was asked for that may have functions in it.
    pub(super) fn poke(&self) {
        if let Some(pokes) = &self.pokes {
            // The other end ends with this value alone.
            let _ = pokes.send(());
        }
    }

    /// Whether functions are called.
    pub(super) fn is_open(&self) -> bool {
        self.jobs.is_some() && !self.is_closed
    }

    /// Lets a function run.
    pub(super) fn start(&mut self, id: WorkId, function: &HostFunction) {
        // The thread ends with this value alone, so it is there.
        if self.jobs.as_ref().is_some_and(|jobs| jobs.send((Some(id), function.clone(), 0)).is_ok()) {
            self.running.insert(id);
        }
    }

    /// Lets a callback run whose stream has failed.
    pub(super) fn fail(&mut self, id: WorkId, function: &HostFunction, code: DriverCode) {
        let is_wanted = function.is_callback && !self.is_closed && !self.running.contains(&id);
        if let Some(jobs) = self.jobs.as_ref().filter(|_| is_wanted) {
            // As above.
            let _ = jobs.send((None, function.clone(), code.number()));
        }
    }

    /// Those that have returned since this was last asked.
    pub(super) fn returned(&mut self) -> Vec<WorkId> {
        if self.running.is_empty() {
            return Vec::new();
        }
        let ids = std::mem::take(&mut self.progress.lock().ids);
        ids.iter().for_each(|id| _ = self.running.remove(id));
        ids
    }

    /// Whether any was ever asked for.
    pub(super) fn is_used(&self) -> bool {
        self.jobs.is_some()
    }

    pub(super) fn running(&self) -> &BTreeSet<WorkId> {
        &self.running
    }

    pub(super) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// From now on nothing is called; those that are running are not waited for either.
    pub(super) fn close(&mut self) -> BTreeSet<WorkId> {
        self.is_closed = true;
        std::mem::take(&mut self.running)
    }

    pub(super) fn open(&mut self) {
        self.is_closed = false;
    }
}

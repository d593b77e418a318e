//! The barrier between two operations. A waiting worker first spins, because the others usually arrive within
//! microseconds; then it yields its core, which another worker may need; at last it sleeps on a condition variable
//! until the last worker arrives.

use std::{
    hint, panic,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How a worker waits: it spins, then yields, then sleeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitPolicy {
    /// For how long it spins: longer than workers wait for each other when each has a core.
    pub(super) spin: Duration,
    /// Time since its arrival after which it stops yielding and sleeps: shorter than a scheduler's time slice of some
    /// milliseconds, so that a worker sleeps while another one is preempted.
    pub(super) awake: Duration,
}

impl WaitPolicy {
    pub(super) const DEFAULT: Self =
        WaitPolicy { spin: Duration::from_micros(5), awake: Duration::from_micros(50) };
}

/// Polls of the other workers' counters before the first reading of the clock: usually all have arrived by then.
const POLLS_WITHOUT_CLOCK: u32 = 32;

/// Work that a worker does while it waits.
pub(in crate::cpu) trait IdleWork {
    /// Does a small part of it; called repeatedly until all workers have arrived. Returns whether there is more to do.
    fn advance(&mut self) -> bool;
}

/// A barrier for a fixed number of workers. Each worker counts the barriers it has arrived at (generations) in a cache
/// line of its own, which the others only read: no two workers write to one cache line.
pub(super) struct Barrier {
    arrived: Box<[Counter]>,
    /// By worker: nanoseconds that it waited after it had stopped spinning.
    waited: Box<[Counter]>,
    poisoned: AtomicBool,
    policy: WaitPolicy,
    /// Number of sleeping workers; changed under `sleep_lock` only. In a cache line of its own, which is not written
    /// while no worker sleeps.
    sleepers: Counter,
    sleep_lock: Mutex<()>,
    wake: Condvar,
}

/// Alone in two cache lines: processors prefetch cache lines in pairs.
#[repr(align(128))]
struct Counter(AtomicUsize);

impl Barrier {
    /// A barrier for `workers` workers.
    pub(super) fn new(workers: usize, policy: WaitPolicy) -> Self {
        let counter = || Counter(AtomicUsize::new(0));
        Barrier {
            arrived: (0..workers).map(|_| counter()).collect(),
            waited: (0..workers).map(|_| counter()).collect(),
            poisoned: AtomicBool::new(false),
            policy,
            sleepers: counter(),
            sleep_lock: Mutex::new(()),
            wake: Condvar::new(),
        }
    }

    /// Waits until all workers have called this as often as this one; what they wrote before is visible after.
    /// `idle_work` makes the work to do meanwhile; it is called after this worker's arrival is visible to the others.
    pub(super) fn wait<W: IdleWork>(&self, index: usize, idle_work: impl FnOnce() -> W) {
        let own = &self.arrived[index].0;
        // Relaxed: only this worker writes it.
        let generation = own.load(Ordering::Relaxed).wrapping_add(1);
        // Sequentially consistent, as is the count of sleepers: all workers see arrivals and sleepers in one order, so
        // that the last one to arrive sees every arrival, and every worker that slept before.
        own.store(generation, Ordering::SeqCst);
        if self.is_complete(generation) {
            self.wake_sleepers();
            return;
        }
        let (mut idle_work, mut polls) = (idle_work(), 0);
        while !self.is_complete(generation) {
            self.unwind_if_poisoned();
            if idle_work.advance() {
                continue;
            }
            if polls == POLLS_WITHOUT_CLOCK {
                self.wait_long(index, generation);
                return;
            }
            polls += 1;
            hint::spin_loop();
        }
    }

    /// Waits on, by the clock: spins, yields, sleeps.
    fn wait_long(&self, index: usize, generation: usize) {
        let start = Instant::now();
        while !self.is_complete(generation) {
            self.unwind_if_poisoned();
            match start.elapsed() {
                time if time < self.policy.spin => hint::spin_loop(),
                time if time < self.policy.awake => thread::yield_now(),
                _ => self.sleep(generation),
            }
        }
        let waited = start.elapsed();
        if waited > self.policy.spin {
            self.waited[index].0.fetch_add(waited.as_nanos() as usize, Ordering::Relaxed);
        }
    }

    /// The longest time that a worker has waited after it had stopped spinning.
    pub(super) fn longest_wait(&self) -> Duration {
        let longest = self.waited.iter().map(|waited| waited.0.load(Ordering::Relaxed)).max();
        Duration::from_nanos(longest.unwrap_or(0) as u64)
    }

    /// Whether all workers have arrived at this generation. No worker is more than one generation ahead of another, so
    /// the others are at this one, at the next, or at the one before, which means not yet.
    fn is_complete(&self, generation: usize) -> bool {
        !self.arrived.iter().any(|other| other.0.load(Ordering::SeqCst).wrapping_add(1) == generation)
    }

    /// Sleeps until all workers have arrived, or one of them has unwound.
    fn sleep(&self, generation: usize) {
        let mut sleep_lock = self.sleep_lock();
        self.sleepers.0.fetch_add(1, Ordering::SeqCst);
        // Either the last arrival is visible here, or the last worker saw this sleeper and takes `sleep_lock` to wake
        // it.
        while !self.is_complete(generation) && !self.poisoned.load(Ordering::SeqCst) {
            sleep_lock = self.wake.wait(sleep_lock).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.0.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake_sleepers(&self) {
        if self.sleepers.0.load(Ordering::SeqCst) > 0 {
            let _guard = self.sleep_lock();
            self.wake.notify_all();
        }
    }

    fn sleep_lock(&self) -> MutexGuard<'_, ()> {
        // The lock guards no data that a panic could leave inconsistent.
        self.sleep_lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unwinds where another worker has unwound: that one will never arrive.
    fn unwind_if_poisoned(&self) {
        if self.poisoned.load(Ordering::Relaxed) {
            panic::resume_unwind(Box::new("a worker of the pool panicked"));
        }
    }

    /// Records that a worker has unwound and will never arrive.
    fn poison(&self) {
        self.poisoned.store(true, Ordering::SeqCst);
        self.wake_sleepers();
    }
}

/// Poisons the barrier when dropped: a worker that unwinds drops it, so that the others unwind instead of waiting
/// forever.
pub(super) struct PoisonOnUnwind<'a>(pub(super) &'a Barrier);

impl Drop for PoisonOnUnwind<'_> {
    fn drop(&mut self) {
        self.0.poison();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn policy(spin: u64, awake: u64) -> WaitPolicy {
        WaitPolicy { spin: Duration::from_micros(spin), awake: Duration::from_micros(awake) }
    }

    struct NoWork;

    impl IdleWork for NoWork {
        fn advance(&mut self) -> bool {
            false
        }
    }

    fn wait_for_sleeper(barrier: &Barrier) {
        while barrier.sleepers.0.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn a_long_wait_sleeps_and_the_last_arrival_wakes_it() {
        let barrier = Barrier::new(2, policy(1, 2));
        let written = AtomicUsize::new(0);
        thread::scope(|scope| {
            let early = scope.spawn(|| {
                barrier.wait(0, || NoWork);
                written.load(Ordering::Relaxed)
            });
            wait_for_sleeper(&barrier);
            written.store(7, Ordering::Relaxed);
            barrier.wait(1, || NoWork);
            assert_eq!(early.join().unwrap(), 7);
        });
        assert!(barrier.longest_wait() > Duration::from_micros(2));
        assert_eq!(barrier.sleepers.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn no_wake_up_is_lost() {
        const GENERATIONS: usize = 3000;
        // Workers that sleep at once, and some that spin or yield before: a lost wake-up would let the test hang.
        for (workers, spin, awake) in [(2, 0, 0), (2, 2, 2), (2, 0, 5), (3, 0, 0), (5, 1, 3)] {
            let barrier = Barrier::new(workers, policy(spin, awake));
            let arrivals = AtomicUsize::new(0);
            thread::scope(|scope| {
                for index in 0..workers {
                    let (barrier, arrivals) = (&barrier, &arrivals);
                    scope.spawn(move || {
                        for generation in 1..=GENERATIONS {
                            arrivals.fetch_add(1, Ordering::Relaxed);
                            barrier.wait(index, || NoWork);
                            assert_eq!(arrivals.load(Ordering::Relaxed), generation * workers);
                            barrier.wait(index, || NoWork);
                        }
                    });
                }
            });
            assert_eq!(barrier.sleepers.0.load(Ordering::SeqCst), 0);
        }
    }

    #[test]
    fn a_sleeper_unwinds_where_another_worker_unwound() {
        let barrier = Barrier::new(2, policy(0, 0));
        thread::scope(|scope| {
            let waiter = scope.spawn(|| barrier.wait(0, || NoWork));
            wait_for_sleeper(&barrier);
            drop(PoisonOnUnwind(&barrier));
            assert!(waiter.join().is_err());
        });
    }
}

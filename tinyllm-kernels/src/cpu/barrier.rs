//! Where the threads of a team meet. Who waits spins, because the others are nearly always there at once; who still waits
//! after a while sleeps until the last one comes, so that on a busy machine the core is free for whom it waits for.

use std::{
    hint, panic,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a waiting member spins before it sleeps. Far longer than members of a quiet machine wait for each other, far
/// shorter than the milliseconds for which a busy machine takes a core away.
pub(super) const SPINNING: Duration = Duration::from_micros(100);

/// How often a spinning member looks before it looks at the clock.
const SPINS_PER_LOOK_AT_THE_CLOCK: u32 = 128;

/// What a member does while it waits.
pub(crate) trait Waiting {
    /// A little of it: called again and again until all have met. Whether there is more to do.
    fn turn(&mut self) -> bool;
}

/// A barrier for a fixed number of members. Each counts its meetings on a line of its own, which only the others read: who
/// comes last waits for no line that somebody else is writing to.
pub(super) struct Barrier {
    met: Box<[Counter]>,
    poisoned: AtomicBool,
    spinning: Duration,
    /// How many sleep; changed under `bed` only. On a line of its own, which nobody writes while nobody sleeps.
    sleepers: Counter,
    bed: Mutex<()>,
    wake: Condvar,
}

/// Alone on two lines: processors fetch lines in pairs.
#[repr(align(128))]
struct Counter(AtomicUsize);

impl Barrier {
    /// For so many members, who spin for so long.
    pub(super) fn new(members: usize, spinning: Duration) -> Self {
        let counter = || Counter(AtomicUsize::new(0));
        Barrier {
            met: (0..members).map(|_| counter()).collect(),
            poisoned: AtomicBool::new(false),
            spinning,
            sleepers: counter(),
            bed: Mutex::new(()),
            wake: Condvar::new(),
        }
    }

    /// Waits until all members have called this as often as this one; what they wrote before is visible after. `waiting`
    /// says what to do meanwhile.
    pub(super) fn wait<W: Waiting>(&self, index: usize, waiting: impl FnOnce() -> W) {
        let own = &self.met[index].0;
        // Only this member writes it.
        let meeting = own.load(Ordering::Relaxed).wrapping_add(1);
        // Arrivals, and going to bed, have one order that all members see: whoever is last in it misses nobody, and sees who
        // went to bed before.
        own.store(meeting, Ordering::SeqCst);
        if self.is_complete(meeting) {
            self.wake_sleepers();
            return;
        }
        let mut waiting = waiting();
        let mut spin = Spin::new(self.spinning);
        while !self.is_complete(meeting) {
            self.unwind_if_poisoned();
            if waiting.turn() {
                continue;
            }
            if spin.is_over() {
                self.sleep(meeting);
            }
        }
    }

    /// Whether all have come to this meeting. Nobody is more than one meeting ahead of another.
    fn is_complete(&self, meeting: usize) -> bool {
        !self.met.iter().any(|other| other.0.load(Ordering::SeqCst).wrapping_add(1) == meeting)
    }

    /// Sleeps until all have come, or one of them never will.
    fn sleep(&self, meeting: usize) {
        let mut bed = self.bed();
        self.sleepers.0.fetch_add(1, Ordering::SeqCst);
        // The last to come either is seen here, or saw the sleeper and waits for `bed` to wake it.
        while !self.is_complete(meeting) && !self.poisoned.load(Ordering::SeqCst) {
            bed = self.wake.wait(bed).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.0.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake_sleepers(&self) {
        if self.sleepers.0.load(Ordering::SeqCst) > 0 {
            let _bed = self.bed();
            self.wake.notify_all();
        }
    }

    fn bed(&self) -> MutexGuard<'_, ()> {
        // Nothing lies in it that a panic could have left half done.
        self.bed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another member unwound and will never arrive: unwind too, so that the run ends.
    fn unwind_if_poisoned(&self) {
        if self.poisoned.load(Ordering::Relaxed) {
            panic::resume_unwind(Box::new("a member of the team panicked"));
        }
    }

    /// Says that a member will never arrive.
    fn poison(&self) {
        self.poisoned.store(true, Ordering::SeqCst);
        self.wake_sleepers();
    }
}

/// Marks the barrier when a member unwinds, so that the others do not wait for ever.
pub(super) struct PoisonOnUnwind<'a>(pub(super) &'a Barrier);

impl Drop for PoisonOnUnwind<'_> {
    fn drop(&mut self) {
        self.0.poison();
    }
}

/// A member that spins.
struct Spin {
    time: Duration,
    spins: u32,
    since: Option<Instant>,
}

impl Spin {
    fn new(time: Duration) -> Self {
        Spin { time, spins: 0, since: None }
    }

    /// Spins once. Whether it has been long enough.
    fn is_over(&mut self) -> bool {
        hint::spin_loop();
        self.spins = self.spins.wrapping_add(1);
        self.spins.is_multiple_of(SPINS_PER_LOOK_AT_THE_CLOCK)
            && self.since.get_or_insert_with(Instant::now).elapsed() >= self.time
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Nothing to do.
    struct Idle;

    impl Waiting for Idle {
        fn turn(&mut self) -> bool {
            false
        }
    }

    fn until_somebody_sleeps(barrier: &Barrier) {
        while barrier.sleepers.0.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn who_waits_long_sleeps_and_the_last_to_come_wakes_it() {
        let barrier = Barrier::new(2, Duration::from_micros(1));
        let written = AtomicUsize::new(0);
        thread::scope(|scope| {
            let early = scope.spawn(|| {
                barrier.wait(0, || Idle);
                written.load(Ordering::Relaxed)
            });
            until_somebody_sleeps(&barrier);
            written.store(7, Ordering::Relaxed);
            barrier.wait(1, || Idle);
            assert_eq!(early.join().unwrap(), 7);
        });
        assert_eq!(barrier.sleepers.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn no_wake_up_is_lost() {
        const MEETINGS: usize = 3000;
        // Members that never spin sleep nearly always, those that spin a little sometimes: a lost wake-up would end the test
        // never.
        for (members, spinning) in [(2, 0), (2, 2), (3, 0), (5, 1)] {
            let barrier = Barrier::new(members, Duration::from_micros(spinning));
            let arrivals = AtomicUsize::new(0);
            thread::scope(|scope| {
                for index in 0..members {
                    let (barrier, arrivals) = (&barrier, &arrivals);
                    scope.spawn(move || {
                        for meeting in 1..=MEETINGS {
                            arrivals.fetch_add(1, Ordering::Relaxed);
                            barrier.wait(index, || Idle);
                            assert_eq!(arrivals.load(Ordering::Relaxed), meeting * members);
                            barrier.wait(index, || Idle);
                        }
                    });
                }
            });
            assert_eq!(barrier.sleepers.0.load(Ordering::SeqCst), 0);
        }
    }

    #[test]
    fn a_sleeper_hears_of_a_member_that_never_comes() {
        let barrier = Barrier::new(2, Duration::ZERO);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| barrier.wait(0, || Idle));
            until_somebody_sleeps(&barrier);
            drop(PoisonOnUnwind(&barrier));
            assert!(waiter.join().is_err());
        });
    }
}

//! Where the threads of a team meet. Who waits spins, because the others are nearly always there at once; then it offers its
//! core to others, which one of those it waits for may need; and who still waits sleeps until the last one comes.

use std::{
    hint, panic,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a waiting member stays awake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// It spins: longer than members wait for each other that all have a core.
    pub(super) spins: Duration,
    /// It offers its core, until so long after it came: shorter than the milliseconds for which a busy machine takes a core
    /// away, so that who comes back from that sleeps.
    pub(super) awake: Duration,
}

impl Patience {
    pub(super) const USUAL: Self =
        Patience { spins: Duration::from_micros(5), awake: Duration::from_micros(50) };
}

/// How often a member looks at the others before it looks at the clock: mostly they are there by then.
const LOOKS_WITHOUT_CLOCK: u32 = 32;

/// What a member does while it waits.
pub(crate) trait Waiting {
    /// A little of it: called again and again until all have met. Whether there is more to do.
    fn turn(&mut self) -> bool;
}

/// A barrier for a fixed number of members. Each counts its meetings on a line of its own, which only the others read: who
/// comes last waits for no line that somebody else is writing to.
pub(super) struct Barrier {
    met: Box<[Counter]>,
    /// For each member the nanoseconds that it waited beyond spinning.
    waited: Box<[Counter]>,
    poisoned: AtomicBool,
    patience: Patience,
    /// How many sleep; changed under `bed` only. On a line of its own, which nobody writes while nobody sleeps.
    sleepers: Counter,
    bed: Mutex<()>,
    wake: Condvar,
}

/// Alone on two lines: processors fetch lines in pairs.
#[repr(align(128))]
struct Counter(AtomicUsize);

impl Barrier {
    /// For so many members, who have so much patience.
    pub(super) fn new(members: usize, patience: Patience) -> Self {
        let counter = || Counter(AtomicUsize::new(0));
        Barrier {
            met: (0..members).map(|_| counter()).collect(),
            waited: (0..members).map(|_| counter()).collect(),
            poisoned: AtomicBool::new(false),
            patience,
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
        let (mut waiting, mut looks) = (waiting(), 0);
        while !self.is_complete(meeting) {
            self.unwind_if_poisoned();
            if waiting.turn() {
                continue;
            }
            if looks == LOOKS_WITHOUT_CLOCK {
                self.wait_long(index, meeting);
                return;
            }
            looks += 1;
            hint::spin_loop();
        }
    }

    /// Goes on waiting, by the clock.
    fn wait_long(&self, index: usize, meeting: usize) {
        let start = Instant::now();
        while !self.is_complete(meeting) {
            self.unwind_if_poisoned();
            match start.elapsed() {
                time if time < self.patience.spins => hint::spin_loop(),
                time if time < self.patience.awake => thread::yield_now(),
                _ => self.sleep(meeting),
            }
        }
        let waited = start.elapsed();
        if waited > self.patience.spins {
            self.waited[index].0.fetch_add(waited.as_nanos() as usize, Ordering::Relaxed);
        }
    }

    /// The time that the member that waited longest spent beyond spinning.
    pub(super) fn longest_wait(&self) -> Duration {
        let longest = self.waited.iter().map(|waited| waited.0.load(Ordering::Relaxed)).max();
        Duration::from_nanos(longest.unwrap_or(0) as u64)
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

#[cfg(test)]
mod tests {
    use super::*;

    const fn patience(spins: u64, awake: u64) -> Patience {
        Patience { spins: Duration::from_micros(spins), awake: Duration::from_micros(awake) }
    }

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
        let barrier = Barrier::new(2, patience(1, 2));
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
        assert!(barrier.longest_wait() > Duration::from_micros(2));
        assert_eq!(barrier.sleepers.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn no_wake_up_is_lost() {
        const MEETINGS: usize = 3000;
        // Members without patience sleep nearly always, those with a little sometimes: a lost wake-up would end the test
        // never.
        for (members, spins, awake) in [(2, 0, 0), (2, 2, 2), (2, 0, 5), (3, 0, 0), (5, 1, 3)] {
            let barrier = Barrier::new(members, patience(spins, awake));
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
        let barrier = Barrier::new(2, patience(0, 0));
        thread::scope(|scope| {
            let waiter = scope.spawn(|| barrier.wait(0, || Idle));
            until_somebody_sleeps(&barrier);
            drop(PoisonOnUnwind(&barrier));
            assert!(waiter.join().is_err());
        });
    }
}

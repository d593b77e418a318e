//! Whether a step of one token is better left to one thread. It is hundreds of short operations, after each of which threads
//! meet: where other processes want the cores, they wait for each other most of the time, and one that need not is faster.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How many of the threads run a step of one token. Its logits have the same bits whoever does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DecodeThreads {
    /// All.
    All,
    /// All, but one for a while where they wait for each other most of the time.
    #[default]
    Adaptive,
    /// One.
    One,
}

/// Steps in a row in which threads waited: one alone may have been an accident.
const STEPS_TO_BELIEVE: u32 = 3;

/// A run that is longer than this, and in which the caller had its core for less than half of it, is believed at once.
const LONG: Duration = Duration::from_millis(2);

/// Steps that one thread runs before all try again, at first and at most: each try that fails doubles them.
const FIRST_ALONE: u32 = 16;
const MOST_ALONE: u32 = 128;

/// What the calling thread saw of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// How long the run took.
    pub(super) took: Duration,
    /// For how much of it the calling thread had a core.
    pub(super) ran: Duration,
    /// How long the thread waited that waited longest.
    pub(super) waited: Duration,
}

impl Seen {
    /// Whether others had the caller's core for most of the time, or it slept because they had another thread's.
    fn was_kept_waiting(self) -> bool {
        self.took > LONG && self.ran * 2 < self.took
    }
}

/// What the last steps showed.
#[derive(Debug)]
pub(super) struct Congestion {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Steps in a row in which threads waited most of the time.
    crowded: u32,
    /// Steps that one thread is still to run.
    alone: u32,
    /// How many it is to run the next time.
    next_alone: u32,
    /// Of the steps that one thread ran.
    took_alone: Duration,
    ran_alone: Duration,
}

impl State {
    fn go_alone(&mut self) {
        // The next try is believed at once if it fails.
        self.crowded = STEPS_TO_BELIEVE - 1;
        self.alone = self.next_alone;
        self.next_alone = (self.next_alone * 2).min(MOST_ALONE);
        (self.took_alone, self.ran_alone) = (Duration::ZERO, Duration::ZERO);
    }
}

impl Congestion {
    pub(super) fn new() -> Self {
        let (took_alone, ran_alone) = (Duration::ZERO, Duration::ZERO);
        let state = State { crowded: 0, alone: 0, next_alone: FIRST_ALONE, took_alone, ran_alone };
        Congestion { state: Mutex::new(state) }
    }

    /// Whether one thread is to run the next step.
    pub(super) fn takes_one(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_alone = state.alone > 0;
        state.alone = state.alone.saturating_sub(1);
        is_alone
    }

    /// What a step by one thread showed. After its last one the others stay away where even one has to share its core.
    pub(super) fn note_alone(&self, seen: Seen) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.took_alone += seen.took;
        state.ran_alone += seen.ran;
        if state.alone == 0 && state.ran_alone * 2 < state.took_alone {
            state.alone = FIRST_ALONE;
            (state.took_alone, state.ran_alone) = (Duration::ZERO, Duration::ZERO);
        }
    }

    /// What a run of more tokens by all threads showed: the steps after it begin with one thread where the caller was kept
    /// waiting.
    pub(super) fn note_prompt(&self, seen: Seen) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.was_kept_waiting() && state.alone == 0 {
            state.next_alone = FIRST_ALONE;
            state.go_alone();
        }
    }

    /// What a step by all threads showed.
    pub(super) fn note(&self, seen: Seen) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.was_kept_waiting() {
            return state.go_alone();
        }
        // Two threads that work half of the time do as much as one that always does.
        if seen.waited * 2 <= seen.took {
            state.crowded = 0;
            state.next_alone = FIRST_ALONE;
            return;
        }
        state.crowded += 1;
        if state.crowded >= STEPS_TO_BELIEVE {
            state.go_alone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seen(took: u64, ran: u64, waited: u64) -> Seen {
        Seen {
            took: Duration::from_micros(took),
            ran: Duration::from_micros(ran),
            waited: Duration::from_micros(waited),
        }
    }

    const CROWDED: Seen = seen(1900, 1000, 1400);
    const QUIET: Seen = seen(3000, 2900, 1000);
    const SHARED: Seen = seen(100_000, 15_000, 90_000);

    /// Which of the next steps one thread runs; those of all show `showing`, those of one `alone`.
    fn steps(congestion: &Congestion, steps: usize, showing: Seen, alone: Seen) -> Vec<bool> {
        let step = |_| {
            let is_alone = congestion.takes_one();
            if is_alone {
                congestion.note_alone(alone);
            } else {
                congestion.note(showing);
            }
            is_alone
        };
        (0..steps).map(step).collect()
    }

    #[test]
    fn one_thread_goes_on_where_all_wait_and_all_try_again() {
        let congestion = Congestion::new();
        assert_eq!(steps(&congestion, 20, QUIET, QUIET), [false; 20]);
        let found = steps(&congestion, 3 + 16 + 1 + 32 + 1 + 64 + 1 + 128 + 1 + 128 + 1, CROWDED, QUIET);
        let together = found.iter().enumerate().filter(|(_, alone)| !**alone).map(|(at, _)| at);
        assert_eq!(together.collect::<Vec<_>>(), [0, 1, 2, 19, 52, 117, 246, 375]);
        // The machine is quiet again: all are back after the next try.
        let found = steps(&congestion, 300, QUIET, QUIET);
        assert!(found[..128].iter().all(|alone| *alone) && found[128..].iter().all(|alone| !alone));
    }

    #[test]
    fn an_accident_changes_nothing() {
        let congestion = Congestion::new();
        for _ in 0..10 {
            assert_eq!(steps(&congestion, 2, CROWDED, QUIET), [false; 2]);
            assert_eq!(steps(&congestion, 1, QUIET, QUIET), [false]);
        }
    }

    #[test]
    fn nobody_tries_again_while_one_thread_shares_its_core() {
        let congestion = Congestion::new();
        let found = steps(&congestion, 200, SHARED, SHARED);
        assert!(!found[0] && found[1..].iter().all(|alone| *alone));
        // It has its core again: all try when these steps are over, or the next, in which nobody else was seen.
        let found = steps(&congestion, 100, QUIET, QUIET);
        let back = found.iter().position(|alone| !alone).unwrap();
        assert!(back <= 32 && found[back..].iter().all(|alone| !alone), "{back}");
    }

    #[test]
    fn a_prompt_shows_it_before_the_first_step() {
        let congestion = Congestion::new();
        congestion.note_prompt(QUIET);
        assert!(!congestion.takes_one());
        congestion.note_prompt(SHARED);
        assert_eq!(steps(&congestion, 17, QUIET, QUIET), [[true; 16].as_slice(), &[false]].concat());
    }
}

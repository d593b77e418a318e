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

/// Steps that one thread runs before all try again, at first and at most: each try that fails doubles them.
const FIRST_ALONE: u32 = 16;
const MOST_ALONE: u32 = 128;

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
}

impl Congestion {
    pub(super) fn new() -> Self {
        Congestion { state: Mutex::new(State { crowded: 0, alone: 0, next_alone: FIRST_ALONE }) }
    }

    /// Whether one thread is to run the next step.
    pub(super) fn takes_one(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_alone = state.alone > 0;
        state.alone = state.alone.saturating_sub(1);
        is_alone
    }

    /// What a step by all threads showed: how long the one that waited longest did, of all the time that it took.
    pub(super) fn note(&self, waited: Duration, took: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Two threads that work half of the time do as much as one that always does.
        if waited * 2 <= took {
            state.crowded = 0;
            state.next_alone = FIRST_ALONE;
            return;
        }
        state.crowded += 1;
        if state.crowded >= STEPS_TO_BELIEVE {
            // The next try is believed at once if it fails.
            state.crowded = STEPS_TO_BELIEVE - 1;
            state.alone = state.next_alone;
            state.next_alone = (state.next_alone * 2).min(MOST_ALONE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CROWDED: (Duration, Duration) = (Duration::from_millis(7), Duration::from_millis(10));
    const QUIET: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(3));

    /// Which of the next steps one thread runs; those of all show `showing`.
    fn alone(congestion: &Congestion, steps: usize, showing: (Duration, Duration)) -> Vec<bool> {
        let step = |_| {
            let is_alone = congestion.takes_one();
            if !is_alone {
                congestion.note(showing.0, showing.1);
            }
            is_alone
        };
        (0..steps).map(step).collect()
    }

    #[test]
    fn one_thread_goes_on_where_all_wait_and_all_try_again() {
        let congestion = Congestion::new();
        assert_eq!(alone(&congestion, 20, QUIET), [false; 20]);
        let steps = alone(&congestion, 3 + 16 + 1 + 32 + 1 + 64 + 1 + 128 + 1 + 128 + 1, CROWDED);
        let together = steps.iter().enumerate().filter(|(_, alone)| !**alone).map(|(at, _)| at);
        assert_eq!(together.collect::<Vec<_>>(), [0, 1, 2, 19, 52, 117, 246, 375]);
        // The machine is quiet again: all are back after the next try.
        let steps = alone(&congestion, 300, QUIET);
        assert!(steps[..128].iter().all(|alone| *alone) && steps[128..].iter().all(|alone| !alone));
    }

    #[test]
    fn an_accident_changes_nothing() {
        let congestion = Congestion::new();
        for _ in 0..10 {
            assert_eq!(alone(&congestion, 2, CROWDED), [false; 2]);
            assert_eq!(alone(&congestion, 1, QUIET), [false]);
        }
    }
}

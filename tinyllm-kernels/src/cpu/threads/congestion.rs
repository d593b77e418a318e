//! Whether one thread should run a decode step of one token. Such a step is hundreds of short operations with a barrier
//! after each: where other processes compete for the cores, the workers spend most of the time at barriers, and a
//! single thread is faster.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How many of the threads run a step of one token. Its logits have the same bits with any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DecodeThreads {
    /// All threads.
    All,
    /// All threads, or one for a while where other processes compete for the cores.
    #[default]
    Adaptive,
    /// One thread.
    One,
}

/// Consecutive congested steps after which one thread takes over: a single one may be an outlier.
const CONGESTED_STEPS: u32 = 3;

/// A run that takes longer than this, with the calling thread on a core for less than half of it, shows congestion at
/// once.
const LONG_RUN: Duration = Duration::from_millis(2);

/// Steps that one thread runs before all threads are tried again, at first and at most: each failed try doubles the
/// number.
const MIN_SINGLE_STEPS: u32 = 16;
const MAX_SINGLE_STEPS: u32 = 128;

/// How the time of a run was spent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RunTimes {
    /// Wall time.
    pub(super) wall: Duration,
    /// CPU time of the calling thread.
    pub(super) cpu: Duration,
    /// The longest time that a worker waited at barriers.
    pub(super) waited: Duration,
}

impl RunTimes {
    /// Whether the calling thread had no core for most of a long run: it was preempted, or slept at a barrier because
    /// another worker was.
    fn was_starved(self) -> bool {
        self.wall > LONG_RUN && self.cpu * 2 < self.wall
    }
}

/// Whether the last steps were congested.
#[derive(Debug)]
pub(super) struct Congestion {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Consecutive steps in which workers waited most of the time.
    congested: u32,
    /// Steps still to be run by one thread.
    single_steps: u32,
    /// The number of such steps for the next time.
    next_single_steps: u32,
    /// Wall and CPU time of the steps that one thread ran.
    single_wall: Duration,
    single_cpu: Duration,
}

impl State {
    fn use_one_thread(&mut self) {
        // One more congested step is then enough: the next try.
        self.congested = CONGESTED_STEPS - 1;
        self.single_steps = self.next_single_steps;
        self.next_single_steps = (self.next_single_steps * 2).min(MAX_SINGLE_STEPS);
        (self.single_wall, self.single_cpu) = (Duration::ZERO, Duration::ZERO);
    }
}

impl Congestion {
    pub(super) fn new() -> Self {
        let (single_wall, single_cpu) = (Duration::ZERO, Duration::ZERO);
        let state = State {
            congested: 0,
            single_steps: 0,
            next_single_steps: MIN_SINGLE_STEPS,
            single_wall,
            single_cpu,
        };
        Congestion { state: Mutex::new(state) }
    }

    /// Whether one thread runs the next step.
    pub(super) fn uses_one_thread(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_single = state.single_steps > 0;
        state.single_steps = state.single_steps.saturating_sub(1);
        is_single
    }

    /// Records a step by one thread. After the last such step one thread goes on where even it had a core for less than
    /// half of the time.
    pub(super) fn note_single(&self, times: RunTimes) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.single_wall += times.wall;
        state.single_cpu += times.cpu;
        if state.single_steps == 0 && state.single_cpu * 2 < state.single_wall {
            state.single_steps = MIN_SINGLE_STEPS;
            (state.single_wall, state.single_cpu) = (Duration::ZERO, Duration::ZERO);
        }
    }

    /// Records a prompt's step by all threads: where the calling thread was starved, the decode steps after it begin
    /// with one thread.
    pub(super) fn note_prompt(&self, times: RunTimes) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if times.was_starved() && state.single_steps == 0 {
            state.next_single_steps = MIN_SINGLE_STEPS;
            state.use_one_thread();
        }
    }

    /// Records a step by all threads.
    pub(super) fn note(&self, times: RunTimes) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if times.was_starved() {
            return state.use_one_thread();
        }
        // Two threads that each work half of the time compute as much as one thread alone.
        if times.waited * 2 <= times.wall {
            state.congested = 0;
            state.next_single_steps = MIN_SINGLE_STEPS;
            return;
        }
        state.congested += 1;
        if state.congested >= CONGESTED_STEPS {
            state.use_one_thread();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn times(wall: u64, cpu: u64, waited: u64) -> RunTimes {
        RunTimes {
            wall: Duration::from_micros(wall),
            cpu: Duration::from_micros(cpu),
            waited: Duration::from_micros(waited),
        }
    }

    const CONGESTED: RunTimes = times(1900, 1000, 1400);
    const IDLE: RunTimes = times(3000, 2900, 1000);
    const SHARED: RunTimes = times(100_000, 15_000, 90_000);

    /// Which of the next steps one thread runs; a step by all threads takes `all`, one by one thread `single`.
    fn steps(congestion: &Congestion, steps: usize, all: RunTimes, single: RunTimes) -> Vec<bool> {
        let step = |_| {
            let is_single = congestion.uses_one_thread();
            if is_single {
                congestion.note_single(single);
            } else {
                congestion.note(all);
            }
            is_single
        };
        (0..steps).map(step).collect()
    }

    #[test]
    fn one_thread_runs_under_congestion_and_all_are_tried_again() {
        let congestion = Congestion::new();
        assert_eq!(steps(&congestion, 20, IDLE, IDLE), [false; 20]);
        let found = steps(&congestion, 3 + 16 + 1 + 32 + 1 + 64 + 1 + 128 + 1 + 128 + 1, CONGESTED, IDLE);
        let together = found.iter().enumerate().filter(|(_, single)| !**single).map(|(at, _)| at);
        assert_eq!(together.collect::<Vec<_>>(), [0, 1, 2, 19, 52, 117, 246, 375]);
        // The machine is idle again: all threads run from the next try on.
        let found = steps(&congestion, 300, IDLE, IDLE);
        assert!(found[..128].iter().all(|single| *single) && found[128..].iter().all(|single| !single));
    }

    #[test]
    fn a_single_congested_step_changes_nothing() {
        let congestion = Congestion::new();
        for _ in 0..10 {
            assert_eq!(steps(&congestion, 2, CONGESTED, IDLE), [false; 2]);
            assert_eq!(steps(&congestion, 1, IDLE, IDLE), [false]);
        }
    }

    #[test]
    fn all_threads_are_not_tried_while_one_shares_its_core() {
        let congestion = Congestion::new();
        let found = steps(&congestion, 200, SHARED, SHARED);
        assert!(!found[0] && found[1..].iter().all(|single| *single));
        // It has its core again: all threads run after these steps, or after the next ones, in which no other process
        // ran.
        let found = steps(&congestion, 100, IDLE, IDLE);
        let back = found.iter().position(|single| !single).unwrap();
        assert!(back <= 32 && found[back..].iter().all(|single| !single), "{back}");
    }

    #[test]
    fn a_starved_prompt_step_is_enough() {
        let congestion = Congestion::new();
        congestion.note_prompt(IDLE);
        assert!(!congestion.uses_one_thread());
        congestion.note_prompt(SHARED);
        assert_eq!(steps(&congestion, 17, IDLE, IDLE), [[true; 16].as_slice(), &[false]].concat());
    }
}

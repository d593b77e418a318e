//! The block's barriers: how many threads arrived, how many are expected, and the joined clocks.

use super::{
    clocks::{Clocks, MAX_WARPS},
    transfer::lanes_of,
};
use crate::kernel::BarrierMode;

/// Barriers of a block.
pub(super) const BARRIERS: usize = 16;

/// One barrier.
#[derive(Clone, Debug, Hash)]
struct State {
    arrived: u32,
    /// Threads that are waited for; 0 before the first arrived.
    expected: u32,
    /// It is for all threads of the block.
    all_threads: bool,
    /// The joined clocks of the warps that arrived.
    known: [u32; MAX_WARPS],
    /// Threads whose predicate was set.
    set: u32,
    /// Threads that gave a predicate.
    voters: u32,
}

const EMPTY: State =
    State { arrived: 0, expected: 0, all_threads: false, known: [0; MAX_WARPS], set: 0, voters: 0 };

#[derive(Clone, Debug, Hash)]
pub(super) struct Barriers {
    states: [State; BARRIERS],
}

/// What a complete barrier gives to the threads that waited.
#[derive(Clone, Debug)]
pub(super) struct Complete {
    pub(super) known: [u32; MAX_WARPS],
    set: u32,
    voters: u32,
}

impl Complete {
    /// The result of a reduction.
    pub(super) fn result(&self, mode: BarrierMode) -> u32 {
        match mode {
            BarrierMode::Popc => self.set,
            BarrierMode::And => u32::from(self.set == self.voters),
            _ => u32::from(self.set > 0),
        }
    }
}

/// Lanes that arrive at a barrier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) id: u32,
    pub(super) warp: u32,
    pub(super) mask: u32,
    /// How many threads are waited for.
    pub(super) expected: u32,
    /// Whether all of the block are.
    pub(super) all_threads: bool,
    /// Lanes whose predicate is set.
    pub(super) set: u32,
}

impl Barriers {
    pub(super) fn new() -> Self {
        Barriers { states: [EMPTY; BARRIERS] }
    }

    /// Lanes arrive; whether the barrier is complete.
    pub(super) fn arrive(&mut self, clocks: &mut Clocks, arrival: Arrival) -> bool {
        let state = &mut self.states[arrival.id as usize % BARRIERS];
        let count = lanes_of(arrival.mask).count() as u32;
        state.arrived += count;
        state.expected = arrival.expected;
        state.all_threads = arrival.all_threads;
        state.set += (arrival.set & arrival.mask).count_ones();
        state.voters += count;
        clocks.arrive(arrival.warp, &mut state.known);
        state.arrived >= state.expected
    }

    /// A barrier is completed by a warp that has ended: what it did comes before.
    pub(super) fn join_ended(&mut self, clocks: &mut Clocks, id: u32, warp: u32) {
        clocks.arrive(warp, &mut self.states[id as usize % BARRIERS].known);
    }

    /// Resets the barrier, and returns what it gives to the threads that waited.
    pub(super) fn complete(&mut self, id: u32) -> Complete {
        let state = std::mem::replace(&mut self.states[id as usize % BARRIERS], EMPTY);
        Complete { known: state.known, set: state.set, voters: state.voters }
    }

    /// Whether threads wait at a barrier for all threads of the block.
    pub(super) fn is_for_all(&self, id: u32) -> bool {
        self.states[id as usize % BARRIERS].all_threads
    }

    /// Barriers where some threads arrived, and how many are missing.
    pub(super) fn incomplete(&self) -> impl Iterator<Item = (u32, u32)> {
        let some = self.states.iter().enumerate().filter(|(_, state)| state.arrived > 0);
        some.map(|(id, state)| (id as u32, state.expected.saturating_sub(state.arrived)))
    }
}

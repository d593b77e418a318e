//! The block's barriers: who has come, how many are waited for, what they bring.

use super::{
    clocks::{Clocks, MAX_WARPS},
    transfer::lanes_of,
};
use crate::kernel::BarrierMode;

/// Barriers of a block.
pub(super) const BARRIERS: usize = 16;

/// One barrier.
#[derive(Clone, Debug)]
struct State {
    arrived: u32,
    /// Threads that are waited for; 0 before anybody came.
    expected: u32,
    /// What the warps that came have done and heard of.
    heard: [u32; MAX_WARPS],
    /// Threads whose predicate was set.
    set: u32,
    /// Threads that gave a predicate.
    voters: u32,
}

const NOBODY: State = State { arrived: 0, expected: 0, heard: [0; MAX_WARPS], set: 0, voters: 0 };

#[derive(Clone, Debug)]
pub(super) struct Barriers {
    states: [State; BARRIERS],
}

/// What a barrier that is complete tells those who waited.
#[derive(Clone, Debug)]
pub(super) struct Complete {
    pub(super) heard: [u32; MAX_WARPS],
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

/// Lanes that come to a barrier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) id: u32,
    pub(super) warp: u32,
    pub(super) mask: u32,
    /// How many threads are waited for.
    pub(super) expected: u32,
    /// Lanes whose predicate is set.
    pub(super) set: u32,
}

impl Barriers {
    pub(super) fn new() -> Self {
        Barriers { states: [NOBODY; BARRIERS] }
    }

    /// Lanes come; whether everybody is there now.
    pub(super) fn arrive(&mut self, clocks: &mut Clocks, arrival: Arrival) -> bool {
        let state = &mut self.states[arrival.id as usize % BARRIERS];
        let count = lanes_of(arrival.mask).count() as u32;
        state.arrived += count;
        state.expected = arrival.expected;
        state.set += (arrival.set & arrival.mask).count_ones();
        state.voters += count;
        clocks.arrive(arrival.warp, &mut state.heard);
        state.arrived >= state.expected
    }

    /// Begins anew, and gives what those who waited are told.
    pub(super) fn complete(&mut self, id: u32) -> Complete {
        let state = std::mem::replace(&mut self.states[id as usize % BARRIERS], NOBODY);
        Complete { heard: state.heard, set: state.set, voters: state.voters }
    }

    /// A barrier where some came, and how many are missing.
    pub(super) fn incomplete(&self) -> impl Iterator<Item = (u32, u32)> {
        let some = self.states.iter().enumerate().filter(|(_, state)| state.arrived > 0);
        some.map(|(id, state)| (id as u32, state.expected.saturating_sub(state.arrived)))
    }
}

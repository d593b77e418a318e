//! Kernels that never end. A block that comes back to a state it was in, while nothing has been written to global memory, does the
//! same for ever; where all blocks that can run do, so does the kernel. That is certain, so that no kernel is stopped that would
//! end, however slow; one that counts while it waits is stopped by a budget, where there is one.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
};

use super::{Launch, block::Block, context::Context, groups::Wait};
use crate::report::{Finding, Kind, Thread};

/// Instructions of a warp between two looks at its block's state, which take as long as some hundred of them: at first, and where
/// many looks have shown nothing.
const INTERVALS: (u64, u64) = (1 << 15, 1 << 17);

/// Blocks whose threads are named.
const MOST_BLOCKS: usize = 64;

/// Places that a report names.
const MOST_PLACES: usize = 8;

/// Looks for a state that comes again: the one kept is replaced after 1, 2, 4, ... looks, so that any cycle is found (Brent).
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// Of the block, since the last look.
    instructions: u64,
    /// What had been written when `kept` was: what came before is another memory's.
    changes: u64,
    kept: Option<u64>,
    looks: u64,
    limit: u64,
    repeats: bool,
}

impl Watch {
    /// Notes that each of so many warps had its turn, with the instructions that took. `state` is everything that decides what the
    /// block does next, but for global memory.
    pub(super) fn round(&mut self, instructions: u64, warps: u64, changes: u64, state: impl FnOnce() -> u64) {
        if self.changes != changes {
            *self = Watch { changes, ..Watch::default() };
            return;
        }
        self.instructions += instructions;
        let (first, last) = INTERVALS;
        if self.instructions < (first * self.limit.max(1)).min(last) * warps {
            return;
        }
        self.instructions = 0;
        let state = state();
        self.repeats |= self.kept == Some(state);
        if self.looks == self.limit {
            (self.kept, self.looks, self.limit) = (Some(state), 0, (2 * self.limit).max(1));
        }
        self.looks += 1;
    }

    /// Whether it does the same for ever, if nothing more is written.
    pub(super) fn repeats(&self, changes: u64) -> bool {
        self.repeats && self.changes == changes
    }
}

/// Hashes what decides how a block goes on. Two states that differ have the same number once in 2^64.
pub(super) fn number(hash: impl FnOnce(&mut std::hash::DefaultHasher)) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hash(&mut hasher);
    hasher.finish()
}

/// Where threads are, and why they are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    /// They read this again and again.
    Reads(u32),
    /// They are in a loop that reads nothing.
    Runs(u32),
    /// They wait for lanes of their warp.
    Lanes(u32),
    /// They wait at a barrier of the block.
    Barrier(u32),
}

impl Place {
    pub(super) fn waits(pc: u32, wait: Wait) -> Self {
        match wait {
            Wait::Lanes(_) => Place::Lanes(pc),
            Wait::Barrier(_) => Place::Barrier(pc),
        }
    }

    /// Whether threads are there because others do not come.
    fn is_wait(self) -> bool {
        matches!(self, Place::Lanes(_) | Place::Barrier(_))
    }

    fn pc(self) -> u32 {
        match self {
            Place::Reads(pc) | Place::Runs(pc) | Place::Lanes(pc) | Place::Barrier(pc) => pc,
        }
    }

    fn does(self) -> &'static str {
        match self {
            Place::Reads(_) => "read again and again at",
            Place::Runs(_) => "are in a loop at",
            Place::Lanes(_) => "wait for others of their warp at",
            Place::Barrier(_) => "wait for others of their block at",
        }
    }
}

/// Threads by where they are: how many, and the first.
pub(super) type Places = BTreeMap<Place, (u64, Thread)>;

/// Why a kernel is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Repeats,
    /// So many instructions were allowed.
    Budget(u64),
}

/// Why the blocks at hand are to be stopped, if they are.
pub(super) fn reason(context: &Context<'_>, mut repeat: impl FnMut() -> bool) -> Option<Reason> {
    match context.launch.budget {
        Some(budget) if context.spent > budget => Some(Reason::Budget(budget)),
        _ => repeat().then_some(Reason::Repeats),
    }
}

/// Says where threads are. `None` where they read what a thread of the host can change.
pub(super) fn finding<'b>(
    context: &mut Context<'_>,
    reason: Reason,
    blocks: impl Iterator<Item = &'b mut Block>,
) -> Option<Finding> {
    let mut places = Places::new();
    context.forget_regions();
    for block in blocks.take(MOST_BLOCKS) {
        block.survey(context, &mut places);
    }
    if reason == Reason::Repeats && context.reads_of_host() {
        return None;
    }
    let kernel = context.launch.kernel;
    let mut listed: Vec<(Place, (u64, Thread))> = places.into_iter().collect();
    // Those that run are why the others wait.
    listed.sort_by_key(|(place, (threads, _))| (place.is_wait(), std::cmp::Reverse(*threads), *place));
    let why = match reason {
        Reason::Repeats => {
            "all that its threads do repeats itself, and no work that runs can change it".to_owned()
        }
        Reason::Budget(budget) => format!("stopped after {budget} instructions of warps"),
    };
    let texts = listed.iter().take(MOST_PLACES).filter_map(|(place, (threads, _))| {
        let site = kernel.site(place.pc())?;
        let source = site.source.map_or_else(String::new, |(file, line)| format!(" ({file}:{line})"));
        let threads = if *threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
        Some(format!("{threads} {} PTX line {}{source}", place.does(), site.ptx_line))
    });
    let first = listed.first();
    Some(Finding {
        site: first.and_then(|(place, _)| kernel.site(place.pc())),
        thread: first.map(|(_, (_, thread))| *thread),
        note: [why].into_iter().chain(texts).collect::<Vec<_>>().join("; "),
        ..Finding::new(Kind::Endless, context.launch.work.clone())
    })
}

/// A launch that is stopped between two blocks.
pub(super) fn over_budget(launch: &Launch<'_>, budget: u64, ended: u64, blocks: u64) -> Finding {
    Finding {
        note: format!("stopped after {budget} instructions of warps; {ended} of {blocks} blocks have ended"),
        ..Finding::new(Kind::Endless, launch.work.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Instructions enough for a look.
    const LONG: u64 = INTERVALS.1;

    /// Looks until a sequence that is `before` long and then goes round in `period` steps is found to repeat.
    fn looks(before: u64, period: u64) -> u64 {
        let mut watch = Watch::default();
        for look in 0..1 << 20 {
            let state = if look < before { look } else { before + (look - before) % period };
            watch.round(LONG, 1, 0, || state);
            if watch.repeats(0) {
                return look;
            }
        }
        panic!("never found");
    }

    #[test]
    fn every_cycle_is_found() {
        for before in [0, 1, 5, 100] {
            for period in [1, 2, 3, 7, 64, 100] {
                let found = looks(before, period);
                assert!(
                    found >= before + period && found <= 4 * (before + period) + 4,
                    "{before} {period}: {found}"
                );
            }
        }
    }

    #[test]
    fn what_was_before_a_change_is_forgotten() {
        let mut watch = Watch::default();
        for changes in 1..1000 {
            watch.round(LONG, 1, changes, || 7);
            watch.round(LONG, 1, changes, || 7);
            assert!(!watch.repeats(changes));
        }
    }

    #[test]
    fn a_state_that_is_always_new_does_not_repeat() {
        let mut watch = Watch::default();
        for state in 0..1000 {
            watch.round(LONG, 1, 0, || state);
            assert!(!watch.repeats(0));
        }
    }
}

//! What orders blocks of one kernel, by the PTX manual's chapter "Memory Consistency Model". Only kernels whose blocks run one at a time
//! have strong reads, and with them an order; a block is taken for one thread.
//!
//! - A release pattern on a location is a release operation, or one followed by a strong write of the location, or a release fence
//!   followed by one ("Release and Acquire Patterns"). What it carries lies in the location, for those who read it.
//! - An acquire pattern is an acquire operation, or a strong read followed by one on the same location, or by an acquire fence.
//! - A release synchronizes with an acquire that observes its write, directly or through a chain of atomics, where each is of a scope that
//!   has both threads ("Observation Order", "Memory synchronization"): then what is before the one is before what is after the other
//!   in base causality order.
//! - A strong write is before whatever follows a strong read that has observed it ("Causality order"), without more before it.
//!
//! Accesses and fences of `.cta` scope are nothing to other blocks.

use std::collections::HashMap;

use super::knowledge::{Join, Knowledge, Tree};
use crate::memory::Touched;

/// Strong reads of one value in a row that make a block one that waits.
const WAITING: u32 = 64;

/// What a block touched between two moments at which what it knows, or what it has released, changes.
#[derive(Debug)]
pub(super) struct Interval {
    /// Intervals of a block count from 1.
    pub(super) number: u32,
    /// What happens before it.
    pub(super) knowledge: Knowledge,
    pub(super) touched: Touched,
    /// By address: the location's number, and the last strong write there.
    pub(super) strong: HashMap<u64, (u64, u32)>,
}

/// A word that strong operations use.
#[derive(Debug, Default)]
struct Location {
    number: u64,
    /// What a strong write left there: another value is a weak one's, which carries nothing.
    value: u64,
    /// What those who acquire it hear.
    message: Knowledge,
    /// By block: the strong writes that those who read it observe.
    chain: Tree<u32>,
    /// The block that released here last, and what: a strong write of its after that is a release pattern too.
    released: Option<(u64, Knowledge)>,
}

/// A block's own part.
#[derive(Debug, Default)]
pub(super) struct Own {
    block: u64,
    /// Intervals that have ended.
    ended: u32,
    knowledge: Knowledge,
    /// What strong reads have read that no fence has acquired yet.
    heard: Knowledge,
    /// What the last fence released.
    fenced: Knowledge,
    /// Strong writes so far, and in this interval.
    writes: u32,
    strong: HashMap<u64, (u64, u32)>,
    /// The last interval that a fence ended and that no write has published: it may go on.
    unpublished: Option<Interval>,
    done: Vec<Interval>,
    /// What was read last by a strong read, and how often in a row.
    last_read: (u64, u64),
    repeated: u32,
}

#[derive(Debug, Default)]
pub(super) struct Order {
    locations: HashMap<u64, Location>,
    numbers: u64,
    own: Own,
}

impl Own {
    /// Begins a block.
    pub(super) fn new(block: u64) -> Self {
        Own { block, ..Own::default() }
    }

    /// Ends an interval. One that a fence ends continues the one before where nobody can tell.
    fn end(&mut self, touched: Touched, by_fence: bool) {
        if touched.chunks.is_empty() && self.strong.is_empty() {
            return;
        }
        let strong = std::mem::take(&mut self.strong);
        if by_fence
            && let Some(last) = &mut self.unpublished
            && last.knowledge.is_same(&self.knowledge)
        {
            last.touched.merge(&touched);
            last.strong.extend(strong);
            return;
        }
        self.ended += 1;
        let interval = Interval { number: self.ended, knowledge: self.knowledge.clone(), touched, strong };
        self.done.extend(self.unpublished.replace(interval));
    }

    /// Intervals that have ended and will not change.
    pub(super) fn take_done(&mut self) -> Vec<Interval> {
        std::mem::take(&mut self.done)
    }

    /// What is before this moment: what is known, and the own intervals.
    fn so_far(&self) -> Knowledge {
        let mut knowledge = self.knowledge.clone();
        knowledge.intervals.add(self.block, &self.ended);
        knowledge
    }

    /// What another has released happens before what follows.
    fn acquire(&mut self, message: &Knowledge, take: impl FnOnce() -> Touched) {
        let mut knowledge = self.knowledge.clone();
        if knowledge.join(message) {
            self.end(take(), false);
            self.knowledge = knowledge;
        }
    }
}

impl Order {
    /// Swaps the block's own part with another block's, which runs next.
    pub(super) fn swap(&mut self, other: &mut Own) {
        std::mem::swap(&mut self.own, other);
    }

    /// A fence of the device's scope; `take` gives what was touched until now.
    pub(super) fn fence(&mut self, take: impl FnOnce() -> Touched) {
        let own = &mut self.own;
        own.end(take(), true);
        let heard = std::mem::take(&mut own.heard);
        own.knowledge.join(&heard);
        own.fenced = own.so_far();
    }

    /// A release operation is about to be done.
    pub(super) fn release(&mut self, take: impl FnOnce() -> Touched) {
        self.own.end(take(), true);
    }

    /// The location, where what is there was written by a strong write.
    fn location(&mut self, address: u64, value: u64) -> Option<&mut Location> {
        if self.locations.get(&address)?.value != value {
            // A weak write came between: it is observed by nobody, and carries nothing.
            let location = self.locations.get_mut(&address)?;
            (location.message, location.chain, location.released) = Default::default();
            location.value = value;
        }
        self.locations.get_mut(&address)
    }

    /// A strong read of a value is about to be done. `is_weak` says whether this interval has used the location weakly.
    pub(super) fn read(
        &mut self,
        (address, value): (u64, u64),
        acquires: bool,
        is_weak: bool,
        mut take: impl FnMut() -> Touched,
    ) {
        let own = &mut self.own;
        own.repeated = if own.last_read == (address, value) { own.repeated + 1 } else { 0 };
        own.last_read = (address, value);
        let Some(location) = self.location(address, value) else { return };
        let (number, message, chain) = (location.number, location.message.clone(), location.chain.clone());
        let own = &mut self.own;
        let mut observed = own.knowledge.observed.get(number).cloned().unwrap_or_default();
        if observed.join(&chain) {
            if is_weak {
                own.end(take(), false);
            }
            own.knowledge.observed.add(number, &observed);
        }
        match acquires {
            true => own.acquire(&message, take),
            false => {
                own.heard.join(&message);
            }
        }
    }

    /// An atomic whose result nobody gets is about to be done: it reads nothing, and continues the chain.
    pub(super) fn reduce(&mut self, address: u64, value: u64) {
        self.location(address, value);
    }

    /// A strong write has left a value. An atomic's chain goes on, a store begins another.
    pub(super) fn write(&mut self, (address, value): (u64, u64), atomic: bool, releases: bool) {
        let numbers = &mut self.numbers;
        let location = self.locations.entry(address).or_insert_with(|| {
            *numbers += 1;
            Location { number: *numbers - 1, ..Location::default() }
        });
        let own = &mut self.own;
        own.writes += 1;
        own.strong.insert(address, (location.number, own.writes));
        let mut carried = own.fenced.clone();
        if releases {
            carried = own.so_far();
            location.released = Some((own.block, carried.clone()));
        } else if let Some((block, released)) = &location.released
            && *block == own.block
        {
            carried.join(released);
        }
        if !carried.is_empty() {
            own.done.extend(own.unpublished.take());
        }
        if atomic {
            location.message.join(&carried);
        } else {
            location.message = carried;
            location.chain = Tree::default();
        }
        location.chain.add(own.block, &own.writes);
        location.value = value;
    }

    /// Whether the block reads the same over and over: what it waits for is another's to do.
    pub(super) fn polls(&self) -> bool {
        self.own.repeated >= WAITING
    }

    /// What the block has read last, and how often in a row: it decides when its warps give way.
    pub(super) fn polling(&self) -> impl std::hash::Hash {
        (self.own.last_read, self.own.repeated)
    }

    /// As [`Order::polls`], and others should run now.
    pub(super) fn is_waiting(&mut self) -> bool {
        let waits = self.polls();
        if waits {
            self.own.repeated = 0;
        }
        waits
    }

    /// Ends the block's work.
    pub(super) fn finish(&mut self, touched: Touched) -> Vec<Interval> {
        let own = &mut self.own;
        own.end(touched, false);
        own.done.extend(own.unpublished.take());
        std::mem::take(own).done
    }
}

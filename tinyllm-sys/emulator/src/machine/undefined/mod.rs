//! Values that were read where nobody wrote, or from a lane that takes no part: which bits of a warp's registers they are, until they
//! are overwritten, dropped or used.
//!
//! Pipelines read a stage ahead and drop it, tiles have padding rows that nobody stores, and reductions of a warp's last lanes shuffle
//! what they do not add. So reading is no mistake; what is reported is a use that shows: a store to global memory or an atomic there, an
//! address, a branch, a barrier, a text that is printed.
//!
//! A warp has none of this until a load reads what nobody wrote. From then until its registers hold nothing undefined any more, each
//! of its instructions is looked at before it runs ([`track`]).

mod atomic;
mod load;
mod matrix;
mod report;
mod spread;
mod track;

pub(super) use report::Use;

use std::collections::HashMap;

use super::{context::Culprit, transfer::lanes_of};
use crate::lanes::{Class, LANES, Registers, Slot};

/// A lane's read of bytes that nobody wrote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unwritten {
    /// The read, as it is reported if the value is used.
    pub(super) culprit: Culprit,
    /// The bytes that nobody wrote, a bit each.
    pub(super) missing: u32,
    /// The address of the first of them.
    pub(super) address: u64,
    /// The store that put an undefined value there, if one did.
    pub(super) stored_by: Option<UndefinedStore>,
}

/// A shuffle's read from a lane that has ended or does not execute it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneRead {
    pc: u32,
    warp: u32,
    lane: usize,
    from: u32,
    has_ended: bool,
}

/// A store of an undefined value to shared or local memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct UndefinedStore {
    pub(super) pc: u32,
    /// Where the value comes from, if not from memory.
    pub(super) shuffled: Option<LaneRead>,
}

/// Where an undefined value comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// Memory that nobody wrote.
    Memory(Unwritten),
    /// A lane that takes no part.
    Lane(LaneRead),
}

impl Source {
    /// The instruction and the lane that reads.
    fn reader(&self) -> (u32, usize) {
        match self {
            Source::Memory(Unwritten { culprit, .. }) => (culprit.pc, culprit.lane),
            Source::Lane(LaneRead { pc, lane, .. }) => (*pc, *lane),
        }
    }

    /// The shuffle that the value comes from, through memory too.
    fn shuffled(&self) -> Option<LaneRead> {
        match self {
            Source::Memory(unwritten) => unwritten.stored_by.and_then(|store| store.shuffled),
            Source::Lane(read) => Some(*read),
        }
    }
}

/// A number into [`Undefined::sources`].
type Origin = u32;

/// Sources of one instruction's lane that are told apart: a pipeline holds as many stages of a loop's load.
const KEPT: usize = 8;

/// The class of a register of so many bits.
fn register_class(bits: u32) -> Class {
    if bits == 64 { Class::Pair } else { Class::Row }
}

/// The sources of an instruction's lane, the oldest of [`KEPT`] replaced by the next.
#[derive(Clone, Debug, Default)]
struct Recent {
    origins: Vec<Origin>,
    oldest: usize,
}

/// The undefined bits of a warp's registers.
#[derive(Debug)]
pub(super) struct Undefined {
    /// A bit for each bit of a register; predicates likewise.
    bits: Registers,
    /// The lanes of each row that have any.
    lanes: Vec<u32>,
    /// Where the bits of each row's lanes were read.
    origins: Vec<[Origin; LANES]>,
    predicate_origins: Vec<[Origin; LANES]>,
    /// Rows and predicates that have any.
    held: usize,
    sources: Vec<Source>,
    /// The sources of each instruction's lane.
    recent: HashMap<(u32, usize), Recent>,
    /// Registers to try an instruction in.
    scratch: Registers,
}

impl Undefined {
    pub(super) fn new(rows: u32, predicates: u32) -> Self {
        let (rows, predicates) = (rows as usize, predicates as usize);
        Undefined {
            bits: Registers::new(rows, predicates),
            lanes: vec![0; rows],
            origins: vec![[0; LANES]; rows],
            predicate_origins: vec![[0; LANES]; predicates],
            held: 0,
            sources: Vec::new(),
            recent: HashMap::new(),
            scratch: spread::scratch(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// A store at `pc` of a value of an origin.
    fn store(&self, pc: u32, origin: Origin) -> UndefinedStore {
        let shuffled = self.sources.get(origin as usize).and_then(Source::shuffled);
        UndefinedStore { pc, shuffled }
    }

    /// Notes a source.
    fn origin(&mut self, source: Source) -> Origin {
        let recent = self.recent.entry(source.reader()).or_default();
        if recent.origins.len() < KEPT {
            let origin = self.sources.len() as Origin;
            recent.origins.push(origin);
            self.sources.push(source);
            return origin;
        }
        let origin = recent.origins[recent.oldest];
        recent.oldest = (recent.oldest + 1) % KEPT;
        self.sources[origin as usize] = source;
        origin
    }

    /// The lanes of a register that have undefined bits.
    fn lanes(&self, slot: Slot, class: Class) -> u32 {
        let row = slot.0 as usize;
        match class {
            Class::Row => self.lanes[row],
            Class::Pair => self.lanes[row] | self.lanes[row + 1],
            Class::Predicate => self.bits.predicate(slot),
        }
    }

    /// The undefined bits of a lane of a register.
    fn bits(&self, slot: Slot, class: Class, lane: usize) -> u64 {
        match class {
            Class::Row => u64::from(self.bits.row(slot)[lane]),
            Class::Pair => self.bits.wide(slot)[lane],
            Class::Predicate => u64::from(self.bits.predicate(slot) >> lane & 1),
        }
    }

    /// Where an undefined lane of a register was read.
    fn origin_of(&self, slot: Slot, class: Class, lane: usize) -> Origin {
        let row = slot.0 as usize;
        match class {
            Class::Predicate => self.predicate_origins[row][lane],
            Class::Pair if self.bits.row(slot)[lane] == 0 => self.origins[row + 1][lane],
            Class::Row | Class::Pair => self.origins[row][lane],
        }
    }

    /// Sets the undefined bits of a lane of a register; none makes it defined.
    fn set(&mut self, slot: Slot, class: Class, lane: usize, bits: u64, origin: Origin) {
        match class {
            Class::Row => self.set_row(slot.0, lane, bits as u32, origin),
            Class::Pair => {
                self.set_row(slot.0, lane, bits as u32, origin);
                self.set_row(slot.0 + 1, lane, (bits >> 32) as u32, origin);
            }
            Class::Predicate => {
                let before = self.bits.predicate(slot);
                self.bits.set_predicate(slot, if bits & 1 == 0 { 0 } else { u32::MAX }, 1 << lane);
                self.predicate_origins[slot.0 as usize][lane] = origin;
                self.count(before, self.bits.predicate(slot));
            }
        }
    }

    fn set_row(&mut self, row: u32, lane: usize, bits: u32, origin: Origin) {
        self.bits.row_mut(Slot(row))[lane] = bits;
        self.origins[row as usize][lane] = origin;
        let before = self.lanes[row as usize];
        self.lanes[row as usize] = before & !(1 << lane) | u32::from(bits != 0) << lane;
        self.count(before, self.lanes[row as usize]);
    }

    fn count(&mut self, before: u32, after: u32) {
        self.held = self.held + usize::from(after != 0) - usize::from(before != 0);
    }

    /// Makes lanes of a register defined.
    fn clear(&mut self, slot: Slot, class: Class, mask: u32) {
        for lane in lanes_of(self.lanes(slot, class) & mask) {
            self.set(slot, class, lane, 0, 0);
        }
    }
}

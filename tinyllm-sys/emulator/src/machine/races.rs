//! Races between blocks: what one touched against what those before it did.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use super::{Launch, order::Interval};
use crate::{
    kernel::Op,
    memory::{CHUNK_BYTES, Chunk, Conflict, Touch, Touched},
    report::{Access, Finding, Kind, MemorySpace, Other},
};

/// Most chunks of intervals that are remembered: the oldest are forgotten first, and with them races that they would have.
const MAX_CHUNKS: usize = 1 << 17;

/// Sizes that strong operations have, the largest first.
const SIZES: [u64; 4] = [8, 4, 2, 1];

/// Blocks' touches so far.
#[derive(Debug, Default)]
pub(super) struct Races {
    /// All of them together.
    all: HashMap<u64, Seen>,
    /// One by one, where blocks can be ordered, and who has touched a chunk.
    intervals: VecDeque<(u64, Interval)>,
    /// The number of the first that is not forgotten.
    first: usize,
    by_chunk: HashMap<u64, Vec<usize>>,
    chunks: usize,
    known: HashMap<(u32, u32), usize>,
    findings: Vec<Finding>,
}

#[derive(Debug)]
struct Seen {
    chunk: Box<Chunk>,
    is_written: bool,
}

/// One side of a race.
#[derive(Clone, Copy, Debug)]
struct Side {
    block: u64,
    pc: u32,
    touch: Touch,
}

impl Side {
    fn new(chunk: &Chunk, touch: Touch, byte: u64, block: Option<u64>) -> Option<Self> {
        let trace = chunk.find(touch, byte)?;
        Some(Side { block: block.unwrap_or(trace.block), pc: trace.pc, touch })
    }

    fn access(&self, launch: &Launch<'_>) -> Access {
        match launch.kernel.code.get(self.pc as usize).map(|instruction| &instruction.op) {
            Some(Op::Atomic(_)) => Access::Atomic,
            _ if self.touch.writes() => Access::Write,
            _ => Access::Read,
        }
    }

    /// The access that has a byte: its first address, and its bytes.
    fn range(&self, launch: &Launch<'_>, byte: u64) -> (u64, u64) {
        let instruction = launch.kernel.code.get(self.pc as usize);
        let bytes = instruction.map_or(1, |instruction| instruction.op.access_bytes()).max(1);
        (byte - byte % bytes, bytes)
    }
}

impl Races {
    /// Adds intervals of a block, and looks for what they race with.
    pub(super) fn add(&mut self, launch: &Launch<'_>, block: u64, intervals: Vec<Interval>) {
        for mut interval in intervals {
            interval.touched.chunks.values_mut().for_each(|chunk| chunk.set_block(block));
            if !launch.check.racecheck {
                self.see(interval.touched);
            } else if launch.kernel.ordered {
                self.check_interval(launch, block, &interval);
                self.remember(block, interval);
            } else {
                self.check(launch, block, &interval.touched);
                self.see(interval.touched);
            }
        }
    }

    /// Adds what a block did to all that was done.
    fn see(&mut self, touched: Touched) {
        for (index, chunk) in touched.chunks {
            let is_written = chunk.is_written();
            match self.all.entry(index) {
                Entry::Occupied(seen) => {
                    let seen = seen.into_mut();
                    seen.is_written |= is_written;
                    seen.chunk.merge(&chunk);
                }
                Entry::Vacant(place) => _ = place.insert(Seen { chunk, is_written }),
            }
        }
    }

    fn remember(&mut self, block: u64, interval: Interval) {
        self.see(interval.touched.clone());
        let number = self.first + self.intervals.len();
        for index in interval.touched.chunks.keys() {
            let numbers = self.by_chunk.entry(*index).or_default();
            let forgotten = numbers.partition_point(|number| *number < self.first);
            numbers.drain(..forgotten);
            numbers.push(number);
        }
        self.chunks += interval.touched.chunks.len();
        self.intervals.push_back((block, interval));
        while self.chunks > MAX_CHUNKS
            && let Some((_, oldest)) = self.intervals.pop_front()
        {
            self.chunks -= oldest.touched.chunks.len();
            self.first += 1;
        }
    }

    /// Whether a block's chunk may race with any other's: most memory is only read.
    fn may_race(&self, index: u64, chunk: &Chunk) -> Option<Conflict> {
        let seen = self.all.get(&index)?;
        if !seen.is_written && !chunk.is_written() {
            return None;
        }
        seen.chunk.conflict(chunk)
    }

    fn check(&mut self, launch: &Launch<'_>, block: u64, touched: &Touched) {
        let mut races = Vec::new();
        for (index, chunk) in &touched.chunks {
            let Some(Conflict { byte, touch, other_touch }) = self.may_race(*index, chunk) else { continue };
            let earlier = self.all.get(index).and_then(|seen| Side::new(&seen.chunk, touch, byte, None));
            let later = Side::new(chunk, other_touch, byte, Some(block));
            races.extend(earlier.zip(later).map(|sides| (index * CHUNK_BYTES + byte, sides)));
        }
        self.report_all(launch, races);
    }

    fn check_interval(&mut self, launch: &Launch<'_>, block: u64, later: &Interval) {
        let mut races = Vec::new();
        for (index, chunk) in &later.touched.chunks {
            if self.may_race(*index, chunk).is_none() {
                continue;
            }
            for number in self.by_chunk.get(index).into_iter().flatten() {
                let Some(place) = number.checked_sub(self.first) else { continue };
                let Some((other, earlier)) = self.intervals.get(place) else { continue };
                if *other == block
                    || later.knowledge.has_interval(*other, earlier.number)
                    || earlier.knowledge.has_interval(block, later.number)
                {
                    continue;
                }
                let Some(earlier_chunk) = earlier.touched.chunks.get(index) else { continue };
                // A strong write that was observed is before what follows in causality order.
                let excused = |conflict: &Conflict| {
                    let address = index * CHUNK_BYTES + conflict.byte;
                    (conflict.touch == Touch::Atomic && has_observed(later, *other, earlier, address))
                        || (conflict.other_touch == Touch::Atomic
                            && has_observed(earlier, block, later, address))
                };
                let Some(conflict) = earlier_chunk.conflict_unless(chunk, excused) else { continue };
                let Conflict { byte, touch, other_touch } = conflict;
                let first = Side::new(earlier_chunk, touch, byte, Some(*other));
                let second = Side::new(chunk, other_touch, byte, Some(block));
                races.extend(first.zip(second).map(|sides| (index * CHUNK_BYTES + byte, sides)));
            }
        }
        self.report_all(launch, races);
    }

    fn report_all(&mut self, launch: &Launch<'_>, mut races: Vec<(u64, (Side, Side))>) {
        races.sort_by_key(|(address, (earlier, later))| (*address, earlier.block, earlier.pc, later.pc));
        for (address, (earlier, later)) in races {
            self.report(launch, address, earlier, later);
        }
    }

    fn report(&mut self, launch: &Launch<'_>, byte: u64, earlier: Side, later: Side) {
        let known = match self.known.entry((earlier.pc, later.pc)) {
            Entry::Occupied(known) => Some(*known.get()),
            Entry::Vacant(place) => {
                place.insert(self.findings.len());
                None
            }
        };
        if let Some(known) = known.and_then(|known| self.findings.get_mut(known)) {
            known.count += 1;
            return;
        }
        let (address, bytes) = later.range(launch, byte);
        let (other_address, other_bytes) = earlier.range(launch, byte);
        self.findings.push(Finding {
            site: launch.kernel.site(later.pc),
            access: Some(later.access(launch)),
            space: Some(MemorySpace::Global),
            address: Some(address),
            bytes,
            place: launch.global_place(address),
            other: Some(Other {
                access: earlier.access(launch),
                address: Some(other_address),
                bytes: other_bytes,
                thread: None,
                site: launch.kernel.site(earlier.pc),
                work: Some(format!("block {:?}", launch.block_position(earlier.block))),
            }),
            note: format!("block {:?}; nothing orders the two blocks", launch.block_position(later.block)),
            ..Finding::new(Kind::GlobalRace, launch.work.clone())
        });
    }

    /// What was found, and everything that was touched.
    pub(super) fn finish(self) -> (Vec<Finding>, Touched) {
        let chunks = self.all.into_iter().map(|(index, seen)| (index, seen.chunk));
        (self.findings, Touched { chunks: chunks.collect() })
    }
}

/// Whether an interval comes after an observation of the last strong write that another block did at an address in an interval of its.
fn has_observed(interval: &Interval, writer: u64, writes: &Interval, address: u64) -> bool {
    SIZES.into_iter().any(|size| {
        let strong = writes.strong.get(&(address - address % size));
        strong.is_some_and(|(location, write)| interval.knowledge.has_observed(*location, writer, *write))
    })
}

//! Races between blocks: what one touched against what those before it did.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use super::{Launch, order::Interval};
use crate::{
    memory::{CHUNK_BYTES, Chunk, Touched},
    report::{Access, Finding, Kind, MemorySpace, Other},
};

/// Blocks' touches so far.
#[derive(Debug, Default)]
pub(super) struct Races {
    /// All of them together, and for each chunk the block that wrote and the block that read there last.
    all: HashMap<u64, Seen>,
    /// One by one, where blocks can be ordered.
    intervals: Vec<(u64, Interval)>,
    known: HashSet<(u32, u32)>,
    findings: Vec<Finding>,
}

#[derive(Debug)]
struct Seen {
    chunk: Box<Chunk>,
    is_written: bool,
    reader: u64,
    writer: u64,
}

/// One side of a race.
#[derive(Clone, Copy, Debug)]
struct Side {
    block: u64,
    pc: u32,
    writes: bool,
}

impl Races {
    /// Adds a block's intervals, and looks for what they race with.
    pub(super) fn add(&mut self, launch: &Launch<'_>, block: u64, intervals: Vec<Interval>) {
        if launch.check.racecheck {
            if launch.kernel.ordered {
                self.check_intervals(launch, block, &intervals);
            } else {
                for interval in &intervals {
                    self.check(launch, block, &interval.touched);
                }
            }
        }
        if launch.check.racecheck && launch.kernel.ordered {
            for (index, chunk) in intervals.iter().flat_map(|interval| &interval.touched.chunks) {
                self.see(block, *index, chunk.clone());
            }
            self.intervals.extend(intervals.into_iter().map(|interval| (block, interval)));
        } else {
            for (index, chunk) in intervals.into_iter().flat_map(|interval| interval.touched.chunks) {
                self.see(block, index, chunk);
            }
        }
    }

    /// Adds what a block did to a chunk.
    fn see(&mut self, block: u64, index: u64, chunk: Box<Chunk>) {
        let reads = any(&chunk.read, &chunk.observed).then_some(chunk.reader);
        let writes = any(&chunk.written, &chunk.atomic).then_some(chunk.writer);
        let seen = match self.all.entry(index) {
            Entry::Occupied(seen) => {
                let seen = seen.into_mut();
                seen.chunk.merge(&chunk);
                seen
            }
            Entry::Vacant(place) => place.insert(Seen { chunk, is_written: false, reader: 0, writer: 0 }),
        };
        if let Some(pc) = reads {
            (seen.reader, seen.chunk.reader) = (block, pc);
        }
        if let Some(pc) = writes {
            (seen.is_written, seen.writer, seen.chunk.writer) = (true, block, pc);
        }
    }

    fn check(&mut self, launch: &Launch<'_>, block: u64, touched: &Touched) {
        let mut races = Vec::new();
        for (index, chunk) in &touched.chunks {
            let Some(seen) = self.all.get(index) else { continue };
            // Most memory is only read.
            if !seen.is_written && !any(&chunk.written, &chunk.atomic) {
                continue;
            }
            let Some(conflict) = seen.chunk.conflict(chunk) else { continue };
            let earlier = match conflict.writes {
                true => Side { block: seen.writer, pc: seen.chunk.writer, writes: true },
                false => Side { block: seen.reader, pc: seen.chunk.reader, writes: false },
            };
            races.push((
                index * CHUNK_BYTES + conflict.byte,
                earlier,
                side(block, chunk, conflict.other_writes),
            ));
        }
        races.sort_by_key(|(address, ..)| *address);
        for (address, earlier, later) in races {
            self.report(launch, address, earlier, later);
        }
    }

    fn check_intervals(&mut self, launch: &Launch<'_>, block: u64, intervals: &[Interval]) {
        let mut races = Vec::new();
        for (other, earlier) in &self.intervals {
            for later in intervals.iter().filter(|later| *other != block && !later.is_ordered_with(earlier)) {
                let Some((address, _)) = earlier.touched.conflict(&later.touched) else { continue };
                let index = address / CHUNK_BYTES;
                let chunks = (earlier.touched.chunks.get(&index), later.touched.chunks.get(&index));
                let (Some(first), Some(second)) = chunks else { continue };
                let byte = address % CHUNK_BYTES;
                let writes = |chunk: &Chunk| {
                    (chunk.written[byte as usize / 64] | chunk.atomic[byte as usize / 64]) >> (byte % 64) & 1
                        == 1
                };
                races.push((
                    address,
                    side(*other, first, writes(first)),
                    side(block, second, writes(second)),
                ));
            }
        }
        races.sort_by_key(|(address, ..)| *address);
        for (address, earlier, later) in races {
            self.report(launch, address, earlier, later);
        }
    }

    fn report(&mut self, launch: &Launch<'_>, address: u64, earlier: Side, later: Side) {
        if !self.known.insert((earlier.pc, later.pc)) {
            if let Some(finding) = self.findings.iter_mut().find(|finding| {
                let line = |pc| launch.kernel.site(pc).map(|site| site.ptx_line);
                finding.site.as_ref().map(|site| site.ptx_line) == line(later.pc)
            }) {
                finding.count += 1;
            }
            return;
        }
        let access = |side: Side| if side.writes { Access::Write } else { Access::Read };
        self.findings.push(Finding {
            site: launch.kernel.site(later.pc),
            access: Some(access(later)),
            space: Some(MemorySpace::Global),
            address: Some(address),
            bytes: 1,
            place: launch.space.place(address),
            other: Some(Other {
                access: access(earlier),
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

/// Whether one of two sets has something in it.
fn any(set: &[u64], other: &[u64]) -> bool {
    set.iter().zip(other).fold(0, |all, (word, other)| all | word | other) != 0
}

fn side(block: u64, chunk: &Chunk, writes: bool) -> Side {
    Side { block, pc: if writes { chunk.writer } else { chunk.reader }, writes }
}

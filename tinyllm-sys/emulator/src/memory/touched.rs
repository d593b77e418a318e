//! Which bytes a piece of work read, wrote and changed atomically: one bit a byte, in chunks made when they are first touched.
//! Races are intersections of such sets, and their size is the memory that had to move.

use std::collections::HashMap;

/// Bytes of a chunk.
pub(crate) const CHUNK_BYTES: u64 = 4096;

/// Words of one of a chunk's sets.
const WORDS: usize = (CHUNK_BYTES / 64) as usize;

/// Most instructions of one chunk that are told apart.
const MAX_TRACES: usize = 16;

/// How bytes are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    Read,
    Write,
    /// A strong write: two of them do not race.
    Atomic,
    /// An atomic of the block's scope: to other blocks, a weak read and a weak write.
    BlockAtomic,
    /// A strong read: one that is meant to see others' changes.
    Observe,
}

impl Touch {
    /// Whether it changes the bytes.
    pub(crate) fn writes(self) -> bool {
        matches!(self, Touch::Write | Touch::Atomic | Touch::BlockAtomic)
    }
}

/// Pairs that need an order: one of them writes, and not both are strong.
const CONFLICTS: [(Touch, Touch); 9] = [
    (Touch::Write, Touch::Write),
    (Touch::Write, Touch::Read),
    (Touch::Read, Touch::Write),
    (Touch::Write, Touch::Atomic),
    (Touch::Atomic, Touch::Write),
    (Touch::Read, Touch::Atomic),
    (Touch::Atomic, Touch::Read),
    (Touch::Write, Touch::Observe),
    (Touch::Observe, Touch::Write),
];

/// What one instruction did in a chunk, so that a report can name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) pc: u32,
    pub(crate) touch: Touch,
    /// The first byte and the last.
    first: u16,
    last: u16,
    /// Which bytes of each 64, in all of them together.
    pattern: u64,
    /// The block that did it; the last one where they are too many.
    pub(crate) block: u64,
}

impl Trace {
    fn has(&self, touch: Touch, byte: u64) -> bool {
        self.touch == touch
            && (u64::from(self.first)..=u64::from(self.last)).contains(&byte)
            && self.pattern >> (byte % 64) & 1 == 1
    }

    fn is_same(&self, other: &Trace) -> bool {
        self.pc == other.pc && self.touch == other.touch
    }

    fn extend(&mut self, other: &Trace) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.pattern |= other.pattern;
        self.block = other.block;
    }
}

/// What was done to a chunk's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Bytes read.
    pub(crate) read: [u64; WORDS],
    /// Bytes written.
    pub(crate) written: [u64; WORDS],
    /// Bytes written by strong writes.
    pub(crate) atomic: [u64; WORDS],
    /// Bytes read by strong reads.
    pub(crate) observed: [u64; WORDS],
    /// By which instructions.
    traces: Vec<Trace>,
}

impl Default for Chunk {
    fn default() -> Self {
        Chunk {
            read: [0; WORDS],
            written: [0; WORDS],
            atomic: [0; WORDS],
            observed: [0; WORDS],
            traces: Vec::new(),
        }
    }
}

impl Chunk {
    /// Adds `start .. start + length` of the chunk to one of its sets.
    #[inline(always)]
    pub(crate) fn insert(set: &mut [u64; WORDS], start: u64, length: u64) {
        let (mut at, end) = (start, start + length);
        while at < end {
            let (first, count) = (at % 64, (64 - at % 64).min(end - at));
            set[(at / 64) as usize % WORDS] |= (u64::MAX >> (64 - count)) << first;
            at += count;
        }
    }

    /// The set of bytes that are used so.
    #[inline(always)]
    pub(crate) fn set(&mut self, touch: Touch) -> &mut [u64; WORDS] {
        match touch {
            Touch::Read => &mut self.read,
            Touch::Write | Touch::BlockAtomic => &mut self.written,
            Touch::Atomic => &mut self.atomic,
            Touch::Observe => &mut self.observed,
        }
    }

    /// The number of an instruction's trace, made where there is none.
    pub(crate) fn trace(&mut self, touch: Touch, pc: u32) -> usize {
        let known = self.traces.iter().position(|trace| trace.pc == pc && trace.touch == touch);
        known.unwrap_or_else(|| {
            self.traces.push(Trace { pc, touch, first: u16::MAX, last: 0, pattern: 0, block: 0 });
            self.traces.len() - 1
        })
    }

    /// Adds `start .. start + length`, which is not empty, to the trace of a number, and to its set.
    #[inline(always)]
    pub(crate) fn touch(&mut self, touch: Touch, trace: usize, start: u64, length: u64) {
        if let Some(trace) = self.traces.get_mut(trace) {
            trace.first = trace.first.min(start as u16);
            trace.last = trace.last.max((start + length - 1) as u16);
            trace.pattern |= (u64::MAX >> (64 - length.min(64))).rotate_left(start as u32 % 64);
        }
        Chunk::insert(self.set(touch), start, length);
    }

    /// Which instruction used a byte so.
    pub(crate) fn find(&self, touch: Touch, byte: u64) -> Option<&Trace> {
        // The one of the fewest bytes is the likeliest where several may have.
        let traces = self.traces.iter().filter(|trace| trace.has(touch, byte));
        traces.min_by_key(|trace| trace.last - trace.first)
    }

    /// All of it was done by a block.
    pub(crate) fn set_block(&mut self, block: u64) {
        self.traces.iter_mut().for_each(|trace| trace.block = block);
    }

    /// Whether any byte is written.
    pub(crate) fn is_written(&self) -> bool {
        self.written.iter().chain(&self.atomic).fold(0, |all, word| all | word) != 0
    }

    /// Whether a byte is used by a weak access.
    pub(crate) fn is_weak(&self, byte: u64) -> bool {
        let word = (byte / 64) as usize % WORDS;
        (self.read[word] | self.written[word]) >> (byte % 64) & 1 == 1
    }

    /// The first byte of the chunk where what `self` did and what `other` did needs an order.
    pub(crate) fn conflict(&self, other: &Chunk) -> Option<Conflict> {
        self.conflict_unless(other, |_| false)
    }

    /// The same without what is excused.
    pub(crate) fn conflict_unless(
        &self,
        other: &Chunk,
        excused: impl Fn(&Conflict) -> bool,
    ) -> Option<Conflict> {
        for word in 0..WORDS {
            let (mine, theirs) = (self.word(word), other.word(word));
            let mut both = mine.conflicts_with(&theirs) | theirs.conflicts_with(&mine);
            while both != 0 {
                let bit = both.trailing_zeros();
                both &= both - 1;
                let has = |word: &Word, touch| word.of(touch) >> bit & 1 == 1;
                for (touch, other_touch) in CONFLICTS {
                    let conflict = Conflict { byte: word as u64 * 64 + u64::from(bit), touch, other_touch };
                    if has(&mine, touch) && has(&theirs, other_touch) && !excused(&conflict) {
                        return Some(conflict);
                    }
                }
            }
        }
        None
    }

    fn word(&self, word: usize) -> Word {
        Word {
            read: self.read[word],
            written: self.written[word],
            atomic: self.atomic[word],
            observed: self.observed[word],
        }
    }

    /// Adds what another did.
    pub(crate) fn merge(&mut self, other: &Chunk) {
        for (set, from) in [
            (&mut self.read, &other.read),
            (&mut self.written, &other.written),
            (&mut self.atomic, &other.atomic),
            (&mut self.observed, &other.observed),
        ] {
            set.iter_mut().zip(from).for_each(|(word, from)| *word |= from);
        }
        for trace in &other.traces {
            let full = self.traces.len() >= MAX_TRACES;
            let known = self
                .traces
                .iter_mut()
                .find(|known| known.is_same(trace) && (full || known.block == trace.block));
            match known {
                Some(known) => known.extend(trace),
                None if !full => self.traces.push(*trace),
                None => {}
            }
        }
    }

    /// Bytes read or changed, and bytes written or changed.
    pub(crate) fn unique_bytes(&self) -> (u64, u64) {
        (0..WORDS).map(|word| self.word(word)).fold((0, 0), |(reads, writes), word| {
            let ones = |bits: u64| u64::from(bits.count_ones());
            (reads + ones(word.read | word.observed | word.atomic), writes + ones(word.written | word.atomic))
        })
    }
}

/// 64 bytes of a chunk.
#[derive(Clone, Copy)]
struct Word {
    read: u64,
    written: u64,
    atomic: u64,
    observed: u64,
}

impl Word {
    /// Bytes that `self` changes and the other uses, unless both are strong.
    fn conflicts_with(&self, other: &Word) -> u64 {
        (self.written & (other.read | other.written | other.atomic | other.observed))
            | (self.atomic & other.read)
    }

    fn of(&self, touch: Touch) -> u64 {
        match touch {
            Touch::Read => self.read,
            Touch::Write | Touch::BlockAtomic => self.written,
            Touch::Atomic => self.atomic,
            Touch::Observe => self.observed,
        }
    }
}

/// A byte that two pieces of work use in ways that need an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The byte in its chunk.
    pub(crate) byte: u64,
    /// What the first of the two does to it.
    pub(crate) touch: Touch,
    /// What the other does.
    pub(crate) other_touch: Touch,
}

/// Everything a piece of work touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// By address divided by [`CHUNK_BYTES`].
    pub(crate) chunks: HashMap<u64, Box<Chunk>>,
}

impl Touched {
    /// A chunk, made where there is none.
    pub(crate) fn chunk(&mut self, index: u64) -> &mut Chunk {
        self.chunks.entry(index).or_default()
    }

    /// The lowest address where two need an order.
    pub(crate) fn conflict(&self, other: &Touched) -> Option<(u64, Conflict)> {
        let (small, large) =
            if self.chunks.len() <= other.chunks.len() { (self, other) } else { (other, self) };
        let shared = small.chunks.keys().filter(|index| large.chunks.contains_key(index));
        let conflicts = shared.filter_map(|index| {
            let conflict = self.chunks.get(index)?.conflict(other.chunks.get(index)?)?;
            Some((index * CHUNK_BYTES + conflict.byte, conflict))
        });
        conflicts.min_by_key(|(address, _)| *address)
    }

    /// Adds what another touched.
    pub(crate) fn merge(&mut self, other: &Touched) {
        for (index, chunk) in &other.chunks {
            self.chunk(*index).merge(chunk);
        }
    }

    /// Bytes read, and bytes written, each counted once.
    pub(crate) fn unique_bytes(&self) -> (u64, u64) {
        self.chunks.values().map(|chunk| chunk.unique_bytes()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn readers_agree_and_a_writer_does_not() {
        let (mut a, mut b) = (Touched::default(), Touched::default());
        let read = |touched: &mut Touched, chunk, start, bytes| {
            Chunk::insert(&mut touched.chunk(chunk).read, start, bytes);
        };
        read(&mut a, 0, 4090, 6);
        read(&mut a, 1, 0, 14);
        read(&mut b, 0, 4000, 96);
        read(&mut b, 1, 0, 104);
        assert_eq!(a.conflict(&b), None);
        Chunk::insert(&mut b.chunk(1).written, 9, 1);
        let (address, conflict) = a.conflict(&b).unwrap();
        assert_eq!((address, conflict.touch, conflict.other_touch), (4105, Touch::Read, Touch::Write));
        assert_eq!((a.unique_bytes(), b.unique_bytes()), ((20, 0), (200, 1)));
    }
}

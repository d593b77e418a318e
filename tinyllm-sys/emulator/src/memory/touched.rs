//! Which bytes a piece of work read, wrote and changed atomically: one bit a byte, in chunks made when they are first touched.
//! Races are intersections of such sets, and their size is the memory that had to move.

use std::collections::HashMap;

/// Bytes of a chunk.
pub(crate) const CHUNK_BYTES: u64 = 4096;

/// Words of one of a chunk's sets.
const WORDS: usize = (CHUNK_BYTES / 64) as usize;

/// What was done to a chunk's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Bytes read.
    pub(crate) read: [u64; WORDS],
    /// Bytes written.
    pub(crate) written: [u64; WORDS],
    /// Bytes changed atomically.
    pub(crate) atomic: [u64; WORDS],
    /// Bytes read by loads that are meant to see others' changes.
    pub(crate) observed: [u64; WORDS],
    /// The instruction that read here last.
    pub(crate) reader: u32,
    /// The instruction that wrote or changed here last.
    pub(crate) writer: u32,
}

impl Default for Chunk {
    fn default() -> Self {
        Chunk {
            read: [0; WORDS],
            written: [0; WORDS],
            atomic: [0; WORDS],
            observed: [0; WORDS],
            reader: 0,
            writer: 0,
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

    /// The first byte of the chunk where what `self` did and what `other` did is not both reading or both atomic.
    pub(crate) fn conflict(&self, other: &Chunk) -> Option<Conflict> {
        (0..WORDS).find_map(|word| {
            let (mine, theirs) = (self.word(word), other.word(word));
            let both = mine.conflicts_with(&theirs) | theirs.conflicts_with(&mine);
            (both != 0).then(|| {
                let bit = both.trailing_zeros();
                Conflict {
                    byte: word as u64 * 64 + u64::from(bit),
                    writes: (mine.written | mine.atomic) >> bit & 1 == 1,
                    other_writes: (theirs.written | theirs.atomic) >> bit & 1 == 1,
                }
            })
        })
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
        self.reader = self.reader.max(other.reader);
        self.writer = self.writer.max(other.writer);
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
    /// Bytes that `self` changes and the other uses, unless both are atomic.
    fn conflicts_with(&self, other: &Word) -> u64 {
        (self.written & (other.read | other.written | other.atomic | other.observed))
            | (self.atomic & other.read)
    }
}

/// A byte that two pieces of work use in ways that need an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The byte in its chunk.
    pub(crate) byte: u64,
    /// Whether the first of the two changes it.
    pub(crate) writes: bool,
    /// Whether the other does.
    pub(crate) other_writes: bool,
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
        assert_eq!((address, conflict.writes, conflict.other_writes), (4105, false, true));
        assert_eq!((a.unique_bytes(), b.unique_bytes()), ((20, 0), (200, 1)));
    }
}

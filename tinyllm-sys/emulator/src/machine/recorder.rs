//! What a block touches in global memory, noted quickly: chunks in a list, and a small table of those used last.

use std::collections::HashMap;

use crate::memory::{CHUNK_BYTES, Chunk, Touched};

/// Entries of the table.
const RECENT: usize = 64;

/// How a range is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    Read,
    Write,
    Atomic,
    /// A read that is meant to see others' changes.
    Observe,
}

/// A set of [`Touched`] bytes under construction.
#[derive(Debug)]
pub(super) struct Recorder {
    chunks: Vec<(u64, Box<Chunk>)>,
    index: HashMap<u64, u32>,
    recent: [(u64, u32); RECENT],
}

impl Recorder {
    pub(super) fn new() -> Self {
        Recorder { chunks: Vec::new(), index: HashMap::new(), recent: [(u64::MAX, 0); RECENT] }
    }

    /// Adds a range.
    #[inline(always)]
    pub(super) fn touch(&mut self, touch: Touch, address: u64, bytes: u64, pc: u32) {
        let (mut at, end) = (address, address + bytes);
        while at < end {
            let count = (CHUNK_BYTES - at % CHUNK_BYTES).min(end - at);
            let chunk = self.chunk(at / CHUNK_BYTES);
            let set = match touch {
                Touch::Read => {
                    chunk.reader = pc;
                    &mut chunk.read
                }
                Touch::Write => {
                    chunk.writer = pc;
                    &mut chunk.written
                }
                Touch::Observe => {
                    chunk.reader = pc;
                    &mut chunk.observed
                }
                Touch::Atomic => {
                    chunk.writer = pc;
                    &mut chunk.atomic
                }
            };
            Chunk::insert(set, at % CHUNK_BYTES, count);
            at += count;
        }
    }

    #[inline(always)]
    fn chunk(&mut self, index: u64) -> &mut Chunk {
        let recent = &mut self.recent[index as usize % RECENT];
        if recent.0 != index {
            let chunks = &mut self.chunks;
            let position = *self.index.entry(index).or_insert_with(|| {
                chunks.push((index, Box::default()));
                chunks.len() as u32 - 1
            });
            *recent = (index, position);
        }
        &mut self.chunks[recent.1 as usize].1
    }

    /// Takes what was recorded, and resets.
    pub(super) fn take(&mut self) -> Touched {
        self.index.clear();
        self.recent = [(u64::MAX, 0); RECENT];
        Touched { chunks: self.chunks.drain(..).collect() }
    }
}

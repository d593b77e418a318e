//! What a block touches in global memory, noted quickly: chunks in a list, and a small table of those used last.

use std::collections::HashMap;

pub(super) use crate::memory::Touch;
use crate::memory::{CHUNK_BYTES, Chunk, Touched};

/// Entries of the table.
const RECENT: usize = 256;

/// An instruction's part of a chunk.
#[derive(Clone, Copy, Debug)]
struct Recent {
    index: u64,
    pc: u32,
    touch: Touch,
    /// Numbers of the chunk and of its trace.
    chunk: u32,
    trace: u32,
}

const NOWHERE: Recent = Recent { index: u64::MAX, pc: 0, touch: Touch::Read, chunk: 0, trace: 0 };

/// A set of [`Touched`] bytes under construction.
#[derive(Debug)]
pub(super) struct Recorder {
    chunks: Vec<(u64, Box<Chunk>)>,
    index: HashMap<u64, u32>,
    recent: [Recent; RECENT],
}

impl Recorder {
    pub(super) fn new() -> Self {
        Recorder { chunks: Vec::new(), index: HashMap::new(), recent: [NOWHERE; RECENT] }
    }

    /// Adds a range.
    #[inline(always)]
    pub(super) fn touch(&mut self, touch: Touch, address: u64, bytes: u64, pc: u32) {
        if touch == Touch::BlockAtomic {
            self.touch_chunks(Touch::Read, address, bytes, pc);
            return self.touch_chunks(Touch::Write, address, bytes, pc);
        }
        self.touch_chunks(touch, address, bytes, pc);
    }

    #[inline(always)]
    fn touch_chunks(&mut self, touch: Touch, address: u64, bytes: u64, pc: u32) {
        let (mut at, end) = (address, address + bytes);
        while at < end {
            let count = (CHUNK_BYTES - at % CHUNK_BYTES).min(end - at);
            let recent = self.recent(at / CHUNK_BYTES, touch, pc);
            let chunk = &mut self.chunks[recent.chunk as usize].1;
            chunk.touch(touch, recent.trace as usize, at % CHUNK_BYTES, count);
            at += count;
        }
    }

    /// Where an instruction's part of a chunk is.
    #[inline(always)]
    fn recent(&mut self, index: u64, touch: Touch, pc: u32) -> Recent {
        let place = (index as usize).wrapping_mul(31).wrapping_add(pc as usize) % RECENT;
        let recent = &mut self.recent[place];
        if recent.index != index || recent.pc != pc || recent.touch != touch {
            let chunks = &mut self.chunks;
            let chunk = *self.index.entry(index).or_insert_with(|| {
                chunks.push((index, Box::default()));
                chunks.len() as u32 - 1
            });
            let trace = self.chunks[chunk as usize].1.trace(touch, pc) as u32;
            *recent = Recent { index, pc, touch, chunk, trace };
        }
        *recent
    }

    /// Whether a byte is used by a weak access.
    pub(super) fn is_weak(&self, address: u64) -> bool {
        let chunk = self.index.get(&(address / CHUNK_BYTES)).map(|chunk| &self.chunks[*chunk as usize].1);
        chunk.is_some_and(|chunk| chunk.is_weak(address % CHUNK_BYTES))
    }

    /// Takes what was recorded, and resets.
    pub(super) fn take(&mut self) -> Touched {
        if self.chunks.is_empty() {
            return Touched::default();
        }
        self.index.clear();
        self.recent = [NOWHERE; RECENT];
        Touched { chunks: self.chunks.drain(..).collect() }
    }
}

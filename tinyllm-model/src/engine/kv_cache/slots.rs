//! The memory of all sequences, taken at start: what a sequence is made of lies in its slot, so that creating, forking,
//! cutting and freeing one allocates nothing.

use std::ops::Range;

use tinyllm_mem::{Buffer, Category, Part};

use super::CacheShape;
use crate::sampling::SamplerScratch;

/// Sizes of the parts, in words of 4 bytes.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// `[max_sequences, max_seq_len]`.
    token_ids: usize,
    /// `[max_sequences, blocks_per_sequence]`.
    block_tables: usize,
    /// Of the one sequence whose next token is being chosen.
    sampling: usize,
}

impl Sizes {
    /// `None` where they are too large to be counted in bytes.
    fn new(shape: &CacheShape) -> Option<Self> {
        let sizes = Sizes {
            token_ids: shape.max_sequences.checked_mul(shape.max_seq_len)?,
            block_tables: shape.max_sequences.checked_mul(shape.blocks_per_sequence())?,
            sampling: SamplerScratch::words(shape.vocab_size)?,
        };
        let words = sizes.token_ids.checked_add(sizes.block_tables)?.checked_add(sizes.sampling)?;
        words.checked_mul(size_of::<u32>()).and(Some(sizes))
    }
}

/// The parts of the slots' slab, one after another; `None` where their size is no number.
pub(crate) fn parts(shape: &CacheShape) -> Option<[Part; 3]> {
    let sizes = Sizes::new(shape)?;
    let part = |name, words| Part::new(Category::Slots, name, words * size_of::<u32>());
    Some([
        part("token_ids", sizes.token_ids),
        part("block_tables", sizes.block_tables),
        part("sampling", sizes.sampling),
    ])
}

/// A slot for each sequence at once, in one slab.
#[derive(Debug)]
pub(super) struct Slots {
    memory: Buffer<u32>,
    max_seq_len: usize,
    blocks_per_sequence: usize,
    tables_start: usize,
    sampling_start: usize,
}

impl Slots {
    /// Slots in `memory`, whose parts are [`parts`] of the same shape.
    pub(super) fn new(shape: &CacheShape, memory: Buffer<u32>) -> Self {
        let tables_start = shape.max_sequences * shape.max_seq_len;
        Slots {
            memory,
            max_seq_len: shape.max_seq_len,
            blocks_per_sequence: shape.blocks_per_sequence(),
            tables_start,
            sampling_start: tables_start + shape.max_sequences * shape.blocks_per_sequence(),
        }
    }

    fn token_range(&self, slot: usize) -> Range<usize> {
        slot * self.max_seq_len..(slot + 1) * self.max_seq_len
    }

    fn table_range(&self, slot: usize) -> Range<usize> {
        let start = self.tables_start + slot * self.blocks_per_sequence;
        start..start + self.blocks_per_sequence
    }

    /// Room for the token ids of a slot, `[max_seq_len]`.
    pub(super) fn tokens(&self, slot: usize) -> &[u32] {
        &self.memory.as_slice()[self.token_range(slot)]
    }

    pub(super) fn tokens_mut(&mut self, slot: usize) -> &mut [u32] {
        let range = self.token_range(slot);
        &mut self.memory.as_mut_slice()[range]
    }

    /// Room for the block table of a slot, `[blocks_per_sequence]`.
    pub(super) fn table(&self, slot: usize) -> &[u32] {
        &self.memory.as_slice()[self.table_range(slot)]
    }

    pub(super) fn table_mut(&mut self, slot: usize) -> &mut [u32] {
        let range = self.table_range(slot);
        &mut self.memory.as_mut_slice()[range]
    }

    /// Copies the first tokens and the first blocks of one slot to another.
    pub(super) fn copy(&mut self, from: usize, to: usize, tokens: usize, blocks: usize) {
        for (from, to, count) in [
            (self.token_range(from).start, self.token_range(to).start, tokens),
            (self.table_range(from).start, self.table_range(to).start, blocks),
        ] {
            self.memory.as_mut_slice().copy_within(from..from + count, to);
        }
    }

    /// A slot's token ids, and the memory in which a token is chosen.
    pub(super) fn sampling(&mut self, slot: usize) -> (&[u32], SamplerScratch<'_>) {
        let tokens = self.token_range(slot);
        let (slots, sampling) = self.memory.as_mut_slice().split_at_mut(self.sampling_start);
        (&slots[tokens], SamplerScratch::new(sampling))
    }
}

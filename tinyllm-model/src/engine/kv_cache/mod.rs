//! Who holds which blocks of the KV cache: sequences with block tables over one pool, prefixes shared, copied when written.
//! What a sequence is made of lies in its slot (`slots`).
//!
//! Only numbers live here. The bytes are the backend's; copies that must happen before a write are handed to the caller.

mod id;
mod reservation;
mod sequence;
mod slots;
#[cfg(test)]
mod tests;

use tinyllm_kernels::BlockCopy;
use tinyllm_mem::{BlockPool, Buffer};

pub use self::id::SequenceId;
pub(crate) use self::slots::parts as slot_parts;
use self::{reservation::Taken, sequence::Sequence, slots::Slots};
use crate::{ModelError, Result, sampling::SamplerScratch};

/// Sizes of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CacheShape {
    pub(crate) blocks: usize,
    pub(crate) block_tokens: usize,
    pub(crate) max_seq_len: usize,
    pub(crate) max_sequences: usize,
    pub(crate) vocab_size: usize,
    /// How many keys a query sees, where every layer has a window.
    pub(crate) window: Option<usize>,
}

impl CacheShape {
    /// Entries of a block table.
    pub(crate) fn blocks_per_sequence(&self) -> usize {
        self.max_seq_len.div_ceil(self.block_tokens)
    }
}

/// Sequences over one pool of blocks.
#[derive(Debug)]
pub(crate) struct KvCache {
    shape: CacheShape,
    pool: BlockPool,
    slots: Slots,
    /// By slot.
    sequences: Vec<Option<Sequence>>,
    /// What the step that is being run has taken, and what it copies: see `reservation`.
    taken: Vec<Taken>,
    copies: Vec<BlockCopy>,
}

impl KvCache {
    /// A cache without sequences; `slots` has the parts that [`slot_parts`] names.
    pub(crate) fn new(shape: CacheShape, slots: Buffer<u32>) -> Self {
        KvCache {
            shape,
            pool: BlockPool::new(shape.blocks as u32),
            slots: Slots::new(&shape, slots),
            sequences: vec![None; shape.max_sequences],
            taken: Vec::with_capacity(shape.max_sequences),
            copies: Vec::with_capacity(shape.max_sequences),
        }
    }

    pub(crate) fn max_seq_len(&self) -> usize {
        self.shape.max_seq_len
    }

    pub(crate) fn max_sequences(&self) -> usize {
        self.shape.max_sequences
    }

    /// Tokens of a block.
    pub(crate) fn block_tokens(&self) -> usize {
        self.shape.block_tokens
    }

    /// Entries of a block table.
    pub(crate) fn blocks_per_sequence(&self) -> usize {
        self.shape.blocks_per_sequence()
    }

    pub(crate) fn free_blocks(&self) -> usize {
        self.pool.free_blocks()
    }

    /// A new sequence without tokens.
    ///
    /// # Errors
    /// [`ModelError::TooManySequences`] where there are as many as fit.
    pub(crate) fn create(&mut self) -> Result<SequenceId> {
        let id = SequenceId::new(self.free_slot()?);
        self.sequences[id.slot()] = Some(Sequence::new(id));
        Ok(id)
    }

    fn free_slot(&self) -> Result<usize> {
        let slot = self.sequences.iter().position(Option::is_none);
        slot.ok_or(ModelError::TooManySequences { limit: self.sequences.len() })
    }

    /// A sequence of the first `length` tokens of `source`, with the blocks that hold them and no other: one more holds
    /// each.
    fn create_from(&mut self, source: Sequence, length: usize) -> Result<SequenceId> {
        let id = SequenceId::new(self.free_slot()?);
        let length = length.min(source.length);
        let blocks = length.div_ceil(self.shape.block_tokens).min(source.blocks);
        self.slots.copy(source.id.slot(), id.slot(), length, blocks);
        let sequence = Sequence { id, length, blocks, released: source.released.min(blocks) };
        sequence.live_blocks(&self.slots).for_each(|block| self.pool.retain(block));
        self.sequences[id.slot()] = Some(sequence);
        Ok(id)
    }

    /// A sequence that begins with the longest prefix of `tokens` that is in the cache already, and how long that is.
    /// Blocks are shared, not copied.
    ///
    /// # Errors
    /// As [`KvCache::create`].
    pub(crate) fn create_with_prefix(&mut self, tokens: &[u32]) -> Result<(SequenceId, usize)> {
        let whole = self.sequences.iter().flatten().filter(|sequence| sequence.released == 0);
        let common = whole.map(|sequence| (sequence.common_prefix(&self.slots, tokens), *sequence));
        match common.max_by_key(|(common, _)| *common).filter(|(common, _)| *common > 0) {
            Some((common, source)) => Ok((self.create_from(source, common)?, common)),
            None => Ok((self.create()?, 0)),
        }
    }

    /// A second sequence with the same tokens, sharing every block until one of them writes.
    ///
    /// # Errors
    /// As [`KvCache::create`]; [`ModelError::UnknownSequence`].
    pub(crate) fn fork(&mut self, id: SequenceId) -> Result<SequenceId> {
        self.create_from(*self.get(id)?, usize::MAX)
    }

    /// Gives a sequence's blocks back.
    ///
    /// # Errors
    /// [`ModelError::UnknownSequence`].
    pub(crate) fn free(&mut self, id: SequenceId) -> Result<()> {
        let sequence = *self.get(id)?;
        sequence.live_blocks(&self.slots).for_each(|block| _ = self.pool.release(block));
        self.sequences[id.slot()] = None;
        Ok(())
    }

    /// Forgets tokens from `length` on, and returns how many are left: none, where the window no longer reaches what the
    /// next token would need.
    ///
    /// # Errors
    /// [`ModelError::UnknownSequence`].
    pub(crate) fn truncate(&mut self, id: SequenceId, length: usize) -> Result<usize> {
        let mut sequence = *self.get(id)?;
        let length = length.min(sequence.length);
        let first_needed = self.shape.window.map_or(0, |window| (length + 1).saturating_sub(window));
        let length = if sequence.released > first_needed / self.shape.block_tokens { 0 } else { length };
        sequence.cut(length, &self.shape, &self.slots, &mut self.pool);
        self.sequences[id.slot()] = Some(sequence);
        Ok(length)
    }

    /// The tokens of a sequence.
    ///
    /// # Errors
    /// [`ModelError::UnknownSequence`].
    pub(crate) fn tokens(&self, id: SequenceId) -> Result<&[u32]> {
        Ok(self.get(id)?.tokens(&self.slots))
    }

    /// The first `length` tokens of a sequence, and the memory in which the next one is chosen.
    ///
    /// # Errors
    /// [`ModelError::UnknownSequence`].
    pub(crate) fn sampling(&mut self, id: SequenceId, length: usize) -> Result<(&[u32], SamplerScratch<'_>)> {
        let length = length.min(self.get(id)?.length);
        let (tokens, scratch) = self.slots.sampling(id.slot());
        Ok((&tokens[..length], scratch))
    }

    /// Writes a sequence's block table into `row`. Entries of blocks given back keep a number that is in the cache; no
    /// query reads them.
    ///
    /// # Errors
    /// [`ModelError::UnknownSequence`].
    pub(crate) fn block_table(&self, id: SequenceId, row: &mut [u32]) -> Result<()> {
        for (entry, block) in row.iter_mut().zip(self.get(id)?.table(&self.slots)) {
            *entry = *block;
        }
        Ok(())
    }

    fn get(&self, id: SequenceId) -> Result<&Sequence> {
        let sequence = self.sequences.get(id.slot()).and_then(Option::as_ref);
        sequence.filter(|sequence| sequence.id == id).ok_or(ModelError::UnknownSequence)
    }
}

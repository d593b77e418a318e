//! Who holds which blocks of the KV cache: sequences with block tables over one pool, prefixes shared, copied when written.
//!
//! Only numbers live here. The bytes are the backend's; copies that must happen before a write are handed to the caller.

mod id;
mod reservation;
mod sequence;
#[cfg(test)]
mod tests;

use tinyllm_mem::BlockPool;

pub use self::id::SequenceId;
use self::{reservation::Taken, sequence::Sequence};
use crate::{ModelError, Result};

/// Sizes of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CacheShape {
    pub(crate) blocks: usize,
    pub(crate) block_tokens: usize,
    pub(crate) max_seq_len: usize,
    pub(crate) max_sequences: usize,
    /// How many keys a query sees, where every layer has a window.
    pub(crate) window: Option<usize>,
}

impl CacheShape {
    /// Entries of a block table.
    fn blocks_per_sequence(&self) -> usize {
        self.max_seq_len.div_ceil(self.block_tokens)
    }
}

/// Sequences over one pool of blocks.
#[derive(Debug)]
pub(crate) struct KvCache {
    shape: CacheShape,
    pool: BlockPool,
    sequences: Vec<Option<(SequenceId, Sequence)>>,
    /// What the step that is being run has taken, and what it copies: see `reservation`.
    taken: Vec<Taken>,
    copies: Vec<(u32, u32)>,
}

impl KvCache {
    pub(crate) fn new(shape: CacheShape) -> Self {
        KvCache {
            shape,
            pool: BlockPool::new(shape.blocks as u32),
            sequences: (0..shape.max_sequences).map(|_| None).collect(),
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
    /// [`ModelError::Request`] where there are as many as fit.
    pub(crate) fn create(&mut self) -> Result<SequenceId> {
        self.insert(Sequence::new(&self.shape))
    }

    /// One more holds each of the sequence's blocks.
    fn insert(&mut self, sequence: Sequence) -> Result<SequenceId> {
        let Some(slot) = self.sequences.iter().position(Option::is_none) else {
            return Err(ModelError::Request(format!(
                "{} sequences are there already, as many as the batch size allows",
                self.sequences.len()
            )));
        };
        sequence.live_blocks().iter().for_each(|block| self.pool.retain(*block));
        let id = SequenceId::new(slot);
        self.sequences[slot] = Some((id, sequence));
        Ok(id)
    }

    /// A sequence that begins with the longest prefix of `tokens` that is in the cache already, and how long that is.
    /// Blocks are shared, not copied.
    ///
    /// # Errors
    /// As [`KvCache::create`].
    pub(crate) fn create_with_prefix(&mut self, tokens: &[u32]) -> Result<(SequenceId, usize)> {
        let sequences = self.sequences.iter().flatten().map(|(_, sequence)| sequence);
        let whole = sequences.filter(|sequence| sequence.released == 0);
        let best = whole.map(|sequence| (sequence.common_prefix(tokens), sequence)).max_by_key(|best| best.0);
        let Some((common, source)) = best.filter(|(common, _)| *common > 0) else {
            return Ok((self.create()?, 0));
        };
        Ok((self.insert(source.prefix(common, &self.shape))?, common))
    }

    /// A second sequence with the same tokens, sharing every block until one of them writes.
    ///
    /// # Errors
    /// As [`KvCache::create`]; [`ModelError::UnknownSequence`].
    pub(crate) fn fork(&mut self, id: SequenceId) -> Result<SequenceId> {
        let copy = self.get(id)?.prefix(usize::MAX, &self.shape);
        self.insert(copy)
    }

    /// Gives a sequence's blocks back.
    ///
    /// # Errors
    /// [`ModelError::UnknownSequence`].
    pub(crate) fn free(&mut self, id: SequenceId) -> Result<()> {
        let slot = self.sequences.get_mut(id.slot()).and_then(|slot| slot.take_if(|(own, _)| *own == id));
        let (_, sequence) = slot.ok_or(ModelError::UnknownSequence)?;
        sequence.live_blocks().iter().for_each(|block| _ = self.pool.release(*block));
        Ok(())
    }

    /// Forgets tokens from `length` on, and returns how many are left: none, where the window no longer reaches what the
    /// next token would need.
    ///
    /// # Errors
    /// [`ModelError::UnknownSequence`].
    pub(crate) fn truncate(&mut self, id: SequenceId, length: usize) -> Result<usize> {
        let sequence = self.sequences.get_mut(id.slot()).and_then(Option::as_mut);
        let (_, sequence) = sequence.filter(|(own, _)| *own == id).ok_or(ModelError::UnknownSequence)?;
        let length = length.min(sequence.tokens.len());
        let first_needed = self.shape.window.map_or(0, |window| (length + 1).saturating_sub(window));
        let length = if sequence.released > first_needed / self.shape.block_tokens { 0 } else { length };
        sequence.cut(length, &self.shape, &mut self.pool);
        Ok(length)
    }

    /// The tokens of a sequence.
    ///
    /// # Errors
    /// [`ModelError::UnknownSequence`].
    pub(crate) fn tokens(&self, id: SequenceId) -> Result<&[u32]> {
        Ok(&self.get(id)?.tokens)
    }

    /// Writes a sequence's block table into `row`. Entries of blocks given back keep a number that is in the cache; no
    /// query reads them.
    ///
    /// # Errors
    /// [`ModelError::UnknownSequence`].
    pub(crate) fn block_table(&self, id: SequenceId, row: &mut [u32]) -> Result<()> {
        for (entry, block) in row.iter_mut().zip(&self.get(id)?.blocks) {
            *entry = block.0;
        }
        Ok(())
    }

    fn get(&self, id: SequenceId) -> Result<&Sequence> {
        let sequence = self.sequences.get(id.slot()).and_then(Option::as_ref);
        let found = sequence.filter(|(own, _)| *own == id);
        found.map(|(_, sequence)| sequence).ok_or(ModelError::UnknownSequence)
    }
}

//! Who holds which blocks of the KV cache: sequences with block tables over one pool, prefixes shared, copied when written.
//!
//! Only numbers live here. The bytes are the backend's; copies that must happen before a write are handed to the caller.

mod sequence;
#[cfg(test)]
mod tests;

use tinyllm_mem::{BlockId, BlockPool};

use self::sequence::Sequence;
use crate::{ModelError, Result};

/// A sequence of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId(usize);

/// What to copy before the next step: block to block.
pub(crate) type BlockCopies = Vec<(u32, u32)>;

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

/// Sequences over one pool of blocks.
#[derive(Debug)]
pub(crate) struct KvCache {
    shape: CacheShape,
    pool: BlockPool,
    sequences: Vec<Option<Sequence>>,
}

impl KvCache {
    pub(crate) fn new(shape: CacheShape) -> Self {
        KvCache {
            shape,
            pool: BlockPool::new(shape.blocks as u32),
            sequences: (0..shape.max_sequences).map(|_| None).collect(),
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
        self.shape.max_seq_len.div_ceil(self.shape.block_tokens)
    }

    pub(crate) fn free_blocks(&self) -> usize {
        self.pool.free_blocks()
    }

    /// A new sequence without tokens.
    ///
    /// # Errors
    /// [`ModelError::Request`] where there are as many as fit.
    pub(crate) fn create(&mut self) -> Result<SequenceId> {
        let tokens = Vec::with_capacity(self.shape.max_seq_len);
        let blocks = Vec::with_capacity(self.blocks_per_sequence());
        self.insert(Sequence { tokens, blocks, released: 0 })
    }

    fn insert(&mut self, sequence: Sequence) -> Result<SequenceId> {
        let free = self.sequences.iter().position(Option::is_none);
        let Some(index) = free else {
            return Err(ModelError::Request(format!(
                "{} sequences are there already, as many as the batch size allows",
                self.sequences.len()
            )));
        };
        self.sequences[index] = Some(sequence);
        Ok(SequenceId(index))
    }

    /// A sequence that begins with the longest prefix of `tokens` that is in the cache already, and how long that is.
    /// Blocks are shared, not copied.
    ///
    /// # Errors
    /// As [`KvCache::create`].
    pub(crate) fn create_with_prefix(&mut self, tokens: &[u32]) -> Result<(SequenceId, usize)> {
        let candidates = self.sequences.iter().flatten().filter(|sequence| sequence.released == 0);
        let best =
            candidates.map(|sequence| (sequence.common_prefix(tokens), sequence)).max_by_key(|best| best.0);
        let Some((common, source)) = best.filter(|(common, _)| *common > 0) else {
            return Ok((self.create()?, 0));
        };
        let mut copy = source.with_capacity(self.shape.max_seq_len, self.blocks_per_sequence());
        copy.cut(common, self.shape.block_tokens);
        let blocks = copy.blocks.clone();
        let id = self.insert(copy)?;
        blocks.into_iter().for_each(|block| self.pool.retain(block));
        Ok((id, common))
    }

    /// A second sequence with the same tokens, sharing every block until one of them writes.
    ///
    /// # Errors
    /// As [`KvCache::create`]; [`ModelError::Request`] for a sequence that is not there.
    pub(crate) fn fork(&mut self, id: SequenceId) -> Result<SequenceId> {
        let (capacity, blocks) = (self.shape.max_seq_len, self.blocks_per_sequence());
        let copy = self.get(id)?.with_capacity(capacity, blocks);
        let shared: Vec<BlockId> = copy.live_blocks().to_vec();
        let fork = self.insert(copy)?;
        shared.into_iter().for_each(|block| self.pool.retain(block));
        Ok(fork)
    }

    /// Gives a sequence's blocks back. One that is not there stays so.
    pub(crate) fn free(&mut self, id: SequenceId) {
        if let Some(sequence) = self.sequences.get_mut(id.0).and_then(Option::take) {
            for block in sequence.live_blocks() {
                self.pool.release(*block);
            }
        }
    }

    /// Forgets tokens from `length` on, and returns how many are left: none, where the window no longer reaches what the
    /// next token would need.
    ///
    /// # Errors
    /// [`ModelError::Request`] for a sequence that is not there.
    pub(crate) fn truncate(&mut self, id: SequenceId, length: usize) -> Result<usize> {
        let (block_tokens, window) = (self.shape.block_tokens, self.shape.window);
        let sequence = self.get_mut(id)?;
        let first_needed = window.map_or(0, |window| (length + 1).saturating_sub(window));
        let length = if sequence.released > first_needed / block_tokens { 0 } else { length };
        let dropped = sequence.cut(length, block_tokens);
        if length == 0 {
            sequence.released = 0;
        }
        let left = sequence.tokens.len();
        for block in dropped {
            self.pool.release(block);
        }
        Ok(left)
    }

    /// Makes room for `additional` tokens at the end of a sequence. The last block, where it is shared and has room, is
    /// replaced by a copy of its own. Nothing changes where there is no room.
    ///
    /// # Errors
    /// [`ModelError::Request`] where the sequence would be too long; [`ModelError::CacheFull`] where blocks are missing.
    pub(crate) fn reserve(
        &mut self,
        id: SequenceId,
        additional: usize,
        copies: &mut BlockCopies,
    ) -> Result<()> {
        let block_tokens = self.shape.block_tokens;
        let sequence = self.get(id)?;
        let length = sequence.tokens.len() + additional;
        let wanted = length.div_ceil(block_tokens).saturating_sub(sequence.blocks.len());
        let partial = sequence.tokens.len() / block_tokens;
        let shared = (!sequence.tokens.len().is_multiple_of(block_tokens) && additional > 0)
            .then(|| sequence.blocks[partial])
            .filter(|block| self.pool.references(*block) > 1);
        let needed = wanted + usize::from(shared.is_some());
        let free_blocks = self.pool.free_blocks();
        if needed > free_blocks {
            return Err(ModelError::CacheFull { needed_blocks: needed, free_blocks });
        }
        let mut take = || self.pool.allocate().map_err(ModelError::Memory);
        let own = shared.map(|_| take()).transpose()?;
        let new = (0..wanted).map(|_| take()).collect::<Result<Vec<_>>>()?;
        let sequence = self.get_mut(id)?;
        sequence.blocks.extend(new);
        if let (Some(own), Some(shared)) = (own, shared) {
            sequence.blocks[partial] = own;
            self.pool.release(shared);
            copies.push((shared.0, own.0));
        }
        Ok(())
    }

    /// The tokens of a step are in the cache now. Blocks that no later query sees are given back.
    ///
    /// # Errors
    /// [`ModelError::Request`] for a sequence that is not there.
    pub(crate) fn append(&mut self, id: SequenceId, tokens: &[u32]) -> Result<()> {
        let (block_tokens, window) = (self.shape.block_tokens, self.shape.window);
        let slot = self.sequences.get_mut(id.0).and_then(Option::as_mut);
        let sequence = slot.ok_or_else(|| missing(id))?;
        sequence.tokens.extend_from_slice(tokens);
        let Some(window) = window else { return Ok(()) };
        let unseen = (sequence.tokens.len() + 1).saturating_sub(window) / block_tokens;
        let unseen = unseen.min(sequence.tokens.len() / block_tokens);
        while sequence.released < unseen {
            let block = sequence.blocks[sequence.released];
            sequence.released += 1;
            self.pool.release(block);
        }
        Ok(())
    }

    /// The tokens of a sequence.
    ///
    /// # Errors
    /// [`ModelError::Request`] for a sequence that is not there.
    pub(crate) fn tokens(&self, id: SequenceId) -> Result<&[u32]> {
        Ok(&self.get(id)?.tokens)
    }

    /// Writes a sequence's block table into `row`. Entries of blocks given back keep a number that is in the cache; no
    /// query reads them.
    ///
    /// # Errors
    /// [`ModelError::Request`] for a sequence that is not there.
    pub(crate) fn block_table(&self, id: SequenceId, row: &mut [u32]) -> Result<()> {
        for (entry, block) in row.iter_mut().zip(&self.get(id)?.blocks) {
            *entry = block.0;
        }
        Ok(())
    }

    fn get(&self, id: SequenceId) -> Result<&Sequence> {
        self.sequences.get(id.0).and_then(Option::as_ref).ok_or_else(|| missing(id))
    }

    fn get_mut(&mut self, id: SequenceId) -> Result<&mut Sequence> {
        self.sequences.get_mut(id.0).and_then(Option::as_mut).ok_or_else(|| missing(id))
    }
}

fn missing(id: SequenceId) -> ModelError {
    ModelError::Request(format!("sequence {} is not in the cache", id.0))
}

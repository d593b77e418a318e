//! Room for one step: blocks for its tokens, and copies of shared blocks that it writes. All of it is given back unless
//! the step succeeds.

use tinyllm_kernels::BlockCopy;
use tinyllm_mem::BlockId;

use super::{KvCache, SequenceId};
use crate::{ModelError, Result};

/// What a step takes for one sequence.
#[derive(Debug)]
pub(super) struct Taken {
    id: SequenceId,
    /// Entries of its table before, and how many are added.
    blocks: usize,
    added: usize,
    /// A shared block that a copy stands in for, and its place in the table. It stays held until the step has succeeded.
    original: Option<(usize, BlockId)>,
}

/// Room for a step. Dropped, also by a panic, it gives everything back: what the step has written then lies behind every
/// sequence's tokens, where nobody reads.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    cache: &'a mut KvCache,
}

impl KvCache {
    /// Free blocks that [`KvCache::reserve`] takes for the same step: new ones for its tokens, and copies of shared ones.
    ///
    /// # Errors
    /// [`ModelError::UnknownSequence`].
    pub(crate) fn blocks_needed(
        &self,
        step: impl Iterator<Item = (SequenceId, usize)> + Clone,
    ) -> Result<usize> {
        let ids = step.clone().map(|(id, _)| id);
        step.map(|(id, tokens)| {
            let (added, original) = self.needs(id, tokens, ids.clone())?;
            Ok(added + usize::from(original.is_some()))
        })
        .sum()
    }

    /// What a sequence needs for so many tokens more, in a step of the sequences `ids`: blocks added to its table, and the
    /// shared block that it must copy.
    fn needs(
        &self,
        id: SequenceId,
        tokens: usize,
        ids: impl Iterator<Item = SequenceId>,
    ) -> Result<(usize, Option<(usize, BlockId)>)> {
        let sequence = self.get(id)?;
        let length = sequence.length.saturating_add(tokens);
        let added = length.div_ceil(self.shape.block_tokens).saturating_sub(sequence.blocks);
        let original = if tokens > 0 { self.copied_block(id, ids) } else { None };
        Ok((added, original))
    }

    /// Makes room for so many tokens at the end of each sequence, none of which is named twice or becomes longer than
    /// fits. A sequence's last block,
    /// where others share it and it has room, is replaced by a copy. Where all who share it are in the step, the longest
    /// keeps the original: it writes behind the tokens of all.
    ///
    /// # Errors
    /// [`ModelError::UnknownSequence`]; [`ModelError::CacheFull`] where blocks are missing. Nothing has changed then.
    pub(crate) fn reserve(
        &mut self,
        step: impl Iterator<Item = (SequenceId, usize)> + Clone,
    ) -> Result<Reservation<'_>> {
        self.taken.clear();
        self.copies.clear();
        // Who copies is decided before any table changes.
        let mut needed_blocks = 0;
        for (id, tokens) in step.clone() {
            let blocks = self.get(id)?.blocks;
            let (added, original) = self.needs(id, tokens, step.clone().map(|(id, _)| id))?;
            needed_blocks += added + usize::from(original.is_some());
            self.taken.push(Taken { id, blocks, added, original });
        }
        let free_blocks = self.pool.free_blocks();
        if needed_blocks > free_blocks {
            self.taken.clear();
            return Err(ModelError::CacheFull { needed_blocks, free_blocks });
        }
        let reservation = Reservation { cache: self };
        reservation.cache.take()?;
        Ok(reservation)
    }

    /// The block, and its place in the table, that a sequence must not write to but copy.
    fn copied_block(
        &self,
        id: SequenceId,
        step: impl Iterator<Item = SequenceId>,
    ) -> Option<(usize, BlockId)> {
        let (index, block) = self.shared_end(id)?;
        let (mut writers, mut keeper) = (0, (0, id));
        for other in step.filter(|other| self.shared_end(*other) == Some((index, block))) {
            writers += 1;
            let length = self.get(other).map_or(0, |sequence| sequence.length);
            if length > keeper.0 {
                keeper = (length, other);
            }
        }
        (self.pool.references(block) > writers || keeper.1 != id).then_some((index, block))
    }

    /// A sequence's last block and its place, where it has room and others hold it.
    fn shared_end(&self, id: SequenceId) -> Option<(usize, BlockId)> {
        let sequence = self.get(id).ok()?;
        let index = sequence.length / self.shape.block_tokens;
        let block = BlockId(*sequence.table(&self.slots).get(index)?);
        (self.pool.references(block) > 1).then_some((index, block))
    }

    fn take(&mut self) -> Result<()> {
        for Taken { id, added, original, .. } in &self.taken {
            let Some(sequence) = &mut self.sequences[id.slot()] else { continue };
            let table = self.slots.table_mut(id.slot());
            if let Some((index, block)) = *original {
                let own = self.pool.allocate()?;
                table[index] = own.0;
                self.copies.push(BlockCopy { from: block.0, to: own.0 });
            }
            for _ in 0..*added {
                table[sequence.blocks] = self.pool.allocate()?.0;
                sequence.blocks += 1;
            }
        }
        Ok(())
    }
}

impl Reservation<'_> {
    /// The cache, whose tables name the room.
    pub(crate) fn cache(&self) -> &KvCache {
        self.cache
    }

    /// What to copy before the step, block to block.
    pub(crate) fn copies(&self) -> &[BlockCopy] {
        &self.cache.copies
    }

    /// The step has succeeded: these are the tokens of each sequence, in the order in which room was made.
    pub(crate) fn commit<'t>(self, tokens: impl Iterator<Item = &'t [u32]>) {
        let cache = &mut *self.cache;
        for (Taken { id, original, .. }, tokens) in cache.taken.drain(..).zip(tokens) {
            if let Some((_, block)) = original {
                cache.pool.release(block);
            }
            if let Some(sequence) = &mut cache.sequences[id.slot()] {
                sequence.append(tokens, &cache.shape, &mut cache.slots, &mut cache.pool);
            }
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let cache = &mut *self.cache;
        for Taken { id, blocks, original, .. } in cache.taken.drain(..) {
            let Some(sequence) = &mut cache.sequences[id.slot()] else { continue };
            let table = cache.slots.table_mut(id.slot());
            for added in &table[blocks..sequence.blocks] {
                cache.pool.release(BlockId(*added));
            }
            sequence.blocks = blocks;
            if let Some((index, block)) = original
                && table[index] != block.0
            {
                cache.pool.release(BlockId(std::mem::replace(&mut table[index], block.0)));
            }
        }
    }
}

//! Room for one step: blocks for its tokens, and copies of shared blocks that it writes. All of it is given back unless
//! the step succeeds.

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
    /// Makes room for so many tokens at the end of each sequence, none of which is named twice. A sequence's last block,
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
            let sequence = self.get(id)?;
            let blocks = sequence.blocks.len();
            let length = sequence.tokens.len() + tokens;
            let added = length.div_ceil(self.shape.block_tokens).saturating_sub(blocks);
            let original = self.copied_block(id, step.clone().map(|(id, _)| id));
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
            let length = self.get(other).map_or(0, |sequence| sequence.tokens.len());
            if length > keeper.0 {
                keeper = (length, other);
            }
        }
        (self.pool.references(block) > writers || keeper.1 != id).then_some((index, block))
    }

    /// A sequence's last block and its place, where it has room and others hold it.
    fn shared_end(&self, id: SequenceId) -> Option<(usize, BlockId)> {
        let sequence = self.get(id).ok()?;
        let index = sequence.tokens.len() / self.shape.block_tokens;
        let block = *sequence.blocks.get(index)?;
        (self.pool.references(block) > 1).then_some((index, block))
    }

    fn take(&mut self) -> Result<()> {
        for Taken { id, added, original, .. } in &self.taken {
            let Some((_, sequence)) = &mut self.sequences[id.slot()] else { continue };
            if let Some((index, block)) = *original {
                let own = self.pool.allocate()?;
                sequence.blocks[index] = own;
                self.copies.push((block.0, own.0));
            }
            for _ in 0..*added {
                sequence.blocks.push(self.pool.allocate()?);
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
    pub(crate) fn copies(&self) -> &[(u32, u32)] {
        &self.cache.copies
    }

    /// The step has succeeded: these are the tokens of each sequence, in the order in which room was made.
    pub(crate) fn commit<'t>(self, tokens: impl Iterator<Item = &'t [u32]>) {
        let cache = &mut *self.cache;
        for (Taken { id, original, .. }, tokens) in cache.taken.drain(..).zip(tokens) {
            if let Some((_, block)) = original {
                cache.pool.release(block);
            }
            if let Some((_, sequence)) = &mut cache.sequences[id.slot()] {
                sequence.append(tokens, &cache.shape, &mut cache.pool);
            }
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let cache = &mut *self.cache;
        for Taken { id, blocks, original, .. } in cache.taken.drain(..) {
            let Some((_, sequence)) = &mut cache.sequences[id.slot()] else { continue };
            for added in sequence.blocks.drain(blocks..) {
                cache.pool.release(added);
            }
            if let Some((index, block)) = original
                && sequence.blocks[index] != block
            {
                cache.pool.release(std::mem::replace(&mut sequence.blocks[index], block));
            }
        }
    }
}

//! One sequence: how many tokens and blocks of its slot are its own.

use tinyllm_mem::{BlockId, BlockPool};

use super::{CacheShape, SequenceId, slots::Slots};

/// A sequence in its slot. Block `i` holds the tokens from `i * block_tokens` on, and no block lies behind the last token
/// but in a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sequence {
    pub(super) id: SequenceId,
    /// Tokens.
    pub(super) length: usize,
    /// Entries of the block table.
    pub(super) blocks: usize,
    /// Leading blocks that were given back, because they left the window.
    pub(super) released: usize,
}

impl Sequence {
    /// No tokens.
    pub(super) fn new(id: SequenceId) -> Self {
        Sequence { id, length: 0, blocks: 0, released: 0 }
    }

    pub(super) fn tokens<'s>(&self, slots: &'s Slots) -> &'s [u32] {
        &slots.tokens(self.id.slot())[..self.length]
    }

    /// The block table, blocks that were given back included.
    pub(super) fn table<'s>(&self, slots: &'s Slots) -> &'s [u32] {
        &slots.table(self.id.slot())[..self.blocks]
    }

    /// The blocks that this sequence holds.
    pub(super) fn live_blocks<'s>(&self, slots: &'s Slots) -> impl Iterator<Item = BlockId> + 's {
        self.table(slots)[self.released.min(self.blocks)..].iter().copied().map(BlockId)
    }

    pub(super) fn common_prefix(&self, slots: &Slots, tokens: &[u32]) -> usize {
        self.tokens(slots).iter().zip(tokens).take_while(|(a, b)| a == b).count()
    }

    /// Cuts to `length` tokens and gives back the held blocks that are no longer needed.
    pub(super) fn cut(&mut self, length: usize, shape: &CacheShape, slots: &Slots, pool: &mut BlockPool) {
        self.length = self.length.min(length);
        let kept = self.length.div_ceil(shape.block_tokens);
        let first = kept.max(self.released).min(self.blocks);
        self.table(slots)[first..].iter().for_each(|block| _ = pool.release(BlockId(*block)));
        self.blocks = self.blocks.min(kept);
        self.released = self.released.min(kept);
    }

    /// Appends tokens whose keys and values are in the cache now, and gives back blocks that no later query sees.
    pub(super) fn append(
        &mut self,
        tokens: &[u32],
        shape: &CacheShape,
        slots: &mut Slots,
        pool: &mut BlockPool,
    ) {
        slots.tokens_mut(self.id.slot())[self.length..][..tokens.len()].copy_from_slice(tokens);
        self.length += tokens.len();
        let Some(window) = shape.window else { return };
        let unseen = (self.length + 1).saturating_sub(window) / shape.block_tokens;
        let unseen = unseen.min(self.length / shape.block_tokens);
        while self.released < unseen {
            pool.release(BlockId(self.table(slots)[self.released]));
            self.released += 1;
        }
    }
}

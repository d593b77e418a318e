//! One sequence: its tokens, and the blocks that hold their keys and values.

use tinyllm_mem::{BlockId, BlockPool};

use super::CacheShape;

/// Tokens and blocks. Block `i` holds the tokens from `i * block_tokens` on, and no block lies behind the last token but in
/// a step.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) tokens: Vec<u32>,
    pub(super) blocks: Vec<BlockId>,
    /// Leading blocks that were given back, because they left the window.
    pub(super) released: usize,
}

impl Sequence {
    /// No tokens, and room for as many as fit, so that decoding allocates nothing.
    pub(super) fn new(shape: &CacheShape) -> Self {
        Sequence {
            tokens: Vec::with_capacity(shape.max_seq_len),
            blocks: Vec::with_capacity(shape.blocks_per_sequence()),
            released: 0,
        }
    }

    /// A sequence of the first `length` tokens, with the blocks that hold them and no other.
    pub(super) fn prefix(&self, length: usize, shape: &CacheShape) -> Self {
        let mut copy = Sequence::new(shape);
        copy.tokens.extend(self.tokens.iter().take(length));
        copy.blocks.extend(self.blocks.iter().take(copy.tokens.len().div_ceil(shape.block_tokens)));
        copy.released = self.released.min(copy.blocks.len());
        copy
    }

    pub(super) fn common_prefix(&self, tokens: &[u32]) -> usize {
        self.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count()
    }

    /// The blocks that this sequence holds.
    pub(super) fn live_blocks(&self) -> &[BlockId] {
        &self.blocks[self.released.min(self.blocks.len())..]
    }

    /// Cuts to `length` tokens and gives back the held blocks that are no longer needed.
    pub(super) fn cut(&mut self, length: usize, shape: &CacheShape, pool: &mut BlockPool) {
        self.tokens.truncate(length);
        let kept = self.tokens.len().div_ceil(shape.block_tokens);
        let first = kept.max(self.released).min(self.blocks.len());
        self.blocks[first..].iter().for_each(|block| _ = pool.release(*block));
        self.blocks.truncate(kept);
        self.released = self.released.min(kept);
    }

    /// Appends tokens whose keys and values are in the cache now, and gives back blocks that no later query sees.
    pub(super) fn append(&mut self, tokens: &[u32], shape: &CacheShape, pool: &mut BlockPool) {
        self.tokens.extend_from_slice(tokens);
        let Some(window) = shape.window else { return };
        let unseen = (self.tokens.len() + 1).saturating_sub(window) / shape.block_tokens;
        let unseen = unseen.min(self.tokens.len() / shape.block_tokens);
        while self.released < unseen {
            pool.release(self.blocks[self.released]);
            self.released += 1;
        }
    }
}

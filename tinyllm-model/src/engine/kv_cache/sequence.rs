//! One sequence: its tokens, and the blocks that hold their keys and values.

use tinyllm_mem::BlockId;

/// Tokens and blocks. Block `i` holds the tokens from `i * block_tokens` on.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) tokens: Vec<u32>,
    pub(super) blocks: Vec<BlockId>,
    /// Leading blocks that were given back, because they left the window.
    pub(super) released: usize,
}

impl Sequence {
    /// A copy with room to grow, so that decoding allocates nothing.
    pub(super) fn with_capacity(&self, tokens: usize, blocks: usize) -> Self {
        let mut copy = Sequence {
            tokens: Vec::with_capacity(tokens),
            blocks: Vec::with_capacity(blocks),
            released: self.released,
        };
        copy.tokens.extend_from_slice(&self.tokens);
        copy.blocks.extend_from_slice(&self.blocks);
        copy
    }

    pub(super) fn common_prefix(&self, tokens: &[u32]) -> usize {
        self.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count()
    }

    /// The blocks that this sequence holds.
    pub(super) fn live_blocks(&self) -> &[BlockId] {
        &self.blocks[self.released.min(self.blocks.len())..]
    }

    /// Cuts to `length` tokens and returns the held blocks that are no longer needed.
    pub(super) fn cut(&mut self, length: usize, block_tokens: usize) -> Vec<BlockId> {
        self.tokens.truncate(length);
        let kept = self.tokens.len().div_ceil(block_tokens);
        let first = kept.max(self.released).min(self.blocks.len());
        let dropped = self.blocks[first..].to_vec();
        self.blocks.truncate(kept);
        dropped
    }
}

//! Which tokens are in the KV cache, and in which blocks.

/// One sequence over a cache of its own.
#[derive(Debug)]
pub(crate) struct SequenceCache {
    tokens: Vec<u32>,
    block_table: Vec<u32>,
    capacity: usize,
}

impl SequenceCache {
    /// An empty sequence over `blocks` blocks, for at most `capacity` tokens.
    pub(crate) fn new(blocks: usize, block_tokens: usize, capacity: usize) -> Self {
        SequenceCache {
            tokens: Vec::with_capacity(capacity),
            block_table: (0..blocks as u32).collect(),
            capacity: capacity.min(blocks * block_tokens),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    pub(crate) fn block_table(&self) -> &[u32] {
        &self.block_table
    }

    pub(crate) fn append(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
    }

    pub(crate) fn truncate(&mut self, tokens: usize) {
        self.tokens.truncate(tokens);
    }

    /// How many leading tokens of `prompt` are in the cache already.
    pub(crate) fn common_prefix(&self, prompt: &[u32]) -> usize {
        self.tokens.iter().zip(prompt).take_while(|(cached, wanted)| cached == wanted).count()
    }
}

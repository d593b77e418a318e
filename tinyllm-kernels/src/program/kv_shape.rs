//! The shape of a KV cache. Its size in bytes is the same on every device; the order of the bytes is the backend's.

use crate::KernelError;

/// A block's tokens are a multiple of this.
pub(crate) const TILE_TOKENS: usize = 16;

/// Elements of a block's keys at most (and of its values): the block's bytes do not overflow.
const MAX_BLOCK_ELEMENTS: usize = 1 << 48;

/// The type of cached keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KvFormat {
    /// IEEE half.
    F16,
    /// IEEE single.
    F32,
    /// int8 with one f16 scale for each token and head, of K and of V: `s = f16(max|x| / 127)`, `q = x / s` rounded
    /// half to even.
    Int8,
}

impl KvFormat {
    /// Size of an element in bytes.
    pub const fn size_bytes(self) -> usize {
        match self {
            KvFormat::F16 => 2,
            KvFormat::F32 => 4,
            KvFormat::Int8 => 1,
        }
    }

    /// The element type in reports.
    pub const fn name(self) -> &'static str {
        match self {
            KvFormat::F16 => "f16",
            KvFormat::F32 => "f32",
            KvFormat::Int8 => "int8",
        }
    }

    /// Bytes of a tile's scales: sixteen of K, sixteen of V.
    pub(crate) const fn tile_scale_bytes(self) -> usize {
        match self {
            KvFormat::F16 | KvFormat::F32 => 0,
            KvFormat::Int8 => 2 * TILE_TOKENS * size_of::<half::f16>(),
        }
    }
}

/// The shape of a KV cache, without its number of blocks ([`crate::Limits::cache_blocks`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    layers: usize,
    kv_heads: usize,
    head_dim: usize,
    block_tokens: usize,
    format: KvFormat,
}

impl KvShape {
    /// A cache of `layers` layers in blocks of `block_tokens` tokens, a multiple of 16.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for other block sizes, for sizes of 0, and for blocks that no memory holds.
    pub fn new(
        layers: usize,
        kv_heads: usize,
        head_dim: usize,
        block_tokens: usize,
        format: KvFormat,
    ) -> Result<Self, KernelError> {
        let sizes = [layers, kv_heads, head_dim, block_tokens];
        let refused = |problem: &str| {
            let problem = format!("layers, heads, head_dim, block_tokens {sizes:?}: {problem}");
            Err(KernelError::Invalid { what: "KV cache", problem })
        };
        if sizes.contains(&0) || !block_tokens.is_multiple_of(TILE_TOKENS) {
            return refused("blocks are multiples of 16 tokens");
        }
        let elements = sizes.iter().try_fold(1usize, |elements, size| elements.checked_mul(*size));
        if elements.is_none_or(|elements| elements > MAX_BLOCK_ELEMENTS) {
            return refused("a block is more than any memory holds");
        }
        Ok(KvShape { layers, kv_heads, head_dim, block_tokens, format })
    }

    /// The same cache of other layers.
    ///
    /// # Errors
    /// As [`KvShape::new`].
    pub fn with_layers(&self, layers: usize) -> Result<Self, KernelError> {
        KvShape::new(layers, self.kv_heads, self.head_dim, self.block_tokens, self.format)
    }

    /// Layers.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Key and value heads of a layer.
    pub fn kv_heads(&self) -> usize {
        self.kv_heads
    }

    /// Elements of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Tokens of a block.
    pub fn block_tokens(&self) -> usize {
        self.block_tokens
    }

    /// Element type.
    pub fn format(&self) -> KvFormat {
        self.format
    }

    /// Bytes of a block: keys and values of all layers, with int8 also their scales. Cannot overflow: [`KvShape::new`]
    /// bounds a block's elements.
    pub fn block_bytes(&self) -> usize {
        let tiles = self.layers * self.kv_heads * (self.block_tokens / TILE_TOKENS);
        let elements = 2 * TILE_TOKENS * self.head_dim;
        tiles * (elements * self.format.size_bytes() + self.format.tile_scale_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_take_two_elements_a_token_head_and_dimension_and_int8_two_scales() {
        // LLaMA-7B: 32 layers, 32 heads of 128: 524,288 bytes a token in f16.
        let bytes = |format| KvShape::new(32, 32, 128, 16, format).unwrap().block_bytes();
        assert_eq!(bytes(KvFormat::F16), 16 * 524_288);
        assert_eq!(bytes(KvFormat::F32), 32 * 524_288);
        assert_eq!(bytes(KvFormat::Int8), 16 * (262_144 + 2 * 2 * 32 * 32));
    }

    #[test]
    fn blocks_of_a_wrong_size_are_refused() {
        for (layers, kv_heads, head_dim, block_tokens) in
            [(0, 1, 1, 16), (1, 1, 1, 24), (1, 1, 1, 0), (1 << 30, 1 << 30, 1 << 30, 16)]
        {
            assert!(KvShape::new(layers, kv_heads, head_dim, block_tokens, KvFormat::F16).is_err());
        }
    }
}

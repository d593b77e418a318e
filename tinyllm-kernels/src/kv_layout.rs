//! How keys and values lie in the cache.

use crate::KernelError;

/// Tokens side by side in a tile: the lanes that scores are computed in.
pub(crate) const TILE_TOKENS: usize = 16;

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

    /// Bytes of the scales of a tile: sixteen of K, sixteen of V.
    const fn tile_scale_bytes(self) -> usize {
        match self {
            KvFormat::F16 | KvFormat::F32 => 0,
            KvFormat::Int8 => 2 * TILE_TOKENS * size_of::<half::f16>(),
        }
    }
}

/// A cache of blocks: `[block][layer][kv_head][tile]`, and in a tile of sixteen tokens K, `[head_dim][16]`, then V,
/// `[16][head_dim]`, then in int8 the f16 scales of K, `[16]`, and of V, `[16]`. Tiles begin at positions that are multiples of 16, whatever the block size, so the order of every
/// sum is the same for all block sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvLayout {
    layers: usize,
    kv_heads: usize,
    head_dim: usize,
    block_tokens: usize,
    format: KvFormat,
}

impl KvLayout {
    /// A layout with blocks of `block_tokens` tokens, a multiple of 16.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for other block sizes, and for sizes of 0.
    pub fn new(
        layers: usize,
        kv_heads: usize,
        head_dim: usize,
        block_tokens: usize,
        format: KvFormat,
    ) -> Result<Self, KernelError> {
        let sizes = [layers, kv_heads, head_dim, block_tokens];
        if sizes.contains(&0) || !block_tokens.is_multiple_of(TILE_TOKENS) {
            return Err(KernelError::Invalid {
                what: "KV cache layout",
                problem: format!(
                    "layers, heads, head_dim, block_tokens {sizes:?}: blocks are multiples of 16 tokens"
                ),
            });
        }
        Ok(KvLayout { layers, kv_heads, head_dim, block_tokens, format })
    }

    /// Layers.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Key and value heads of a layer.
    pub fn kv_heads(&self) -> usize {
        self.kv_heads
    }

    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Tokens of a block.
    pub fn block_tokens(&self) -> usize {
        self.block_tokens
    }

    /// The element type.
    pub fn format(&self) -> KvFormat {
        self.format
    }

    /// Bytes of a block, all layers.
    pub fn block_bytes(&self) -> usize {
        self.layers * self.kv_heads * (self.block_tokens / TILE_TOKENS) * self.tile_bytes()
    }

    /// Bytes of `blocks` blocks.
    pub fn bytes(&self, blocks: usize) -> usize {
        blocks * self.block_bytes()
    }

    /// Whole blocks in `bytes`.
    pub fn blocks_in(&self, bytes: usize) -> usize {
        bytes / self.block_bytes()
    }

    fn tile_bytes(&self) -> usize {
        self.scales_offset_bytes() + self.format.tile_scale_bytes()
    }

    /// Bytes from a tile's beginning to its scales.
    pub(crate) fn scales_offset_bytes(&self) -> usize {
        2 * TILE_TOKENS * self.head_dim * self.format.size_bytes()
    }

    /// Where the tile that holds `position` begins, in bytes, given the position's block.
    pub(crate) fn tile_offset(&self, layer: usize, block: usize, kv_head: usize, position: usize) -> usize {
        let tile = position % self.block_tokens / TILE_TOKENS;
        let tiles = self.block_tokens / TILE_TOKENS;
        (((block * self.layers + layer) * self.kv_heads + kv_head) * tiles + tile) * self.tile_bytes()
    }

    /// Elements from a tile's K to its V.
    pub(crate) fn value_offset_elems(&self) -> usize {
        TILE_TOKENS * self.head_dim
    }
}

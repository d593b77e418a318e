//! How keys and values lie in the cache.

use std::ops::Range;

use crate::KernelError;

/// Tokens side by side in a tile: the lanes that scores are computed in.
pub(crate) const TILE_TOKENS: usize = 16;

/// Tokens whose keys, and then values, lie one after another for each head: what attention reads in one go.
const EXTENT_TOKENS: usize = 256;

/// Keys, and as many values, of a block at most: far below what a count of bytes holds.
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

    /// Bytes of the scales of a tile: sixteen of K, sixteen of V.
    const fn tile_scale_bytes(self) -> usize {
        match self {
            KvFormat::F16 | KvFormat::F32 => 0,
            KvFormat::Int8 => 2 * TILE_TOKENS * size_of::<half::f16>(),
        }
    }
}

/// A cache of blocks. As many blocks as hold 256 tokens (at least one) are an extent, the last perhaps shorter:
/// `[extent][layer][kv_head]`, and there K of all its tiles, `[tile][head_dim][16]`, then V, `[tile][16][head_dim]`, then
/// in int8 the f16 scales, `[tile]`, of K, `[16]`, and of V, `[16]`. A head's keys and values of blocks that follow each
/// other are thus read in long stretches. Tiles of sixteen tokens begin at positions that are multiples of 16, whatever
/// the block size, so the order of every sum is the same for all block sizes.
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
    /// [`KernelError::Invalid`] for other block sizes, for sizes of 0, and for blocks that no memory holds.
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
        let elements = sizes.iter().try_fold(1usize, |elements, size| elements.checked_mul(*size));
        if elements.is_none_or(|elements| elements > MAX_BLOCK_ELEMENTS) {
            return Err(KernelError::Invalid {
                what: "KV cache layout",
                problem: format!(
                    "layers, heads, head_dim, block_tokens {sizes:?}: a block is more than any memory holds"
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
        self.layers * self.kv_heads * self.block_tiles() * self.tile_bytes()
    }

    /// Bytes of `blocks` blocks; the most there are, which nobody has, where that is more.
    pub fn bytes(&self, blocks: usize) -> usize {
        blocks.saturating_mul(self.block_bytes())
    }

    /// Whole blocks in `bytes`.
    pub fn blocks_in(&self, bytes: usize) -> usize {
        bytes / self.block_bytes()
    }

    /// Tiles of a block, for each layer and head.
    fn block_tiles(&self) -> usize {
        self.block_tokens / TILE_TOKENS
    }

    /// Bytes of a tile's K, and of its V.
    fn half_tile_bytes(&self) -> usize {
        TILE_TOKENS * self.head_dim * self.format.size_bytes()
    }

    fn tile_bytes(&self) -> usize {
        2 * self.half_tile_bytes() + self.format.tile_scale_bytes()
    }

    /// Where tile `tile` of a block lies in a cache of `blocks` blocks.
    #[inline(always)]
    fn tile_place(
        &self,
        blocks: usize,
        layer: usize,
        block: usize,
        kv_head: usize,
        tile: usize,
    ) -> TilePlace {
        let extent_blocks = (EXTENT_TOKENS / self.block_tokens).max(1);
        let first = block / extent_blocks * extent_blocks;
        let tiles = extent_blocks.min(blocks - first) * self.block_tiles();
        let tile = (block - first) * self.block_tiles() + tile;
        let half = self.half_tile_bytes();
        let head = first * self.block_bytes() + (layer * self.kv_heads + kv_head) * tiles * self.tile_bytes();
        TilePlace {
            keys: head + tile * half,
            values: head + (tiles + tile) * half,
            scales: head + 2 * tiles * half + tile * self.format.tile_scale_bytes(),
            left: tiles - tile,
        }
    }

    /// Where the tile that holds `position` lies in a cache of `blocks` blocks, given the position's block.
    #[inline(always)]
    pub(crate) fn place(
        &self,
        blocks: usize,
        layer: usize,
        block: usize,
        kv_head: usize,
        position: usize,
    ) -> TilePlace {
        self.tile_place(blocks, layer, block, kv_head, position % self.block_tokens / TILE_TOKENS)
    }

    /// Fills `places` with where a head's tiles lie, one after another, from that of `position` on, in a cache of `blocks`
    /// blocks. The block table holds them all.
    #[inline(always)]
    pub(crate) fn places(
        &self,
        blocks: usize,
        layer: usize,
        kv_head: usize,
        block_table: &[u32],
        position: usize,
        places: &mut [TilePlace],
    ) {
        let (half, scales) = (self.half_tile_bytes(), self.format.tile_scale_bytes());
        let mut table = &block_table[position / self.block_tokens..];
        let mut tile = position % self.block_tokens / TILE_TOKENS;
        let mut rest = places;
        while !rest.is_empty() {
            let place = self.tile_place(blocks, layer, table[0] as usize, kv_head, tile);
            // Tiles that lie in a row: of blocks that follow each other, up to the end of their extent.
            let wanted = (tile + rest.len()).div_ceil(self.block_tiles());
            let in_a_row =
                table.iter().zip(table[0]..).take(wanted).take_while(|(next, block)| *next == block).count();
            let count = (in_a_row * self.block_tiles() - tile).min(place.left).min(rest.len());
            let (row, after) = rest.split_at_mut(count);
            for (index, out) in row.iter_mut().enumerate() {
                *out = TilePlace {
                    keys: place.keys + index * half,
                    values: place.values + index * half,
                    scales: place.scales + index * scales,
                    left: place.left - index,
                };
            }
            rest = after;
            table = &table[(tile + count) / self.block_tiles()..];
            tile = (tile + count) % self.block_tiles();
        }
    }

    /// The bytes of a block in a cache of `blocks` blocks, stretch by stretch; all blocks have stretches of the same
    /// lengths.
    pub(crate) fn stretches(&self, blocks: usize, block: usize) -> impl Iterator<Item = Range<usize>> {
        let halves = self.block_tiles() * self.half_tile_bytes();
        let scales = self.block_tiles() * self.format.tile_scale_bytes();
        (0..self.layers * self.kv_heads).flat_map(move |head| {
            let (layer, kv_head) = (head / self.kv_heads, head % self.kv_heads);
            let place = self.tile_place(blocks, layer, block, kv_head, 0);
            [(place.keys, halves), (place.values, halves), (place.scales, scales)]
                .map(|(start, bytes)| start..start + bytes)
        })
    }
}

/// Where a tile's parts begin, in bytes from the beginning of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TilePlace {
    pub(crate) keys: usize,
    pub(crate) values: usize,
    /// Sixteen of K, then sixteen of V; what is there only in int8.
    pub(crate) scales: usize,
    /// Tiles from this one to the end of its extent.
    left: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_share_the_cache_out_among_themselves() {
        for format in [KvFormat::F16, KvFormat::Int8] {
            for (block_tokens, blocks) in [(16, 37), (48, 12), (64, 9), (512, 3), (16, 1)] {
                let layout = KvLayout::new(3, 2, 6, block_tokens, format).unwrap();
                let mut owners = vec![None; layout.bytes(blocks)];
                for block in 0..blocks {
                    let mut bytes = 0;
                    for stretch in layout.stretches(blocks, block) {
                        bytes += stretch.len();
                        owners[stretch].iter_mut().for_each(|owner| assert_eq!(owner.replace(block), None));
                    }
                    assert_eq!(bytes, layout.block_bytes());
                    for position in (0..block_tokens).step_by(TILE_TOKENS) {
                        let place = layout.place(blocks, 2, block, 1, block * block_tokens + position);
                        let half = 16 * 6 * format.size_bytes();
                        assert!(
                            owners[place.keys..place.keys + half].iter().all(|owner| *owner == Some(block))
                        );
                        assert!(
                            owners[place.values..place.values + half]
                                .iter()
                                .all(|owner| *owner == Some(block))
                        );
                    }
                }
                assert!(owners.iter().all(Option::is_some));
            }
        }
    }

    #[test]
    fn tiles_one_after_another_are_those_of_their_positions() {
        let tables: [&[u32]; 4] = [
            &[0, 1, 2, 3, 4, 5, 6, 7, 8],
            &[3, 4, 5, 1, 2, 8, 7, 6, 0],
            &[15, 16, 17, 31, 32, 33],
            &[36, 0, 1],
        ];
        for (block_tokens, blocks) in [(16, 37), (48, 37), (64, 40), (256, 40), (512, 40)] {
            let layout = KvLayout::new(3, 2, 6, block_tokens, KvFormat::Int8).unwrap();
            for table in tables {
                for first in (0..table.len() * block_tokens).step_by(TILE_TOKENS) {
                    let expected: Vec<TilePlace> = (first..table.len() * block_tokens)
                        .step_by(TILE_TOKENS)
                        .map(|position| {
                            layout.place(blocks, 1, table[position / block_tokens] as usize, 1, position)
                        })
                        .collect();
                    let mut found = vec![TilePlace::default(); expected.len()];
                    layout.places(blocks, 1, 1, table, first, &mut found);
                    assert_eq!(found, expected, "blocks of {block_tokens}, from {first}");
                }
            }
        }
    }

    #[test]
    fn keys_of_blocks_in_a_row_lie_in_a_row() {
        let layout = KvLayout::new(2, 3, 64, 16, KvFormat::F16).unwrap();
        let place = |position: usize| layout.place(40, 1, position / 16, 2, position);
        for position in (0..256).step_by(16) {
            let tile = position / 16;
            assert_eq!(place(position).keys, place(0).keys + tile * 2048);
            assert_eq!(place(position).values, place(0).keys + (16 + tile) * 2048);
        }
        // The last extent has eight blocks.
        assert_eq!(place(512).values, place(512).keys + 8 * 2048);
    }
}

//! The memory layout of the KV cache.

use std::ops::Range;

pub(crate) use crate::program::TILE_TOKENS;
use crate::{KvFormat, KvShape};

/// Tokens whose keys, and then values, are contiguous for each head: a segment of attention.
const EXTENT_TOKENS: usize = 256;

/// A cache of blocks. Consecutive blocks of 256 tokens together (at least one block) form an extent; the last may be
/// shorter. The order is `[extent][layer][kv_head]`; inside, K of all the extent's tiles, `[tile][head_dim][16]`, then
/// V, `[tile][16][head_dim]`, then for int8 the f16 scales, `[tile]`, of K, `[16]`, and of V, `[16]`. So keys and
/// values of consecutive blocks are contiguous for each head. Tiles of sixteen tokens begin at positions that are
/// multiples of 16, whatever the block size, so the order of every sum is the same for all block sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KvLayout {
    shape: KvShape,
    blocks: usize,
}

impl KvLayout {
    /// A cache of `blocks` blocks.
    pub(crate) fn new(shape: KvShape, blocks: usize) -> Self {
        KvLayout { shape, blocks }
    }

    /// Blocks of the cache.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    /// Key and value heads of a layer.
    pub(crate) fn kv_heads(&self) -> usize {
        self.shape.kv_heads()
    }

    /// Elements of a head.
    pub(crate) fn head_dim(&self) -> usize {
        self.shape.head_dim()
    }

    /// Tokens of a block.
    pub(crate) fn block_tokens(&self) -> usize {
        self.shape.block_tokens()
    }

    /// Element type.
    pub(crate) fn format(&self) -> KvFormat {
        self.shape.format()
    }

    /// Tiles of a block per layer and head.
    fn block_tiles(&self) -> usize {
        self.block_tokens() / TILE_TOKENS
    }

    /// Bytes of a tile's K, and of its V.
    fn half_tile_bytes(&self) -> usize {
        TILE_TOKENS * self.head_dim() * self.format().size_bytes()
    }

    fn tile_bytes(&self) -> usize {
        2 * self.half_tile_bytes() + self.format().tile_scale_bytes()
    }

    /// The place of tile `tile` of a block.
    #[inline(always)]
    fn tile_place(&self, layer: usize, block: usize, kv_head: usize, tile: usize) -> TilePlace {
        let extent_blocks = (EXTENT_TOKENS / self.block_tokens()).max(1);
        let first = block / extent_blocks * extent_blocks;
        let tiles = extent_blocks.min(self.blocks - first) * self.block_tiles();
        let tile = (block - first) * self.block_tiles() + tile;
        let half = self.half_tile_bytes();
        let head = first * self.shape.block_bytes()
            + (layer * self.kv_heads() + kv_head) * tiles * self.tile_bytes();
        TilePlace {
            keys: head + tile * half,
            values: head + (tiles + tile) * half,
            scales: head + 2 * tiles * half + tile * self.format().tile_scale_bytes(),
            left: tiles - tile,
        }
    }

    /// The place of the tile that holds `position`, given the position's block.
    #[inline(always)]
    pub(crate) fn place(&self, layer: usize, block: usize, kv_head: usize, position: usize) -> TilePlace {
        self.tile_place(layer, block, kv_head, position % self.block_tokens() / TILE_TOKENS)
    }

    /// Fills `places` with the places of a head's consecutive tiles, from that of `position` on; the block table has
    /// them all.
    #[inline(always)]
    pub(crate) fn places(
        &self,
        layer: usize,
        kv_head: usize,
        block_table: &[u32],
        position: usize,
        places: &mut [TilePlace],
    ) {
        let (half, scales) = (self.half_tile_bytes(), self.format().tile_scale_bytes());
        let mut table = &block_table[position / self.block_tokens()..];
        let mut tile = position % self.block_tokens() / TILE_TOKENS;
        let mut rest = places;
        while !rest.is_empty() {
            let place = self.tile_place(layer, table[0] as usize, kv_head, tile);
            // Contiguous tiles: those of consecutive blocks, up to the end of their extent.
            let wanted = (tile + rest.len()).div_ceil(self.block_tiles());
            let contiguous =
                table.iter().zip(table[0]..).take(wanted).take_while(|(next, block)| *next == block).count();
            let count = (contiguous * self.block_tiles() - tile).min(place.left).min(rest.len());
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

    /// The byte ranges of a block; the ranges of all blocks have the same lengths in the same order.
    pub(crate) fn block_ranges(&self, block: usize) -> impl Iterator<Item = Range<usize>> {
        let halves = self.block_tiles() * self.half_tile_bytes();
        let scales = self.block_tiles() * self.format().tile_scale_bytes();
        (0..self.shape.layers() * self.kv_heads()).flat_map(move |head| {
            let (layer, kv_head) = (head / self.kv_heads(), head % self.kv_heads());
            let place = self.tile_place(layer, block, kv_head, 0);
            [(place.keys, halves), (place.values, halves), (place.scales, scales)]
                .map(|(start, bytes)| start..start + bytes)
        })
    }
}

/// A tile's place: where its parts begin, in bytes from the beginning of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TilePlace {
    pub(crate) keys: usize,
    pub(crate) values: usize,
    /// Sixteen scales of K, then sixteen of V; in an int8 cache only.
    pub(crate) scales: usize,
    /// Tiles from this one to the end of its extent.
    left: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(
        layers: usize,
        kv_heads: usize,
        head_dim: usize,
        block_tokens: usize,
        format: KvFormat,
        blocks: usize,
    ) -> KvLayout {
        KvLayout::new(KvShape::new(layers, kv_heads, head_dim, block_tokens, format).unwrap(), blocks)
    }

    #[test]
    fn blocks_cover_the_cache_without_overlap() {
        for format in [KvFormat::F16, KvFormat::Int8] {
            for (block_tokens, blocks) in [(16, 37), (48, 12), (64, 9), (512, 3), (16, 1)] {
                let layout = layout(3, 2, 6, block_tokens, format, blocks);
                let mut owners = vec![None; blocks * layout.shape.block_bytes()];
                for block in 0..blocks {
                    let mut bytes = 0;
                    for extent in layout.block_ranges(block) {
                        bytes += extent.len();
                        owners[extent].iter_mut().for_each(|owner| assert_eq!(owner.replace(block), None));
                    }
                    assert_eq!(bytes, layout.shape.block_bytes());
                    for position in (0..block_tokens).step_by(TILE_TOKENS) {
                        let place = layout.place(2, block, 1, block * block_tokens + position);
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
    fn consecutive_tiles_have_the_places_of_their_positions() {
        let tables: [&[u32]; 4] = [
            &[0, 1, 2, 3, 4, 5, 6, 7, 8],
            &[3, 4, 5, 1, 2, 8, 7, 6, 0],
            &[15, 16, 17, 31, 32, 33],
            &[36, 0, 1],
        ];
        for (block_tokens, blocks) in [(16, 37), (48, 37), (64, 40), (256, 40), (512, 40)] {
            let layout = layout(3, 2, 6, block_tokens, KvFormat::Int8, blocks);
            for table in tables {
                for first in (0..table.len() * block_tokens).step_by(TILE_TOKENS) {
                    let expected: Vec<TilePlace> = (first..table.len() * block_tokens)
                        .step_by(TILE_TOKENS)
                        .map(|position| layout.place(1, table[position / block_tokens] as usize, 1, position))
                        .collect();
                    let mut found = vec![TilePlace::default(); expected.len()];
                    layout.places(1, 1, table, first, &mut found);
                    assert_eq!(found, expected, "blocks of {block_tokens}, from {first}");
                }
            }
        }
    }

    #[test]
    fn keys_of_consecutive_blocks_are_contiguous() {
        let layout = layout(2, 3, 64, 16, KvFormat::F16, 40);
        let place = |position: usize| layout.place(1, position / 16, 2, position);
        for position in (0..256).step_by(16) {
            let tile = position / 16;
            assert_eq!(place(position).keys, place(0).keys + tile * 2048);
            assert_eq!(place(position).values, place(0).keys + (16 + tile) * 2048);
        }
        // The last extent has eight blocks.
        assert_eq!(place(512).values, place(512).keys + 8 * 2048);
    }
}

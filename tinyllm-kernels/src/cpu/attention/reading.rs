//! The order in which the cache is read, and prefetched: for each segment head by head, all its keys, then all its
//! values. Tiles a few places ahead in that order are prefetched meanwhile.

use std::ops::Range;

use half::f16;

use super::{Cache, Queries, SEGMENT};
use crate::{
    cpu::kv::{TILE_TOKENS, TilePlace},
    cpu::lanes::Lanes,
};

/// Prefetch distance in tiles: a memory latency. At most a head's tiles in a segment, so that every tile of the next
/// head is prefetched.
const PREFETCH_DISTANCE: usize = 8;

/// Tiles of a segment.
const TILES: usize = SEGMENT / TILE_TOKENS;

/// The places of a segment's tiles, from the first one read on.
pub(super) type Places = [TilePlace; TILES];

/// The order of reads for some queries.
#[derive(Clone, Copy)]
pub(super) struct ReadOrder<'a> {
    pub(super) cache: Cache<'a>,
    pub(super) queries: &'a Queries,
}

impl ReadOrder<'_> {
    /// Number of positions that are written.
    #[inline(always)]
    fn written(&self) -> usize {
        self.queries.first_position + self.queries.count
    }

    /// The tiles of a segment with a key that some row attends to, counted from the segment's beginning.
    #[inline(always)]
    fn tiles(&self, segment: usize) -> Range<usize> {
        let base = segment * SEGMENT;
        let last = (base + SEGMENT).min(self.written());
        (base.max(self.queries.visible(0).start) - base) / TILE_TOKENS..(last - base).div_ceil(TILE_TOKENS)
    }

    /// The places of a split's tiles; the last one is repeated up to the array's length.
    #[inline(always)]
    pub(super) fn places(&self, split: usize) -> Places {
        let Cache { layout, layer, block_table, .. } = self.cache;
        let (segment, head) = self.queries.split(split);
        let tiles = self.tiles(segment);
        let mut places = [TilePlace::default(); TILES];
        let position = segment * SEGMENT + tiles.start * TILE_TOKENS;
        let kv_head = self.queries.kv_head + head;
        layout.places(layer, kv_head, block_table, position, &mut places[..tiles.len()]);
        let last = places[tiles.len() - 1];
        places[tiles.len()..].fill(last);
        places
    }

    /// Where a split's keys begin.
    pub(super) fn first_keys(&self, split: usize) -> *const u8 {
        self.cache.base.wrapping_add(self.places(split)[0].keys)
    }

    /// The places of the tiles read after a split at `places`, and how many they are.
    #[inline(always)]
    pub(super) fn following(&self, split: usize, places: &Places) -> (Places, usize) {
        if split + 1 < self.queries.splits() {
            return (self.places(split + 1), self.tiles(self.queries.split(split + 1).0).len());
        }
        // Nothing follows: a tile that is cached already. Prefetching an unmapped address would walk the page tables
        // each time.
        ([places[TILES - 1]; TILES], 1)
    }
}

/// Some tiles of one head's segment.
pub(super) struct Segment<'a> {
    pub(super) head_dim: usize,
    /// Tiles, counted from the segment's beginning.
    pub(super) tiles: Range<usize>,
    /// Positions of the segment that are written.
    written: usize,
    base: *const u8,
    places: &'a Places,
    /// Addresses in the order of reads: tiles of keys, tiles of values, then the tiles of what follows.
    addresses: [*const u8; 2 * TILES + PREFETCH_DISTANCE],
    /// Prefetch distance in tiles.
    prefetch_distance: usize,
}

impl<'a> Segment<'a> {
    /// A segment with its tiles at `places`; the `count` tiles read after it are at `following`.
    #[inline(always)]
    pub(super) fn new(
        reading: &ReadOrder<'_>,
        segment: usize,
        places: &'a Places,
        (following, count): &(Places, usize),
    ) -> Self {
        let (base, tiles) = (reading.cache.base, reading.tiles(segment));
        let mut addresses = [base; 2 * TILES + PREFETCH_DISTANCE];
        let (keys, rest) = addresses.split_at_mut(tiles.len());
        let (values, after) = rest.split_at_mut(tiles.len());
        for ((keys, values), place) in keys.iter_mut().zip(values).zip(places) {
            (*keys, *values) = (base.wrapping_add(place.keys), base.wrapping_add(place.values));
        }
        for (index, after) in after.iter_mut().enumerate() {
            let index = index.min(2 * count - 1);
            let place = if index < *count { following[index].keys } else { following[index - count].values };
            *after = base.wrapping_add(place);
        }
        let written = reading.written() - segment * SEGMENT;
        let prefetch_distance = PREFETCH_DISTANCE.min(2 * tiles.len());
        Segment {
            head_dim: reading.cache.layout.head_dim(),
            tiles,
            written,
            base,
            places,
            addresses,
            prefetch_distance,
        }
    }

    /// Tokens of a tile that are written.
    #[inline(always)]
    pub(super) fn written(&self, tile: usize) -> usize {
        (self.written - tile * TILE_TOKENS).min(TILE_TOKENS)
    }

    /// The keys of a tile, `[head_dim][16]`, and the address to prefetch meanwhile.
    #[inline(always)]
    pub(super) fn keys<T>(&self, tile: usize) -> (*const T, *const T) {
        self.addresses_at(tile - self.tiles.start)
    }

    /// The values of a tile, `[16][head_dim]`, and the address to prefetch meanwhile.
    #[inline(always)]
    pub(super) fn values<T>(&self, tile: usize) -> (*const T, *const T) {
        self.addresses_at(tile - self.tiles.start + self.tiles.len())
    }

    #[inline(always)]
    fn addresses_at<T>(&self, index: usize) -> (*const T, *const T) {
        (self.addresses[index].cast(), self.addresses[index + self.prefetch_distance].cast())
    }

    /// The sixteen scales of K in a tile.
    ///
    /// # Safety
    /// The tile is in the cache, which is int8; the processor has `L`.
    #[inline(always)]
    pub(super) unsafe fn key_scales<L: Lanes>(&self, tile: usize) -> L::Floats {
        // SAFETY: this function's contract; a tile has sixteen scales of K and then sixteen of V.
        unsafe { L::load_f16(self.scales(tile)) }
    }

    /// The sixteen scales of V.
    ///
    /// # Safety
    /// As [`Segment::key_scales`].
    #[inline(always)]
    pub(super) unsafe fn value_scales<L: Lanes>(&self, tile: usize) -> L::Floats {
        // SAFETY: as above.
        unsafe { L::load_f16(self.scales(tile).add(TILE_TOKENS)) }
    }

    #[inline(always)]
    fn scales(&self, tile: usize) -> *const f16 {
        self.base.wrapping_add(self.places[tile - self.tiles.start].scales).cast()
    }
}

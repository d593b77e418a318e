//! In which order a head is read: of each segment all keys, then all values. What lies a few tiles on in that order is
//! fetched meanwhile.

use std::ops::Range;

use half::f16;

use super::{Cache, SEGMENT};
use crate::{
    cpu::lanes::Lanes,
    kv_layout::{TILE_TOKENS, TilePlace},
};

/// Tiles between what is read and what is fetched: a memory latency.
const AHEAD: usize = 8;

/// Tiles of a segment.
const TILES: usize = SEGMENT / TILE_TOKENS;

/// Where tiles of a segment lie, from the first that is read on.
pub(super) type Places = [TilePlace; TILES];

/// One head of the positions from `first` on, up to `written`.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) cache: Cache<'a>,
    pub(super) kv_head: usize,
    pub(super) first: usize,
    pub(super) written: usize,
}

impl Head<'_> {
    /// The tiles of a segment that hold one of the positions, counted from its beginning.
    #[inline(always)]
    pub(super) fn tiles(&self, segment: usize) -> Range<usize> {
        let base = segment * SEGMENT;
        let last = (base + SEGMENT).min(self.written);
        (base.max(self.first) - base) / TILE_TOKENS..(last - base).div_ceil(TILE_TOKENS)
    }

    /// Where they lie. Behind the last stands the last again.
    #[inline(always)]
    pub(super) fn places(&self, segment: usize) -> Places {
        let Cache { layout, blocks, layer, block_table, .. } = self.cache;
        let tiles = self.tiles(segment);
        let mut places = [TilePlace::default(); TILES];
        let position = segment * SEGMENT + tiles.start * TILE_TOKENS;
        layout.places(blocks, layer, self.kv_head, block_table, position, &mut places[..tiles.len()]);
        let last = places[tiles.len() - 1];
        places[tiles.len()..].fill(last);
        places
    }

    /// Where those lie that are read after a segment at `places`: of this head, or of the next one.
    #[inline(always)]
    pub(super) fn following(&self, segment: usize, places: &Places) -> Places {
        if (segment + 1) * SEGMENT < self.written {
            return self.places(segment + 1);
        }
        let kv_head = self.kv_head + 1;
        if kv_head < self.cache.layout.kv_heads() {
            return Head { kv_head, ..*self }.places(self.first / SEGMENT);
        }
        // Nothing follows. What is near already: an address without memory behind it would be looked up each time.
        [places[TILES - 1]; TILES]
    }
}

/// Some tiles of one head's segment.
pub(super) struct Segment<'a> {
    pub(super) head_dim: usize,
    /// Tiles, counted from the segment's beginning.
    pub(super) tiles: Range<usize>,
    /// Positions of the segment that somebody wrote.
    written: usize,
    base: *const u8,
    places: &'a Places,
    /// What is read: tiles of keys, tiles of values, and then keys of what follows.
    addresses: [*const u8; 2 * TILES + AHEAD],
}

impl<'a> Segment<'a> {
    /// A segment whose tiles lie at `places`; those read after it lie at `following`.
    #[inline(always)]
    pub(super) fn new(head: &Head<'_>, segment: usize, places: &'a Places, following: &Places) -> Self {
        let (base, tiles) = (head.cache.base, head.tiles(segment));
        let mut addresses = [base; 2 * TILES + AHEAD];
        let (keys, rest) = addresses.split_at_mut(tiles.len());
        let (values, after) = rest.split_at_mut(tiles.len());
        for ((keys, values), place) in keys.iter_mut().zip(values).zip(places) {
            (*keys, *values) = (base.wrapping_add(place.keys), base.wrapping_add(place.values));
        }
        for (after, place) in after.iter_mut().zip(following) {
            *after = base.wrapping_add(place.keys);
        }
        let written = head.written - segment * SEGMENT;
        Segment { head_dim: head.cache.layout.head_dim(), tiles, written, base, places, addresses }
    }

    /// Tokens of a tile that somebody wrote.
    #[inline(always)]
    pub(super) fn written(&self, tile: usize) -> usize {
        (self.written - tile * TILE_TOKENS).min(TILE_TOKENS)
    }

    /// The keys of a tile, `[head_dim][16]`, and as many bytes to fetch meanwhile.
    #[inline(always)]
    pub(super) fn keys<T>(&self, tile: usize) -> (*const T, *const T) {
        self.step(tile - self.tiles.start)
    }

    /// The values of a tile, `[16][head_dim]`, and as many bytes to fetch meanwhile.
    #[inline(always)]
    pub(super) fn values<T>(&self, tile: usize) -> (*const T, *const T) {
        self.step(tile - self.tiles.start + self.tiles.len())
    }

    #[inline(always)]
    fn step<T>(&self, step: usize) -> (*const T, *const T) {
        (self.addresses[step].cast(), self.addresses[step + AHEAD].cast())
    }

    /// The sixteen scales of K in a tile.
    ///
    /// # Safety
    /// The tile is in the cache, which is int8; the processor has `L`.
    #[inline(always)]
    pub(super) unsafe fn key_scales<L: Lanes>(&self, tile: usize) -> L::Floats {
        // SAFETY: the caller's promise; a tile has sixteen scales of K and then sixteen of V.
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

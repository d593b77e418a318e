//! In which order heads are read: of each segment one head after another, all its keys, then all its values. What lies a
//! few tiles on in that order is fetched meanwhile.

use std::ops::Range;

use half::f16;

use super::{Cache, Queries, SEGMENT};
use crate::{
    cpu::lanes::Lanes,
    kv_layout::{TILE_TOKENS, TilePlace},
};

/// Tiles between what is read and what is fetched: a memory latency. Where a head has fewer in a segment, as many as it
/// has, so that each of the next head's is fetched.
const AHEAD: usize = 8;

/// Tiles of a segment.
const TILES: usize = SEGMENT / TILE_TOKENS;

/// Where tiles of a segment lie, from the first that is read on.
pub(super) type Places = [TilePlace; TILES];

/// What is read for some queries.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) cache: Cache<'a>,
    pub(super) queries: &'a Queries,
}

impl Reading<'_> {
    /// Positions that somebody wrote.
    #[inline(always)]
    fn written(&self) -> usize {
        self.queries.first_position + self.queries.count
    }

    /// The tiles of a segment that hold a key some row sees, counted from its beginning.
    #[inline(always)]
    fn tiles(&self, segment: usize) -> Range<usize> {
        let base = segment * SEGMENT;
        let last = (base + SEGMENT).min(self.written());
        (base.max(self.queries.seen(0).start) - base) / TILE_TOKENS..(last - base).div_ceil(TILE_TOKENS)
    }

    /// Where those of a step lie. Behind the last stands the last again.
    #[inline(always)]
    pub(super) fn places(&self, step: usize) -> Places {
        let Cache { layout, blocks, layer, block_table, .. } = self.cache;
        let (segment, head) = self.queries.step(step);
        let tiles = self.tiles(segment);
        let mut places = [TilePlace::default(); TILES];
        let position = segment * SEGMENT + tiles.start * TILE_TOKENS;
        let kv_head = self.queries.kv_head + head;
        layout.places(blocks, layer, kv_head, block_table, position, &mut places[..tiles.len()]);
        let last = places[tiles.len() - 1];
        places[tiles.len()..].fill(last);
        places
    }

    /// Where a step's keys begin.
    pub(super) fn first_keys(&self, step: usize) -> *const u8 {
        self.cache.base.wrapping_add(self.places(step)[0].keys)
    }

    /// Where those lie that are read after a step at `places`, and how many they are.
    #[inline(always)]
    pub(super) fn following(&self, step: usize, places: &Places) -> (Places, usize) {
        if step + 1 < self.queries.steps() {
            return (self.places(step + 1), self.tiles(self.queries.step(step + 1).0).len());
        }
        // Nothing follows. What is near already: an address without memory behind it would be looked up each time.
        ([places[TILES - 1]; TILES], 1)
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
    /// What is read: tiles of keys, tiles of values, and then those of what follows.
    addresses: [*const u8; 2 * TILES + AHEAD],
    /// How many tiles ahead is fetched.
    ahead: usize,
}

impl<'a> Segment<'a> {
    /// A segment whose tiles lie at `places`; those read after it, `count`, lie at `following`.
    #[inline(always)]
    pub(super) fn new(
        reading: &Reading<'_>,
        segment: usize,
        places: &'a Places,
        (following, count): &(Places, usize),
    ) -> Self {
        let (base, tiles) = (reading.cache.base, reading.tiles(segment));
        let mut addresses = [base; 2 * TILES + AHEAD];
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
        let ahead = AHEAD.min(2 * tiles.len());
        Segment { head_dim: reading.cache.layout.head_dim(), tiles, written, base, places, addresses, ahead }
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
        (self.addresses[step].cast(), self.addresses[step + self.ahead].cast())
    }

    /// The sixteen scales of K in a tile.
    ///
    /// # Safety
    /// The tile is in the cache, which is int8; the processor has `L`.
    #[inline(always)]
    pub(super) unsafe fn key_scales<L: Lanes>(&self, tile: usize) -> L::Floats {
        // SAFETY: this function's terms; a tile has sixteen scales of K and then sixteen of V.
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

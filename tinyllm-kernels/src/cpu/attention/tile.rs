//! Sixteen cached keys or values of one head, widened to f32 for the rows that share them.

use half::f16;

use super::Cache;
use crate::{
    cpu::lanes::{LANES, Lanes},
    kv_layout::{TILE_TOKENS, TilePlace},
};

/// A cached element that lanes can load.
pub(super) trait Cached: Copy {
    /// Whether a tile has a scale for each token of K and of V.
    const IS_SCALED: bool;

    /// # Safety
    /// Sixteen readable elements; the processor has `L`.
    unsafe fn load<L: Lanes>(address: *const Self) -> L::Floats;
}

impl Cached for f16 {
    const IS_SCALED: bool = false;

    #[inline(always)]
    unsafe fn load<L: Lanes>(address: *const f16) -> L::Floats {
        // SAFETY: the caller's promise.
        unsafe { L::load_f16(address) }
    }
}

impl Cached for f32 {
    const IS_SCALED: bool = false;

    #[inline(always)]
    unsafe fn load<L: Lanes>(address: *const f32) -> L::Floats {
        // SAFETY: the caller's promise.
        unsafe { L::load_f32(address) }
    }
}

impl Cached for i8 {
    const IS_SCALED: bool = true;

    #[inline(always)]
    unsafe fn load<L: Lanes>(address: *const i8) -> L::Floats {
        // SAFETY: the caller's promise.
        unsafe { L::load_i8(address) }
    }
}

/// One head's keys and values.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) cache: Cache<'a>,
    pub(super) kv_head: usize,
}

impl Head<'_> {
    /// The head that lies behind this one.
    #[inline(always)]
    pub(super) fn next(self) -> Option<Self> {
        let kv_head = self.kv_head + 1;
        (kv_head < self.cache.layout.kv_heads()).then_some(Head { kv_head, ..self })
    }

    /// Where tiles lie, one after another, from that of `position` on.
    #[inline(always)]
    pub(super) fn places(&self, position: usize) -> impl Iterator<Item = TilePlace> {
        let Cache { layout, blocks, layer, block_table, .. } = self.cache;
        layout.places(blocks, layer, self.kv_head, block_table, position)
    }

    /// The sixteen scales of K in a tile.
    ///
    /// # Safety
    /// The tile is in the cache, which is int8; the processor has `L`.
    #[inline(always)]
    pub(super) unsafe fn key_scales<L: Lanes>(&self, place: TilePlace) -> L::Floats {
        let scales = self.cache.base.wrapping_add(place.scales);
        // SAFETY: the caller's promise; a tile has sixteen scales of K and then sixteen of V.
        unsafe { L::load_f16(scales.cast()) }
    }

    /// The sixteen scales of V.
    ///
    /// # Safety
    /// As [`Head::key_scales`].
    #[inline(always)]
    pub(super) unsafe fn value_scales<L: Lanes>(&self, place: TilePlace) -> L::Floats {
        let scales = self.cache.base.wrapping_add(place.scales);
        // SAFETY: as above.
        unsafe { L::load_f16(scales.cast::<f16>().add(TILE_TOKENS)) }
    }

    pub(super) fn head_dim(&self) -> usize {
        self.cache.layout.head_dim()
    }

    /// The keys of a tile, `[head_dim][16]`.
    #[inline(always)]
    pub(super) fn keys<T>(&self, place: TilePlace) -> *const T {
        self.cache.base.wrapping_add(place.keys).cast()
    }

    /// The values of a tile, `[16][head_dim]`.
    #[inline(always)]
    pub(super) fn values<T>(&self, place: TilePlace) -> *const T {
        self.cache.base.wrapping_add(place.values).cast()
    }

    /// Widens the keys of a tile, and fetches those at `next`.
    ///
    /// # Safety
    /// The tile is in the cache; `out` holds it; the processor has `L`.
    #[inline(always)]
    pub(super) unsafe fn widen_keys<L: Lanes, T: Cached>(
        &self,
        place: TilePlace,
        next: *const T,
        out: &mut [f32],
    ) {
        // SAFETY: the caller's promise: head_dim rows of sixteen.
        unsafe { widen::<L, T>(self.keys(place), next, &mut out[..TILE_TOKENS * self.head_dim()]) }
    }

    /// Widens the values of a tile, `[16][width]`, and fetches those at `next`; those after the first `written`, which
    /// nobody wrote, are 0.
    ///
    /// # Safety
    /// As [`Head::widen_keys`].
    #[inline(always)]
    pub(super) unsafe fn widen_values<L: Lanes, T: Cached>(
        &self,
        place: TilePlace,
        written: usize,
        next: *const T,
        width: usize,
        out: &mut [f32],
    ) {
        let head_dim = self.head_dim();
        // SAFETY: the caller's promise: sixteen rows of head_dim.
        unsafe { widen::<L, T>(self.values(place), next, &mut out[..TILE_TOKENS * head_dim]) };
        if head_dim < width {
            // From the last row on, so that none is overwritten before it is moved.
            for row in (0..TILE_TOKENS).rev() {
                out.copy_within(row * head_dim..(row + 1) * head_dim, row * width);
                out[row * width + head_dim..(row + 1) * width].fill(0.0);
            }
        }
        out[written * width..].fill(0.0);
    }
}

/// Widens `out.len()` elements, a multiple of sixteen, and prefetches as many at `next`.
#[inline(always)]
unsafe fn widen<L: Lanes, T: Cached>(elements: *const T, next: *const T, out: &mut [f32]) {
    for (index, out) in out.chunks_exact_mut(LANES).enumerate() {
        // SAFETY: the caller's promise; a prefetch reads nothing.
        unsafe {
            L::prefetch_early(next.wrapping_add(index * LANES).cast());
            if let Some(out) = out.first_chunk_mut::<LANES>() {
                L::store(T::load::<L>(elements.add(index * LANES)), out);
            }
        }
    }
}

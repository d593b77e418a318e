//! Sixteen cached keys or values of one head, widened to f32 for the rows that share them.

use half::f16;

use super::Cache;
use crate::{
    cpu::lanes::{LANES, Lanes},
    kv_layout::TILE_TOKENS,
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
    /// The tile that holds `position`.
    #[inline(always)]
    fn tile<T>(&self, position: usize) -> *const T {
        let Cache { layout, base, layer, block_table } = self.cache;
        let block = block_table[position / layout.block_tokens()] as usize;
        base.wrapping_add(layout.tile_offset(layer, block, self.kv_head, position)).cast()
    }

    /// The sixteen scales of K in the tile that holds `position`.
    ///
    /// # Safety
    /// The tile is in the cache, which is int8; the processor has `L`.
    #[inline(always)]
    pub(super) unsafe fn key_scales<L: Lanes>(&self, position: usize) -> L::Floats {
        let scales = self.tile::<u8>(position).wrapping_add(self.cache.layout.scales_offset_bytes());
        // SAFETY: the caller's promise; the tile ends with sixteen scales of K and sixteen of V.
        unsafe { L::load_f16(scales.cast()) }
    }

    /// The sixteen scales of V.
    ///
    /// # Safety
    /// As [`Head::key_scales`].
    #[inline(always)]
    pub(super) unsafe fn value_scales<L: Lanes>(&self, position: usize) -> L::Floats {
        let scales = self.tile::<u8>(position).wrapping_add(self.cache.layout.scales_offset_bytes());
        // SAFETY: as above.
        unsafe { L::load_f16(scales.cast::<f16>().add(TILE_TOKENS)) }
    }

    pub(super) fn head_dim(&self) -> usize {
        self.cache.layout.head_dim()
    }

    /// The keys of the tile that holds `position`, `[head_dim][16]`.
    #[inline(always)]
    pub(super) fn keys<T>(&self, position: usize) -> *const T {
        self.tile(position)
    }

    /// The values of the tile, `[16][head_dim]`.
    #[inline(always)]
    pub(super) fn values<T>(&self, position: usize) -> *const T {
        self.tile::<T>(position).wrapping_add(self.cache.layout.value_offset_elems())
    }

    /// Widens the keys of the tile, and fetches those at `next`.
    ///
    /// # Safety
    /// The tile is in the cache; `out` holds it; the processor has `L`.
    #[inline(always)]
    pub(super) unsafe fn widen_keys<L: Lanes, T: Cached>(
        &self,
        position: usize,
        next: *const T,
        out: &mut [f32],
    ) {
        // SAFETY: the caller's promise: head_dim rows of sixteen.
        unsafe { widen::<L, T>(self.keys(position), next, &mut out[..TILE_TOKENS * self.head_dim()]) }
    }

    /// Widens the values of the tile, `[16][width]`, and fetches those at `next`; those from position `written` on,
    /// which nobody wrote, are 0.
    ///
    /// # Safety
    /// As [`Head::widen_keys`].
    #[inline(always)]
    pub(super) unsafe fn widen_values<L: Lanes, T: Cached>(
        &self,
        position: usize,
        written: usize,
        next: *const T,
        width: usize,
        out: &mut [f32],
    ) {
        let head_dim = self.head_dim();
        // SAFETY: the caller's promise: sixteen rows of head_dim.
        unsafe { widen::<L, T>(self.values(position), next, &mut out[..TILE_TOKENS * head_dim]) };
        if head_dim < width {
            // From the last row on, so that none is overwritten before it is moved.
            for row in (0..TILE_TOKENS).rev() {
                out.copy_within(row * head_dim..(row + 1) * head_dim, row * width);
                out[row * width + head_dim..(row + 1) * width].fill(0.0);
            }
        }
        out[written.saturating_sub(position).min(TILE_TOKENS) * width..].fill(0.0);
    }
}

/// Widens `out.len()` elements, a multiple of sixteen, and prefetches as many at `next`.
#[inline(always)]
unsafe fn widen<L: Lanes, T: Cached>(elements: *const T, next: *const T, out: &mut [f32]) {
    for (index, out) in out.chunks_exact_mut(LANES).enumerate() {
        // SAFETY: the caller's promise; a prefetch reads nothing.
        unsafe {
            L::prefetch(next.wrapping_add(index * LANES).cast());
            if let Some(out) = out.first_chunk_mut::<LANES>() {
                L::store(T::load::<L>(elements.add(index * LANES)), out);
            }
        }
    }
}

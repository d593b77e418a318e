//! Sixteen cached keys or values of one head, and how they become f32.

use half::f16;

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
        // SAFETY: this function's terms.
        unsafe { L::load_f16(address) }
    }
}

impl Cached for f32 {
    const IS_SCALED: bool = false;

    #[inline(always)]
    unsafe fn load<L: Lanes>(address: *const f32) -> L::Floats {
        // SAFETY: this function's terms.
        unsafe { L::load_f32(address) }
    }
}

impl Cached for i8 {
    const IS_SCALED: bool = true;

    #[inline(always)]
    unsafe fn load<L: Lanes>(address: *const i8) -> L::Floats {
        // SAFETY: this function's terms.
        unsafe { L::load_i8(address) }
    }
}

/// Widens the values of a tile, `[16][width]`, and fetches those at `next`; those after the first `written`, which nobody
/// wrote, are 0.
///
/// # Safety
/// Sixteen rows of `head_dim` are readable; `out` holds `[16][width]`; the processor has `L`.
#[inline(always)]
pub(super) unsafe fn widen_rows<L: Lanes, T: Cached>(
    values: *const T,
    written: usize,
    head_dim: usize,
    next: *const T,
    width: usize,
    out: &mut [f32],
) {
    // SAFETY: this function's terms.
    unsafe { widen::<L, T>(values, next, &mut out[..TILE_TOKENS * head_dim]) };
    if head_dim < width {
        // From the last row on, so that none is overwritten before it is moved.
        for row in (0..TILE_TOKENS).rev() {
            out.copy_within(row * head_dim..(row + 1) * head_dim, row * width);
            out[row * width + head_dim..(row + 1) * width].fill(0.0);
        }
    }
    out[written * width..].fill(0.0);
}

/// Widens `out.len()` elements, a multiple of sixteen, and fetches as many at `next`.
///
/// # Safety
/// As many elements are readable; the processor has `L`.
#[inline(always)]
pub(super) unsafe fn widen<L: Lanes, T: Cached>(elements: *const T, next: *const T, out: &mut [f32]) {
    for (index, out) in out.chunks_exact_mut(LANES).enumerate() {
        // SAFETY: this function's terms; a prefetch reads nothing.
        unsafe {
            L::prefetch_early(next.wrapping_add(index * LANES).cast());
            if let Some(out) = out.first_chunk_mut::<LANES>() {
                L::store(T::load::<L>(elements.add(index * LANES)), out);
            }
        }
    }
}

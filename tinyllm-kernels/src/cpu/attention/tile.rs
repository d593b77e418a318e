//! A tile: sixteen cached keys or values of one head, and its conversion to f32.

use half::f16;

use crate::{
    cpu::kv::TILE_TOKENS,
    cpu::lanes::{LANES, Lanes},
};

/// An element type of the cache.
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
        // SAFETY: this function's contract.
        unsafe { L::load_f16(address) }
    }
}

impl Cached for f32 {
    const IS_SCALED: bool = false;

    #[inline(always)]
    unsafe fn load<L: Lanes>(address: *const f32) -> L::Floats {
        // SAFETY: this function's contract.
        unsafe { L::load_f32(address) }
    }
}

impl Cached for i8 {
    const IS_SCALED: bool = true;

    #[inline(always)]
    unsafe fn load<L: Lanes>(address: *const i8) -> L::Floats {
        // SAFETY: this function's contract.
        unsafe { L::load_i8(address) }
    }
}

/// Converts the values of a tile to f32, `[16][width]`, and prefetches those at `next`; rows from `written` on, which
/// are not written yet, become 0.
///
/// # Safety
/// Sixteen rows of `head_dim` are readable; `out` holds `[16][width]`; the processor has `L`.
#[inline(always)]
pub(super) unsafe fn convert_rows<L: Lanes, T: Cached>(
    values: *const T,
    written: usize,
    head_dim: usize,
    next: *const T,
    width: usize,
    out: &mut [f32],
) {
    // SAFETY: this function's contract.
    unsafe { convert::<L, T>(values, next, &mut out[..TILE_TOKENS * head_dim]) };
    if head_dim < width {
        // From the last row down, so that none is overwritten before it is moved.
        for row in (0..TILE_TOKENS).rev() {
            out.copy_within(row * head_dim..(row + 1) * head_dim, row * width);
            out[row * width + head_dim..(row + 1) * width].fill(0.0);
        }
    }
    out[written * width..].fill(0.0);
}

/// Converts `out.len()` elements to f32, a multiple of sixteen, and prefetches as many at `next`.
///
/// # Safety
/// As many elements are readable; the processor has `L`.
#[inline(always)]
pub(super) unsafe fn convert<L: Lanes, T: Cached>(elements: *const T, next: *const T, out: &mut [f32]) {
    for (index, out) in out.chunks_exact_mut(LANES).enumerate() {
        // SAFETY: this function's contract; a prefetch reads nothing.
        unsafe {
            L::prefetch_early(next.wrapping_add(index * LANES).cast());
            if let Some(out) = out.first_chunk_mut::<LANES>() {
                L::store(T::load::<L>(elements.add(index * LANES)), out);
            }
        }
    }
}

//! From scores to weights: a row's largest score in a segment, and p of some of its keys.

use std::ops::Range;

use super::{reading::Segment, tile::Cached};
use crate::{
    cpu::{
        lanes::{LANES, Lanes},
        math::exp2,
    },
    kv_layout::TILE_TOKENS,
};

/// A row's largest score m. What it does not see becomes -∞; m is 0 where it sees nothing.
///
/// # Safety
/// The processor has `L`.
#[inline(always)]
pub(super) unsafe fn largest<L: Lanes>(scores: &mut [f32], seen: Range<usize>) -> f32 {
    scores[..seen.start].fill(f32::NEG_INFINITY);
    scores[seen.end..].fill(f32::NEG_INFINITY);
    if seen.is_empty() {
        return 0.0;
    }
    // SAFETY: chunks of sixteen; the instruction set is among this function's terms.
    unsafe {
        let mut largest = L::splat(f32::NEG_INFINITY);
        for chunk in scores.chunks_exact(LANES) {
            largest = L::max(L::load_f32(chunk.as_ptr()), largest);
        }
        let mut lanes = [0.0; LANES];
        L::store(largest, &mut lanes);
        lanes.into_iter().fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b })
    }
}

impl Segment<'_> {
    /// Turns a row's scores of some tiles into p = 2^(s - m), 0 where it does not see the key, and adds p to `total`. In
    /// an int8 cache each p is then multiplied with its value's scale; where a key is not seen p stays 0 whatever that is.
    ///
    /// # Safety
    /// The tiles are in the cache; the row's scores are `[SEGMENT]`; the processor has `L`.
    #[inline(always)]
    pub(super) unsafe fn soften<L: Lanes, T: Cached>(
        &self,
        tiles: Range<usize>,
        scores: *mut f32,
        largest: L::Floats,
        total: &mut L::Floats,
    ) {
        for tile in tiles {
            // SAFETY: this function's terms.
            unsafe {
                let scores = scores.add(tile * TILE_TOKENS);
                let mut p = exp2::<L>(L::sub(L::load_f32(scores), largest));
                *total = L::add(*total, p);
                if T::IS_SCALED {
                    let scaled = L::mul(p, self.value_scales::<L>(tile));
                    // Below the smallest number is 0. Not `0 < p`, so that NaN stays what it is.
                    p = L::select_less(p, L::splat(f32::from_bits(1)), p, scaled);
                }
                L::store(p, &mut *scores.cast::<[f32; LANES]>());
            }
        }
    }
}

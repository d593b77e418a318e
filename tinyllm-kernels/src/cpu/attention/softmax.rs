//! Softmax within a segment: a row's largest score, and p of some of its keys.

use std::ops::Range;

use super::{reading::Segment, tile::Cached};
use crate::{
    cpu::kv::TILE_TOKENS,
    cpu::{
        lanes::{LANES, Lanes},
        math::exp2,
    },
};

/// A row's largest score m. Scores of keys that it does not attend to become -∞; m is 0 where it attends to none.
///
/// # Safety
/// The processor has `L`.
#[inline(always)]
pub(super) unsafe fn largest<L: Lanes>(scores: &mut [f32], visible: Range<usize>) -> f32 {
    scores[..visible.start].fill(f32::NEG_INFINITY);
    scores[visible.end..].fill(f32::NEG_INFINITY);
    if visible.is_empty() {
        return 0.0;
    }
    // SAFETY: chunks of sixteen; the processor has `L` (this function's contract).
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
    /// Replaces a row's scores of some tiles by p = 2^(s - m), 0 for keys that it does not attend to, and adds p to
    /// `total`. With an int8 cache each p is then multiplied by its value's scale; a p of 0 stays 0 whatever the scale.
    ///
    /// # Safety
    /// The tiles are in the cache; the row's scores are `[SEGMENT]`; the processor has `L`.
    #[inline(always)]
    pub(super) unsafe fn softmax_tiles<L: Lanes, T: Cached>(
        &self,
        tiles: Range<usize>,
        scores: *mut f32,
        largest: L::Floats,
        total: &mut L::Floats,
    ) {
        for tile in tiles {
            // SAFETY: this function's contract.
            unsafe {
                let scores = scores.add(tile * TILE_TOKENS);
                let mut p = exp2::<L>(L::sub(L::load_f32(scores), largest));
                *total = L::add(*total, p);
                if T::IS_SCALED {
                    let scaled = L::mul(p, self.value_scales::<L>(tile));
                    // p < 2^-149 means p = 0. Not `0 < p`, so that NaN stays NaN.
                    p = L::select_less(p, L::splat(f32::from_bits(1)), p, scaled);
                }
                L::store(p, &mut *scores.cast::<[f32; LANES]>());
            }
        }
    }
}

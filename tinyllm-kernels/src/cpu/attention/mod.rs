//! Attention over the paged cache, without a [tokens, tokens] matrix.
//!
//! Keys are cut into segments of 1,024, aligned to position 0. In a segment the scores are computed, their exact maximum
//! m, p = exp(s - m), the sum l of p (key j in lane j mod 16, then a tree) and acc = Σ p·v in key order. Segments are
//! folded in order: with M the larger maximum, `L = fma(l, exp(m - M), L · exp(M₀ - M))`, and acc likewise. A row (one
//! query of one head) is computed in this order whatever rows are computed beside it. An int8 cache's scales multiply
//! whole scores (K) and whole p (V), so the sums over elements stay sums of exactly widened integers.

mod segment;
#[cfg(test)]
mod tests;

use half::f16;

use super::lanes::{Kernel, LANES, Lanes, dispatch};
use crate::{Isa, KvFormat, KvLayout};

/// Keys of a segment.
pub(crate) const SEGMENT: usize = 1024;

/// Queries that share a pass over the keys.
pub(crate) const QUERY_TILE: usize = 4;

/// Queries of one sequence and the heads that share one kv head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queries {
    /// Position of the first query.
    pub(crate) first_position: usize,
    /// Queries, at most [`QUERY_TILE`].
    pub(crate) count: usize,
    /// `[count][q_stride]`, heads side by side.
    pub(crate) q: *const f32,
    pub(crate) q_stride_elems: usize,
    /// `[count][out_stride]`.
    pub(crate) out: *mut f32,
    pub(crate) out_stride_elems: usize,
    pub(crate) kv_head: usize,
    /// Query heads of a kv head.
    pub(crate) group: usize,
    pub(crate) scale: f32,
    pub(crate) window: Option<usize>,
}

/// f32 of scratch that [`attend`] takes.
pub(crate) fn scratch_elems(layout: &KvLayout, group: usize) -> usize {
    QUERY_TILE * group * (SEGMENT + 2 * padded(layout.head_dim()) + 4)
}

fn padded(head_dim: usize) -> usize {
    head_dim.next_multiple_of(LANES)
}

/// `out[query, head] = softmax(scale · q · K) V` over the keys each query sees.
///
/// # Safety
/// The processor has `isa`. `cache` holds every block of `block_table` up to the last query's position, written up to
/// there; q and out are as [`Queries`] says, and nobody else writes these rows and heads of out; `scratch` has
/// [`scratch_elems`].
pub(crate) unsafe fn attend(
    isa: Isa,
    layout: &KvLayout,
    cache: *const u8,
    layer: usize,
    block_table: &[u32],
    queries: &Queries,
    scratch: &mut [f32],
) {
    let keys = Keys { layout, cache, layer, block_table, kv_head: queries.kv_head };
    // SAFETY: the caller's promise.
    unsafe {
        match layout.format() {
            KvFormat::F16 => {
                dispatch(isa, Attend::<f16> { keys, queries, scratch, element: std::marker::PhantomData })
            }
            KvFormat::F32 => {
                dispatch(isa, Attend::<f32> { keys, queries, scratch, element: std::marker::PhantomData })
            }
            KvFormat::Int8 => {
                dispatch(isa, Attend::<i8> { keys, queries, scratch, element: std::marker::PhantomData })
            }
        }
    }
}

/// One head's keys and values.
#[derive(Clone, Copy)]
struct Keys<'a> {
    layout: &'a KvLayout,
    cache: *const u8,
    layer: usize,
    block_table: &'a [u32],
    kv_head: usize,
}

impl Keys<'_> {
    /// The tile that holds `position`.
    #[inline(always)]
    fn tile<T>(&self, position: usize) -> *const T {
        let block = self.block_table[position / self.layout.block_tokens()] as usize;
        let offset = self.layout.tile_offset(self.layer, block, self.kv_head, position);
        self.cache.wrapping_add(offset).cast()
    }

    /// The sixteen scales of K in the tile that holds `position`, and after them those of V.
    #[inline(always)]
    fn scales(&self, position: usize) -> *const f16 {
        self.tile::<u8>(position).wrapping_add(self.layout.scales_offset_bytes()).cast()
    }
}

/// A cached element that lanes can load.
trait Cached: Copy {
    /// Whether a tile has a scale for each token of K and of V.
    const IS_SCALED: bool;

    /// # Safety
    /// Sixteen readable elements; the processor has `L`.
    unsafe fn load<L: Lanes>(address: *const Self) -> L::Floats;
    fn widen(self) -> f32;
}

impl Cached for f16 {
    const IS_SCALED: bool = false;

    #[inline(always)]
    unsafe fn load<L: Lanes>(address: *const f16) -> L::Floats {
        // SAFETY: the caller's promise.
        unsafe { L::load_f16(address) }
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
}

impl Cached for f32 {
    const IS_SCALED: bool = false;

    #[inline(always)]
    unsafe fn load<L: Lanes>(address: *const f32) -> L::Floats {
        // SAFETY: the caller's promise.
        unsafe { L::load_f32(address) }
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

impl Cached for i8 {
    const IS_SCALED: bool = true;

    #[inline(always)]
    unsafe fn load<L: Lanes>(address: *const i8) -> L::Floats {
        // SAFETY: the caller's promise.
        unsafe { L::load_i8(address) }
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from(self)
    }
}

struct Attend<'a, T> {
    keys: Keys<'a>,
    queries: &'a Queries,
    scratch: &'a mut [f32],
    element: std::marker::PhantomData<T>,
}

impl<T: Cached> Kernel for Attend<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: the terms of `attend`.
        unsafe { segment::attend::<L, T>(&self.keys, self.queries, self.scratch) }
    }
}

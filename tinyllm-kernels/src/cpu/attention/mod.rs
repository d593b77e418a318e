//! Attention over the paged cache, without a [tokens, tokens] matrix.
//!
//! Keys are cut into segments of 256, aligned to position 0. In a segment the scores s are computed, in units of ln 2,
//! their exact maximum m, p = 2^(s - m), the sum l of p (key j in lane j mod 16, then a tree) and acc = Σ p·v in key
//! order. Segments are folded in order: with M the larger maximum, `L = fma(l, 2^(m - M), L · 2^(M₀ - M))`, and acc
//! likewise. A row (one query of one head) is computed in this order whatever rows are computed beside it, and whoever
//! computes a segment. An int8 cache's scales multiply whole scores (K) and whole p (V), so the sums over elements stay
//! sums of exactly widened integers.

mod passes;
mod reading;
mod segment;
mod softmax;
mod state;
#[cfg(test)]
mod tests;
mod tile;

use std::ops::Range;

use half::f16;

use self::{
    segment::Segments,
    state::{Fold, Outputs},
    tile::Cached,
};
use super::lanes::{LANES, dispatch};
use crate::{Isa, KvFormat, KvLayout};

/// Keys of a segment.
pub(crate) const SEGMENT: usize = 256;

/// Rows that share a pass over the keys, about: a tile of keys is widened once for all of them, and their scores stay in
/// the nearest caches.
const ROWS: usize = 48;

/// Queries that share a pass over the keys, for `group` query heads of a kv head.
pub(crate) fn query_tile(group: usize) -> usize {
    (ROWS / group.max(1)).max(1)
}

/// Queries of one sequence, and the heads that share some kv heads: one where there are several queries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queries {
    /// Position of the first query.
    pub(crate) first_position: usize,
    /// Queries, at most [`query_tile`].
    pub(crate) count: usize,
    /// `[count][q_stride]`, heads side by side.
    pub(crate) q: *const f32,
    pub(crate) q_stride_elems: usize,
    /// `[count][out_stride]`.
    pub(crate) out: *mut f32,
    pub(crate) out_stride_elems: usize,
    /// The first kv head.
    pub(crate) kv_head: usize,
    pub(crate) kv_heads: usize,
    /// Query heads of a kv head.
    pub(crate) group: usize,
    pub(crate) scale: f32,
    pub(crate) window: Option<usize>,
}

impl Queries {
    /// Rows of a kv head: its heads of all queries.
    fn rows(&self) -> usize {
        self.count * self.group
    }

    /// The keys a row sees; rows of one query see the same.
    fn seen(&self, row: usize) -> Range<usize> {
        let position = self.first_position + row / self.group;
        position.saturating_sub(self.window.map_or(position, |window| window - 1))..position + 1
    }

    /// The segments that hold a key some row sees.
    fn segments(&self) -> Range<usize> {
        let last = self.first_position + self.count;
        self.seen(0).start / SEGMENT..last.div_ceil(SEGMENT)
    }

    /// Segments of heads: how many.
    pub(crate) fn steps(&self) -> usize {
        self.segments().len() * self.kv_heads
    }

    /// A step's segment, and its head among these: heads take turns, because their keys lie side by side.
    fn step(&self, step: usize) -> (usize, usize) {
        (self.segments().start + step / self.kv_heads, step % self.kv_heads)
    }

    /// Where a row of one of the heads has its query, and its output.
    fn offset(&self, head: usize, row: usize, stride_elems: usize, head_dim: usize) -> usize {
        let first = (self.kv_head + head) * self.group;
        row / self.group * stride_elems + (first + row % self.group) * head_dim
    }
}

/// Where the keys and values of one layer and sequence are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cache<'a> {
    pub(crate) layout: &'a KvLayout,
    pub(crate) base: *const u8,
    /// Blocks of the whole cache.
    pub(crate) blocks: usize,
    pub(crate) layer: usize,
    pub(crate) block_table: &'a [u32],
}

/// f32 of scratch that [`attend`] takes.
pub(crate) fn scratch_elems(layout: &KvLayout, group: usize) -> usize {
    let rows = query_tile(group) * group;
    segment::scratch_elems(layout.head_dim(), rows) + state_elems(layout.head_dim(), rows)
}

/// f32 of the state of `rows` rows.
pub(crate) fn state_elems(head_dim: usize, rows: usize) -> usize {
    rows * (padded(head_dim) + 2)
}

fn padded(head_dim: usize) -> usize {
    head_dim.next_multiple_of(LANES)
}

/// `out[query, head] = softmax(scale · q[query, head] · K) V` over the keys each query sees.
///
/// # Safety
/// The processor has `isa`. The cache holds every block of its table up to the last query's position, written up to
/// there; q and out are as [`Queries`] says, and nobody else writes these rows and heads of out; `scratch` has
/// [`scratch_elems`], enough for [`query_tile`] queries, or as many kv heads of one.
pub(crate) unsafe fn attend(isa: Isa, cache: Cache<'_>, queries: &Queries, scratch: &mut [f32]) {
    let elems = state_elems(cache.layout.head_dim(), queries.rows());
    let (states, scratch) = scratch.split_at_mut(elems * queries.kv_heads);
    // SAFETY: this function's terms.
    unsafe {
        attend_steps(isa, cache, queries, 0..queries.steps(), Found::ByHead(states), scratch);
        for (head, state) in states.chunks_exact(elems).enumerate() {
            write(isa, cache.layout, queries, head, state);
        }
    }
}

/// Where the keys of a step begin.
pub(crate) fn first_keys(cache: Cache<'_>, queries: &Queries, step: usize) -> *const u8 {
    reading::Reading { cache, queries }.first_keys(step)
}

/// Where what is found in segments goes: states of a kv head's rows, [`state_elems`] each.
pub(crate) enum Found<'a> {
    /// `[kv_heads]`: what each has found up to there. A head's first segment begins it.
    ByHead(&'a mut [f32]),
    /// `[steps]`: of each as if nothing came before.
    ByStep(&'a mut [f32]),
}

/// What [`attend`] does for some steps.
///
/// # Safety
/// As [`attend`]; out is not touched, and of scratch what is left after the states is enough.
pub(crate) unsafe fn attend_steps(
    isa: Isa,
    cache: Cache<'_>,
    queries: &Queries,
    steps: Range<usize>,
    found: Found<'_>,
    scratch: &mut [f32],
) {
    // SAFETY: this function's terms.
    unsafe {
        match cache.layout.format() {
            KvFormat::F16 => run::<f16>(isa, cache, queries, steps, found, scratch),
            KvFormat::F32 => run::<f32>(isa, cache, queries, steps, found, scratch),
            KvFormat::Int8 => run::<i8>(isa, cache, queries, steps, found, scratch),
        }
    }
}

/// # Safety
/// The terms of [`attend_steps`]; `T` is the cache's element.
unsafe fn run<T: Cached>(
    isa: Isa,
    cache: Cache<'_>,
    queries: &Queries,
    steps: Range<usize>,
    found: Found<'_>,
    scratch: &mut [f32],
) {
    let element = std::marker::PhantomData::<T>;
    // SAFETY: this function's terms.
    unsafe { dispatch(isa, Segments { cache, queries, steps, found, scratch, element }) }
}

/// Folds the state of the segment that follows into `state`.
pub(crate) fn fold(isa: Isa, layout: &KvLayout, state: &mut [f32], next: &[f32]) {
    // SAFETY: the instruction set was checked when the backend was made.
    unsafe { dispatch(isa, Fold { head_dim: layout.head_dim(), state, next }) }
}

/// Writes the outputs of one of the heads, whose state has seen every segment.
///
/// # Safety
/// As [`attend`].
pub(crate) unsafe fn write(isa: Isa, layout: &KvLayout, queries: &Queries, head: usize, state: &[f32]) {
    // SAFETY: this function's terms.
    unsafe { dispatch(isa, Outputs { head_dim: layout.head_dim(), queries, head, state }) }
}

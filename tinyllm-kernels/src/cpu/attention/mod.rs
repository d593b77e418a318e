//! Attention over the paged cache, without a [tokens, tokens] matrix.
//!
//! Online softmax over segments of 256 keys, aligned to position 0 (as in FlashAttention). For each segment: the scores
//! s in units of ln 2, their exact maximum m, p = 2^(s - m), the sum l of p (key j in lane j mod 16, then a tree) and
//! acc = Σ p·v in key order. Segments are merged in order: with M the larger of M₀ and m,
//! `L = fma(l, 2^(m - M), L · 2^(M₀ - M))`, and acc likewise. A row (one query of one head) is computed in this order
//! whatever rows are computed with it, and by whichever worker. An int8 cache's scales multiply whole scores (K) and
//! whole p (V), so the sums over elements are over exactly converted integers.

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
    state::{Merge, Outputs},
    tile::Cached,
};
use super::{
    kv::KvLayout,
    lanes::{LANES, dispatch},
};
use crate::{Isa, KvFormat};

/// Keys of a segment.
pub(crate) const SEGMENT: usize = 256;

/// About how many rows share a pass over the keys: a tile of keys is converted once for all of them, and their scores
/// stay in L1.
const ROWS: usize = 48;

/// Queries that share a pass over the keys, for `group` query heads per KV head.
pub(crate) fn query_tile(group: usize) -> usize {
    (ROWS / group.max(1)).max(1)
}

/// Queries of one sequence, for the query heads of some KV heads: of one KV head where there are several queries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queries {
    /// Position of the first query.
    pub(crate) first_position: usize,
    /// Queries, at most [`query_tile`].
    pub(crate) count: usize,
    /// `[count][q_stride]`, a query's heads contiguous.
    pub(crate) q: *const f32,
    pub(crate) q_stride_elems: usize,
    /// `[count][out_stride]`.
    pub(crate) out: *mut f32,
    pub(crate) out_stride_elems: usize,
    /// The first KV head, and how many.
    pub(crate) kv_head: usize,
    pub(crate) kv_heads: usize,
    /// Query heads per KV head.
    pub(crate) group: usize,
    pub(crate) scale: f32,
    pub(crate) window: Option<usize>,
}

impl Queries {
    /// Rows of a KV head: its query heads of all queries.
    fn rows(&self) -> usize {
        self.count * self.group
    }

    /// The keys that a row attends to: causal, within the window.
    fn visible(&self, row: usize) -> Range<usize> {
        let position = self.first_position + row / self.group;
        position.saturating_sub(self.window.map_or(position, |window| window - 1))..position + 1
    }

    /// The segments with a key that some row attends to.
    fn segments(&self) -> Range<usize> {
        let last = self.first_position + self.count;
        self.visible(0).start / SEGMENT..last.div_ceil(SEGMENT)
    }

    /// Number of splits: a split is one segment of one KV head.
    pub(crate) fn splits(&self) -> usize {
        self.segments().len() * self.kv_heads
    }

    /// A split's segment, and its KV head among these: all heads of a segment, then the next segment, because a
    /// segment's heads are contiguous in the cache.
    fn split(&self, split: usize) -> (usize, usize) {
        (self.segments().start + split / self.kv_heads, split % self.kv_heads)
    }

    /// Offset in elements of a row's query or output, for one of these KV heads.
    fn offset(&self, head: usize, row: usize, stride_elems: usize, head_dim: usize) -> usize {
        let first = (self.kv_head + head) * self.group;
        row / self.group * stride_elems + (first + row % self.group) * head_dim
    }
}

/// The keys and values of one layer and sequence in the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cache<'a> {
    pub(crate) layout: &'a KvLayout,
    pub(crate) base: *const u8,
    pub(crate) layer: usize,
    pub(crate) block_table: &'a [u32],
}

/// f32 of scratch that [`attend`] takes.
pub(crate) fn scratch_elems(head_dim: usize, group: usize) -> usize {
    let rows = query_tile(group) * group;
    segment::scratch_elems(head_dim, rows) + state_elems(head_dim, rows)
}

/// f32 of the softmax state of `rows` rows.
pub(crate) fn state_elems(head_dim: usize, rows: usize) -> usize {
    rows * (padded(head_dim) + 2)
}

fn padded(head_dim: usize) -> usize {
    head_dim.next_multiple_of(LANES)
}

/// `out[query, head] = softmax(scale · q[query, head] · K) V` over the keys each query sees.
///
/// # Safety
/// The processor has `isa`. The cache holds every block of the block table up to the last query's position, and keys
/// and values are written up to there. q and out are as [`Queries`] says; while this runs no other thread writes q or
/// these blocks, or uses these rows and heads of out. `scratch` has [`scratch_elems`] f32, and there are at most
/// [`query_tile`] queries, or one query and at most [`query_tile`] KV heads.
pub(crate) unsafe fn attend(isa: Isa, cache: Cache<'_>, queries: &Queries, scratch: &mut [f32]) {
    let elems = state_elems(cache.layout.head_dim(), queries.rows());
    let (states, scratch) = scratch.split_at_mut(elems * queries.kv_heads);
    // SAFETY: this function's contract.
    unsafe {
        attend_splits(isa, cache, queries, 0..queries.splits(), Partials::ByHead(states), scratch);
        for (head, state) in states.chunks_exact(elems).enumerate() {
            write(isa, cache.layout, queries, head, state);
        }
    }
}

/// Where the keys of a split begin.
pub(crate) fn first_keys(cache: Cache<'_>, queries: &Queries, split: usize) -> *const u8 {
    reading::ReadOrder { cache, queries }.first_keys(split)
}

/// Where the partial results of splits go: states of a KV head's rows, [`state_elems`] each.
pub(crate) enum Partials<'a> {
    /// `[kv_heads]`: each head's splits merged in order as they are computed. The head's first split initialises its
    /// state.
    ByHead(&'a mut [f32]),
    /// `[splits]`: each split's own state, to be merged later.
    BySplit(&'a mut [f32]),
}

/// [`attend`] for some splits, without writing outputs.
///
/// # Safety
/// As [`attend`], but out is not used; `scratch` is [`attend`]'s without the states, and `partials` holds the states of
/// these splits or heads.
pub(crate) unsafe fn attend_splits(
    isa: Isa,
    cache: Cache<'_>,
    queries: &Queries,
    splits: Range<usize>,
    partials: Partials<'_>,
    scratch: &mut [f32],
) {
    // SAFETY: this function's contract.
    unsafe {
        match cache.layout.format() {
            KvFormat::F16 => run::<f16>(isa, cache, queries, splits, partials, scratch),
            KvFormat::F32 => run::<f32>(isa, cache, queries, splits, partials, scratch),
            KvFormat::Int8 => run::<i8>(isa, cache, queries, splits, partials, scratch),
        }
    }
}

/// # Safety
/// The contract of [`attend_splits`]; `T` is the cache's element type.
unsafe fn run<T: Cached>(
    isa: Isa,
    cache: Cache<'_>,
    queries: &Queries,
    splits: Range<usize>,
    partials: Partials<'_>,
    scratch: &mut [f32],
) {
    let element = std::marker::PhantomData::<T>;
    // SAFETY: this function's contract.
    unsafe { dispatch(isa, Segments { cache, queries, splits, partials, scratch, element }) }
}

/// Merges the state of the split that follows into `state`.
pub(crate) fn merge(isa: Isa, layout: &KvLayout, state: &mut [f32], next: &[f32]) {
    // SAFETY: `isa` is a `Cpu`'s, and `Cpu::new` checked that the processor has it; the states are slices.
    unsafe { dispatch(isa, Merge { head_dim: layout.head_dim(), state, next }) }
}

/// Writes the outputs of one of the heads, whose state has every segment merged.
///
/// # Safety
/// As [`attend`].
pub(crate) unsafe fn write(isa: Isa, layout: &KvLayout, queries: &Queries, head: usize, state: &[f32]) {
    // SAFETY: this function's contract.
    unsafe { dispatch(isa, Outputs { head_dim: layout.head_dim(), queries, head, state }) }
}

//! One segment after another: scores, softmax, attended values, merge.
//!
//! Whole tiles of sixteen keys are computed for all rows. Where a row does not attend to a key its p is 0, and adding 0
//! · v changes nothing but the sign of a zero, which is then made positive: a row's bits do not depend on the rows
//! computed with it.

use std::{marker::PhantomData, ops::Range};

use super::{
    Cache, Partials, Queries, SEGMENT, padded,
    reading::{ReadOrder, Segment},
    softmax::largest,
    state::{State, merge_row},
    tile::Cached,
};
use crate::{
    cpu::kv::TILE_TOKENS,
    cpu::lanes::{Kernel, LANES, Lanes},
};

/// f32 of scratch for `rows` rows.
pub(super) fn scratch_elems(head_dim: usize, rows: usize) -> usize {
    rows * (head_dim + SEGMENT + padded(head_dim) + 2) + TILE_TOKENS * padded(head_dim)
}

/// Computes splits, and leaves the states of their rows in `partials`.
pub(super) struct Segments<'a, T> {
    pub(super) cache: Cache<'a>,
    pub(super) queries: &'a Queries,
    pub(super) splits: Range<usize>,
    pub(super) partials: Partials<'a>,
    pub(super) scratch: &'a mut [f32],
    pub(super) element: PhantomData<T>,
}

/// The scratch of one segment.
pub(super) struct Scratch<'s> {
    /// `[rows][head_dim]`: the queries; copies, or a single token's queries in place.
    pub(super) queries: *const f32,
    /// `[rows][SEGMENT]`: scores, then p.
    pub(super) scores: &'s mut [f32],
    /// `[rows][padded head_dim]`: Σ p·v of this segment.
    pub(super) attended: &'s mut [f32],
    /// `[rows][2]`: m and l of this segment.
    pub(super) sums: &'s mut [f32],
    /// A tile of keys or values, converted to f32.
    pub(super) tile: &'s mut [f32],
}

/// Up to this many rows read keys and values in place: converting them first costs more than it saves.
pub(super) const IN_PLACE_ROWS: usize = 4;

impl<T: Cached> Kernel for Segments<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Segments { cache, queries, mut partials, .. } = self;
        let head_dim = cache.layout.head_dim();
        let (rows, width) = (queries.rows(), padded(head_dim));
        let reading = ReadOrder { cache, queries };
        let (copies, rest) = self.scratch.split_at_mut(rows * head_dim);
        let (scores, rest) = rest.split_at_mut(rows * SEGMENT);
        let (attended, rest) = rest.split_at_mut(rows * width);
        let (sums, rest) = rest.split_at_mut(2 * rows);
        let tile = &mut rest[..TILE_TOKENS * width];
        let mut scratch = Scratch { queries: copies.as_ptr(), scores, attended, sums, tile };
        // SAFETY: the contract of `super::attend_splits`, which is the only caller; rows, keys and columns stay inside
        // the scratch split above.
        unsafe {
            let is_in_place = rows <= IN_PLACE_ROWS && head_dim.is_multiple_of(2 * LANES);
            let mut places = reading.places(self.splits.start);
            for split in self.splits.clone() {
                let (index, head) = queries.split(split);
                if queries.count == 1 {
                    scratch.queries =
                        queries.q.add(queries.offset(head, 0, queries.q_stride_elems, head_dim));
                } else if split == self.splits.start || queries.kv_heads > 1 {
                    for (row, copy) in copies.chunks_exact_mut(head_dim).enumerate() {
                        let query = queries.offset(head, row, queries.q_stride_elems, head_dim);
                        queries.q.add(query).copy_to_nonoverlapping(copy.as_mut_ptr(), head_dim);
                    }
                    scratch.queries = copies.as_ptr();
                }
                let is_by_split = matches!(partials, Partials::BySplit(_));
                let (states, place) = match &mut partials {
                    Partials::ByHead(states) => (states, head),
                    Partials::BySplit(states) => (states, split - self.splits.start),
                };
                let mut state = State::of(states, place, rows, width);
                if is_by_split || index == queries.split(0).0 {
                    state.start();
                }
                let (base, following) = (index * SEGMENT, reading.following(split, &places));
                let segment = Segment::new(&reading, index, &places, &following);
                if is_in_place {
                    segment.score_in_place::<L, T>(queries, &mut scratch);
                } else {
                    segment.score_converted::<L, T>(queries, &mut scratch);
                }
                let span = segment.tiles.start * TILE_TOKENS..segment.tiles.end * TILE_TOKENS;
                let visible = |row: usize| {
                    let visible = clip(queries.visible(row), base, &span);
                    visible.start - span.start..visible.end - span.start
                };
                // The maxima of all rows in one loop: each is a chain of dependent instructions, and those of several
                // rows overlap.
                for row in 0..rows {
                    let scores = &mut scratch.scores[row * SEGMENT..][span.clone()];
                    scratch.sums[2 * row] = largest::<L>(scores, visible(row));
                }
                scratch.attended.fill(0.0);
                if is_in_place {
                    segment.attend_in_place::<L, T>(rows, width, &mut scratch);
                } else {
                    segment.attend_converted::<L, T>(rows, width, &mut scratch);
                }
                for row in 0..rows {
                    if !clip(queries.visible(row), base, &span).is_empty() {
                        let columns = row * width..(row + 1) * width;
                        let attended = &mut scratch.attended[columns.clone()];
                        positive_zeros::<L>(attended);
                        let partials = (scratch.sums[2 * row], scratch.sums[2 * row + 1]);
                        merge_row::<L>(
                            &mut state.total[columns],
                            &mut state.sums[2 * row..][..2],
                            partials,
                            attended,
                        );
                    }
                }
                places = following.0;
            }
        }
    }
}

/// A row's keys that are in `span` of the segment at `base`, counted from `base`.
#[inline(always)]
fn clip(visible: Range<usize>, base: usize, span: &Range<usize>) -> Range<usize> {
    let start = visible.start.clamp(base + span.start, base + span.end) - base;
    start..(visible.end.clamp(base + span.start, base + span.end) - base).max(start)
}

/// −0 becomes 0; everything else stays.
///
/// # Safety
/// The processor has `L`.
#[inline(always)]
unsafe fn positive_zeros<L: Lanes>(values: &mut [f32]) {
    for chunk in values.chunks_exact_mut(LANES) {
        if let Some(chunk) = chunk.first_chunk_mut::<LANES>() {
            // SAFETY: sixteen values; the processor has `L` (this function's contract).
            unsafe { L::store(L::add(L::load_f32(chunk.as_ptr()), L::zero_floats()), chunk) };
        }
    }
}

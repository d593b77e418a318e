//! One segment after another: scores, softmax, weighted values, fold.
//!
//! Whole tiles of sixteen keys are computed for all rows. Where a row does not see a key its p is 0, and adding 0 · v
//! changes nothing but the sign of a zero, which is then made positive: a row's bits do not depend on its neighbours.

use std::{marker::PhantomData, ops::Range};

use super::{
    Cache, Found, Queries, SEGMENT, padded,
    reading::{Reading, Segment},
    softmax::largest,
    state::{State, fold_row},
    tile::Cached,
};
use crate::{
    cpu::lanes::{Kernel, LANES, Lanes},
    kv_layout::TILE_TOKENS,
};

/// f32 of scratch for `rows` rows.
pub(super) fn scratch_elems(head_dim: usize, rows: usize) -> usize {
    rows * (head_dim + SEGMENT + padded(head_dim) + 2) + TILE_TOKENS * padded(head_dim)
}

/// Runs over segments of heads and leaves their rows' states.
pub(super) struct Segments<'a, T> {
    pub(super) cache: Cache<'a>,
    pub(super) queries: &'a Queries,
    pub(super) steps: Range<usize>,
    pub(super) found: Found<'a>,
    pub(super) scratch: &'a mut [f32],
    pub(super) element: PhantomData<T>,
}

/// What lies in scratch.
pub(super) struct Scratch<'s> {
    /// `[rows][head_dim]`: the queries; copies, or those of a single token where they lie.
    pub(super) queries: *const f32,
    /// `[rows][SEGMENT]`: scores, then p.
    pub(super) scores: &'s mut [f32],
    /// `[rows][padded head_dim]`: Σ p·v of this segment.
    pub(super) weighted: &'s mut [f32],
    /// `[rows][2]`: m and l of this segment.
    pub(super) sums: &'s mut [f32],
    /// Sixteen keys or values as f32.
    pub(super) tile: &'s mut [f32],
}

/// Up to this many rows keys and values are used where they lie: widening them apart costs more than it saves.
pub(super) const DIRECT_ROWS: usize = 4;

impl<T: Cached> Kernel for Segments<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Segments { cache, queries, mut found, .. } = self;
        let head_dim = cache.layout.head_dim();
        let (rows, width) = (queries.rows(), padded(head_dim));
        let reading = Reading { cache, queries };
        let (copies, rest) = self.scratch.split_at_mut(rows * head_dim);
        let (scores, rest) = rest.split_at_mut(rows * SEGMENT);
        let (weighted, rest) = rest.split_at_mut(rows * width);
        let (sums, rest) = rest.split_at_mut(2 * rows);
        let tile = &mut rest[..TILE_TOKENS * width];
        let mut scratch = Scratch { queries: copies.as_ptr(), scores, weighted, sums, tile };
        // SAFETY: the terms of `super::attend`; rows, keys and columns stay inside the scratch cut above.
        unsafe {
            let is_direct = rows <= DIRECT_ROWS && head_dim.is_multiple_of(2 * LANES);
            let mut places = reading.places(self.steps.start);
            for step in self.steps.clone() {
                let (index, head) = queries.step(step);
                if queries.count == 1 {
                    scratch.queries =
                        queries.q.add(queries.offset(head, 0, queries.q_stride_elems, head_dim));
                } else if step == self.steps.start || queries.kv_heads > 1 {
                    for (row, copy) in copies.chunks_exact_mut(head_dim).enumerate() {
                        let query = queries.offset(head, row, queries.q_stride_elems, head_dim);
                        queries.q.add(query).copy_to_nonoverlapping(copy.as_mut_ptr(), head_dim);
                    }
                    scratch.queries = copies.as_ptr();
                }
                let is_apart = matches!(found, Found::ByStep(_));
                let (states, place) = match &mut found {
                    Found::ByHead(states) => (states, head),
                    Found::ByStep(states) => (states, step - self.steps.start),
                };
                let mut state = State::of(states, place, rows, width);
                if is_apart || index == queries.step(0).0 {
                    state.start();
                }
                let (base, following) = (index * SEGMENT, reading.following(step, &places));
                let segment = Segment::new(&reading, index, &places, &following);
                if is_direct {
                    segment.score_directly::<L, T>(queries, &mut scratch);
                } else {
                    segment.score_widened::<L, T>(queries, &mut scratch);
                }
                let span = segment.tiles.start * TILE_TOKENS..segment.tiles.end * TILE_TOKENS;
                let seen = |row: usize| {
                    let seen = clip(queries.seen(row), base, &span);
                    seen.start - span.start..seen.end - span.start
                };
                // All rows' largest scores first: each takes a chain of steps that wait for each other.
                for row in 0..rows {
                    let scores = &mut scratch.scores[row * SEGMENT..][span.clone()];
                    scratch.sums[2 * row] = largest::<L>(scores, seen(row));
                }
                scratch.weighted.fill(0.0);
                if is_direct {
                    segment.weigh_directly::<L, T>(rows, width, &mut scratch);
                } else {
                    segment.weigh_widened::<L, T>(rows, width, &mut scratch);
                }
                for row in 0..rows {
                    if !clip(queries.seen(row), base, &span).is_empty() {
                        let columns = row * width..(row + 1) * width;
                        let weighted = &mut scratch.weighted[columns.clone()];
                        positive_zeros::<L>(weighted);
                        let found = (scratch.sums[2 * row], scratch.sums[2 * row + 1]);
                        fold_row::<L>(
                            &mut state.total[columns],
                            &mut state.sums[2 * row..][..2],
                            found,
                            weighted,
                        );
                    }
                }
                places = following.0;
            }
        }
    }
}

/// The part of a row's keys that `span` of the segment at `base` holds, counted from `base`.
#[inline(always)]
fn clip(seen: Range<usize>, base: usize, span: &Range<usize>) -> Range<usize> {
    let start = seen.start.clamp(base + span.start, base + span.end) - base;
    start..(seen.end.clamp(base + span.start, base + span.end) - base).max(start)
}

/// −0 becomes 0; everything else stays.
///
/// # Safety
/// The processor has `L`.
#[inline(always)]
unsafe fn positive_zeros<L: Lanes>(values: &mut [f32]) {
    for chunk in values.chunks_exact_mut(LANES) {
        if let Some(chunk) = chunk.first_chunk_mut::<LANES>() {
            // SAFETY: sixteen values; the instruction set is among this function's terms.
            unsafe { L::store(L::add(L::load_f32(chunk.as_ptr()), L::zero_floats()), chunk) };
        }
    }
}

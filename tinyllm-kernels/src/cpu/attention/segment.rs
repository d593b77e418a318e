//! One segment after another: scores, softmax, weighted values, fold.
//!
//! Whole tiles of sixteen keys are computed for all rows. Where a row does not see a key its p is 0, and adding 0 · v
//! changes nothing but the sign of a zero, which is then made positive: a row's bits do not depend on its neighbours.

use std::{marker::PhantomData, ops::Range};

use super::{
    Cache, Queries, SEGMENT, padded,
    state::{State, fold_row},
    tile::{Cached, Head},
};
use crate::{
    cpu::{
        lanes::{Kernel, LANES, Lanes, load_or, store_to, tree_sum},
        math::exp,
    },
    kv_layout::TILE_TOKENS,
};

/// f32 of scratch for `rows` rows.
pub(super) fn scratch_elems(head_dim: usize, rows: usize) -> usize {
    rows * (head_dim + SEGMENT + padded(head_dim) + 2) + TILE_TOKENS * padded(head_dim)
}

/// Runs over segments and leaves the rows' state.
pub(super) struct Segments<'a, T> {
    pub(super) cache: Cache<'a>,
    pub(super) queries: &'a Queries,
    pub(super) segments: Range<usize>,
    pub(super) state: &'a mut [f32],
    pub(super) scratch: &'a mut [f32],
    pub(super) element: PhantomData<T>,
}

/// What lies in scratch.
struct Scratch<'s> {
    /// `[head_dim][rows]`: the queries, so that those of one tile of rows lie side by side.
    queries: &'s mut [f32],
    /// `[rows][SEGMENT]`: scores, then p.
    scores: &'s mut [f32],
    /// `[rows][padded head_dim]`: Σ p·v of this segment.
    weighted: &'s mut [f32],
    /// `[rows][2]`: m and l of this segment.
    sums: &'s mut [f32],
    /// Sixteen keys or values as f32.
    tile: &'s mut [f32],
}

/// Calls `$call` for tiles of `$R` rows from `$row` on, as many rows as registers allow.
macro_rules! row_tiles {
    ($L:ident, $rows:expr, $row:ident, $R:ident => $call:expr) => {
        row_tiles!(@ $L, $rows, $row, $R => $call, 12 6 4 3 2 1)
    };
    (@ $L:ident, $rows:expr, $row:ident, $R:ident => $call:expr, $($count:literal)*) => {
        let mut $row = 0;
        $(while $count <= $L::FLOAT_ROWS && $row + $count <= $rows {
            const $R: usize = $count;
            $call;
            $row += $count;
        })*
    };
}

impl<T: Cached> Kernel for Segments<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let queries = self.queries;
        let head_dim = self.cache.layout.head_dim();
        let (rows, width) = (queries.rows(), padded(head_dim));
        let head = Head { cache: self.cache, kv_head: queries.kv_head };
        let state = State::start(self.state, rows, width);
        let (transposed, rest) = self.scratch.split_at_mut(rows * head_dim);
        let (scores, rest) = rest.split_at_mut(rows * SEGMENT);
        let (weighted, rest) = rest.split_at_mut(rows * width);
        let (sums, rest) = rest.split_at_mut(2 * rows);
        let tile = &mut rest[..TILE_TOKENS * width];
        let scratch = Scratch { queries: transposed, scores, weighted, sums, tile };
        // SAFETY: the terms of `super::attend`; rows, keys and columns stay inside the scratch cut above.
        unsafe {
            for row in 0..rows {
                let query = queries.q.add(queries.offset(row, queries.q_stride_elems, head_dim));
                for d in 0..head_dim {
                    scratch.queries[d * rows + row] = query.add(d).read();
                }
            }
            let written = queries.first_position + queries.count;
            for segment in self.segments {
                let base = segment * SEGMENT;
                let keys = base.max(queries.seen(0).start) - base..(base + SEGMENT).min(written) - base;
                let tiles = keys.start / TILE_TOKENS..keys.end.div_ceil(TILE_TOKENS);
                for tile in tiles.clone() {
                    let position = base + tile * TILE_TOKENS;
                    head.widen_keys::<L, T>(
                        position,
                        tile + 1 < tiles.end,
                        &mut scratch.tile[..TILE_TOKENS * head_dim],
                    );
                    let mut scale = L::splat(queries.scale);
                    if T::IS_SCALED {
                        scale = L::mul(scale, head.key_scales::<L>(position));
                    }
                    let scores = scratch.scores.as_mut_ptr().add(tile * TILE_TOKENS);
                    let (keys, queries) = (scratch.tile.as_ptr(), scratch.queries.as_ptr());
                    row_tiles!(L, rows, row, R => score::<L, R>(row, keys, queries, rows, head_dim, scale, scores));
                }
                let span = tiles.start * TILE_TOKENS..tiles.end * TILE_TOKENS;
                for row in 0..rows {
                    let seen = clip(queries.seen(row), base, &span);
                    let scores = &mut scratch.scores[row * SEGMENT..][span.clone()];
                    let found = soften::<L>(scores, seen.start - span.start..seen.end - span.start);
                    scratch.sums[2 * row..][..2].copy_from_slice(&found);
                }
                scratch.weighted.fill(0.0);
                for tile in tiles.clone() {
                    let position = base + tile * TILE_TOKENS;
                    let has_next = tile + 1 < tiles.end;
                    head.widen_values::<L, T>(position, written, has_next, width, scratch.tile);
                    if T::IS_SCALED {
                        let scales = head.value_scales::<L>(position);
                        for row in 0..rows {
                            let place = row * SEGMENT + tile * TILE_TOKENS;
                            scale_seen::<L>(scales, &mut scratch.scores[place..][..TILE_TOKENS]);
                        }
                    }
                    let p = scratch.scores.as_ptr().add(tile * TILE_TOKENS);
                    let (values, weighted) = (scratch.tile.as_ptr(), scratch.weighted.as_mut_ptr());
                    row_tiles!(L, rows, row, R => weigh::<L, R>(row, values, p, width, weighted));
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

/// `scores[row][j] = scale · Σ_d q[row][d] k[d][j]` for `R` rows and a tile's keys, d in order, lanes along keys.
#[inline(always)]
unsafe fn score<L: Lanes, const R: usize>(
    row: usize,
    keys: *const f32,
    queries: *const f32,
    rows: usize,
    head_dim: usize,
    scale: L::Floats,
    scores: *mut f32,
) {
    // SAFETY: keys are `[head_dim][16]`, queries `[head_dim][rows]`, scores `[rows][SEGMENT]` from the tile's column on.
    unsafe {
        let mut sums = [L::zero_floats(); R];
        for d in 0..head_dim {
            let key = L::load_f32(keys.add(d * LANES));
            let query = queries.add(d * rows + row);
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = L::fma(key, query.add(r).read(), *sum);
            }
        }
        for (r, sum) in sums.into_iter().enumerate() {
            let out = scores.add((row + r) * SEGMENT).cast::<[f32; LANES]>();
            L::store(L::mul(sum, scale), &mut *out);
        }
    }
}

/// Turns a row's scores into `exp(s - m)`, 0 where it does not see the key; gives m and l.
#[inline(always)]
unsafe fn soften<L: Lanes>(scores: &mut [f32], seen: Range<usize>) -> [f32; 2] {
    if seen.is_empty() {
        scores.fill(0.0);
        return [f32::NEG_INFINITY, 0.0];
    }
    scores[..seen.start].fill(f32::NEG_INFINITY);
    scores[seen.end..].fill(f32::NEG_INFINITY);
    // SAFETY: chunks of sixteen; the instruction set is the caller's promise.
    unsafe {
        let mut largest = L::splat(f32::NEG_INFINITY);
        for chunk in scores.chunks_exact(LANES) {
            largest = L::max(L::load_f32(chunk.as_ptr()), largest);
        }
        let mut lanes = [0.0; LANES];
        L::store(largest, &mut lanes);
        let largest = lanes.into_iter().fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b });
        let m = L::splat(largest);
        let mut total = L::zero_floats();
        for chunk in scores.chunks_exact_mut(LANES) {
            let p = exp::<L>(L::sub(L::load_f32(chunk.as_ptr()), m));
            total = L::add(total, p);
            if let Some(chunk) = chunk.first_chunk_mut::<LANES>() {
                L::store(p, chunk);
            }
        }
        [largest, tree_sum::<L>(total)]
    }
}

/// Multiplies each p with its value's scale; an unseen key's p stays 0 whatever its scale.
#[inline(always)]
unsafe fn scale_seen<L: Lanes>(scales: L::Floats, p: &mut [f32]) {
    // SAFETY: sixteen p; the instruction set is the caller's promise.
    unsafe {
        let unscaled = load_or::<L>(p, 0.0);
        let scaled = L::mul(unscaled, scales);
        store_to::<L>(L::select_less(L::zero_floats(), unscaled, scaled, unscaled), p);
    }
}

/// `weighted[row] += Σ_j p[row][j] v[j]` for `R` rows and a tile's values, keys in order, lanes along columns.
#[inline(always)]
unsafe fn weigh<L: Lanes, const R: usize>(
    row: usize,
    values: *const f32,
    p: *const f32,
    width: usize,
    weighted: *mut f32,
) {
    // SAFETY: values are `[16][width]`, p `[rows][SEGMENT]` from the tile's column on, weighted `[rows][width]`.
    unsafe {
        let p = p.add(row * SEGMENT);
        for column in (0..width).step_by(LANES) {
            let mut sums = [L::zero_floats(); R];
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = L::load_f32(weighted.add((row + r) * width + column));
            }
            for j in 0..TILE_TOKENS {
                let value = L::load_f32(values.add(j * width + column));
                for (r, sum) in sums.iter_mut().enumerate() {
                    *sum = L::fma(value, p.add(r * SEGMENT + j).read(), *sum);
                }
            }
            for (r, sum) in sums.into_iter().enumerate() {
                let out = weighted.add((row + r) * width + column).cast::<[f32; LANES]>();
                L::store(sum, &mut *out);
            }
        }
    }
}

/// −0 becomes 0; everything else stays.
#[inline(always)]
unsafe fn positive_zeros<L: Lanes>(values: &mut [f32]) {
    for chunk in values.chunks_exact_mut(LANES) {
        if let Some(chunk) = chunk.first_chunk_mut::<LANES>() {
            // SAFETY: sixteen values; the instruction set is the caller's promise.
            unsafe { L::store(L::add(L::load_f32(chunk.as_ptr()), L::zero_floats()), chunk) };
        }
    }
}

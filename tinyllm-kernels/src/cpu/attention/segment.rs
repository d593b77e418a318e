//! One segment after another: scores, softmax, weighted values, fold.

use std::ops::Range;

use super::{Cached, Keys, Queries, SEGMENT, padded};
use crate::{
    cpu::{
        lanes::{LANES, Lanes, tree_sum},
        math::exp,
    },
    kv_layout::TILE_TOKENS,
};

/// The state of the rows, in scratch.
struct Rows<'s> {
    /// `[rows][SEGMENT]`.
    scores: &'s mut [f32],
    /// `[rows][padded head_dim]`, of this segment and of all before.
    partial: &'s mut [f32],
    total: &'s mut [f32],
    /// `[rows][4]`: m and l of this segment, M and L of all before.
    sums: &'s mut [f32],
}

#[inline(always)]
pub(super) unsafe fn attend<L: Lanes, T: Cached>(keys: &Keys<'_>, queries: &Queries, scratch: &mut [f32]) {
    let head_dim = keys.layout.head_dim();
    let width = padded(head_dim);
    let count = queries.count * queries.group;
    let (scores, rest) = scratch.split_at_mut(count * SEGMENT);
    let (partial, rest) = rest.split_at_mut(count * width);
    let (total, sums) = rest.split_at_mut(count * width);
    let rows = Rows { scores, partial, total, sums: &mut sums[..4 * count] };
    rows.total.fill(0.0);
    rows.sums.chunks_mut(4).for_each(|sums| sums.copy_from_slice(&[0.0, 0.0, f32::NEG_INFINITY, 0.0]));

    // The keys a row sees; rows of one query see the same.
    let seen = |row: usize| {
        let position = queries.first_position + row / queries.group;
        position.saturating_sub(queries.window.map_or(position, |window| window - 1))..position + 1
    };
    let query = |row: usize| {
        queries.q.wrapping_add(
            row / queries.group * queries.q_stride_elems
                + (queries.kv_head * queries.group + row % queries.group) * head_dim,
        )
    };
    let all = seen(0).start..seen(count - 1).end;
    // SAFETY: the terms of `super::attend`; rows, keys and columns stay inside the scratch cut above.
    unsafe {
        for segment in all.start / SEGMENT..all.end.div_ceil(SEGMENT) {
            let base = segment * SEGMENT;
            let clip = |range: Range<usize>| {
                let start = range.start.clamp(base, base + SEGMENT) - base;
                start..(range.end.clamp(base, base + SEGMENT) - base).max(start)
            };
            score::<L, T>(keys, base, clip(all.clone()), count, &query, queries.scale, rows.scores);
            for row in 0..count {
                let seen = clip(seen(row));
                let sums = &mut rows.sums[4 * row..][..2];
                let scores = &mut rows.scores[row * SEGMENT..][..SEGMENT];
                soften::<L>(scores, seen.clone(), sums);
                if T::IS_SCALED {
                    scale_by_values::<L>(keys, base, seen, scores);
                }
            }
            rows.partial.fill(0.0);
            weigh::<L, T>(keys, base, count, |row| clip(seen(row)), rows.scores, rows.partial);
            for row in 0..count {
                if !clip(seen(row)).is_empty() {
                    let partial = &rows.partial[row * width..][..width];
                    fold::<L>(
                        &mut rows.sums[4 * row..][..4],
                        partial,
                        &mut rows.total[row * width..][..width],
                    );
                }
            }
        }
        for row in 0..count {
            let out = queries.out.add(
                row / queries.group * queries.out_stride_elems
                    + (queries.kv_head * queries.group + row % queries.group) * head_dim,
            );
            let sum = rows.sums[4 * row + 3];
            for d in 0..head_dim {
                out.add(d).write(rows.total[row * width + d] / sum);
            }
        }
    }
}

/// `scores[row][j] = scale · Σ_d q[row][d] k[d][j]` for the tiles that hold `range`, d in order, lanes along keys.
#[inline(always)]
unsafe fn score<L: Lanes, T: Cached>(
    keys: &Keys<'_>,
    base: usize,
    range: Range<usize>,
    count: usize,
    query: &impl Fn(usize) -> *const f32,
    scale: f32,
    scores: &mut [f32],
) {
    for tile in range.start / TILE_TOKENS..range.end.div_ceil(TILE_TOKENS) {
        let position = base + tile * TILE_TOKENS;
        let mut row = 0;
        // SAFETY: the tile lies in the cache; rows below `count` have queries and scores.
        unsafe {
            while L::TILE_ROWS >= 12 && row + 12 <= count {
                score_tile::<L, T, 12>(keys, position, row, query, scale, &mut scores[tile * TILE_TOKENS..]);
                row += 12;
            }
            while row + 3 <= count {
                score_tile::<L, T, 3>(keys, position, row, query, scale, &mut scores[tile * TILE_TOKENS..]);
                row += 3;
            }
            while row < count {
                score_tile::<L, T, 1>(keys, position, row, query, scale, &mut scores[tile * TILE_TOKENS..]);
                row += 1;
            }
        }
    }
}

#[inline(always)]
unsafe fn score_tile<L: Lanes, T: Cached, const R: usize>(
    keys: &Keys<'_>,
    position: usize,
    row: usize,
    query: &impl Fn(usize) -> *const f32,
    scale: f32,
    scores: &mut [f32],
) {
    // SAFETY: as `score`; a query has head_dim elements, the tile head_dim rows of sixteen keys.
    unsafe {
        let key = keys.tile::<T>(position);
        let queries: [*const f32; R] = std::array::from_fn(|r| query(row + r));
        let mut sums = [L::zero_floats(); R];
        for d in 0..keys.layout.head_dim() {
            let key = T::load::<L>(key.add(d * TILE_TOKENS));
            for r in 0..R {
                sums[r] = L::fma(key, queries[r].add(d).read(), sums[r]);
            }
        }
        let mut scale = L::splat(scale);
        if T::IS_SCALED {
            scale = L::mul(scale, L::load_f16(keys.scales(position)));
        }
        for (r, sum) in sums.into_iter().enumerate() {
            let out = &mut scores[(row + r) * SEGMENT..][..LANES];
            if let Some(out) = out.first_chunk_mut::<LANES>() {
                L::store(L::mul(sum, scale), out);
            }
        }
    }
}

/// Turns a row's scores into `exp(s - m)`; `sums` become m and l.
#[inline(always)]
unsafe fn soften<L: Lanes>(scores: &mut [f32], seen: Range<usize>, sums: &mut [f32]) {
    if seen.is_empty() {
        return;
    }
    let tiles = seen.start / LANES * LANES..seen.end.next_multiple_of(LANES);
    scores[tiles.start..seen.start].fill(f32::NEG_INFINITY);
    scores[seen.end..tiles.end].fill(f32::NEG_INFINITY);
    let scores = &mut scores[tiles];
    let largest = scores.iter().fold(f32::NEG_INFINITY, |a, &b| if a > b { a } else { b });
    // SAFETY: chunks of sixteen; the instruction set is the caller's promise.
    unsafe {
        let m = L::splat(largest);
        let mut total = L::zero_floats();
        for chunk in scores.chunks_exact_mut(LANES) {
            let p = exp::<L>(L::sub(L::load_f32(chunk.as_ptr()), m));
            total = L::add(total, p);
            if let Some(chunk) = chunk.first_chunk_mut::<LANES>() {
                L::store(p, chunk);
            }
        }
        sums[0] = largest;
        sums[1] = tree_sum::<L>(total);
    }
}

/// Multiplies each p with its value's scale.
#[inline(always)]
unsafe fn scale_by_values<L: Lanes>(keys: &Keys<'_>, base: usize, seen: Range<usize>, scores: &mut [f32]) {
    for tile in seen.start / TILE_TOKENS..seen.end.div_ceil(TILE_TOKENS) {
        // SAFETY: the tile lies in the cache and ends with sixteen scales of K and sixteen of V.
        unsafe {
            let scales = L::load_f16(keys.scales(base + tile * TILE_TOKENS).add(TILE_TOKENS));
            if let Some(scores) = scores[tile * TILE_TOKENS..].first_chunk_mut::<LANES>() {
                L::store(L::mul(L::load_f32(scores.as_ptr()), scales), scores);
            }
        }
    }
}

/// `partial[row] += Σ_j p[row][j] v[j]`, keys in order. Rows whose keys overlap share the loads of V; what only one of
/// them sees comes before or after.
#[inline(always)]
unsafe fn weigh<L: Lanes, T: Cached>(
    keys: &Keys<'_>,
    base: usize,
    count: usize,
    seen: impl Fn(usize) -> Range<usize>,
    scores: &[f32],
    partial: &mut [f32],
) {
    let mut row = 0;
    // SAFETY: as `score`.
    unsafe {
        while row + 3 <= count {
            let ranges = [seen(row), seen(row + 1), seen(row + 2)];
            let start = ranges.iter().map(|range| range.start).fold(0, usize::max);
            let end = ranges.iter().map(|range| range.end).fold(usize::MAX, usize::min).max(start);
            for (r, range) in ranges.iter().enumerate() {
                let before = range.start..range.end.min(start);
                weigh_rows::<L, T, 1>(keys, base, row + r, before, scores, partial);
            }
            weigh_rows::<L, T, 3>(keys, base, row, start..end, scores, partial);
            for (r, range) in ranges.iter().enumerate() {
                let after = range.start.max(end).max(start)..range.end;
                weigh_rows::<L, T, 1>(keys, base, row + r, after, scores, partial);
            }
            row += 3;
        }
        while row < count {
            weigh_rows::<L, T, 1>(keys, base, row, seen(row), scores, partial);
            row += 1;
        }
    }
}

#[inline(always)]
unsafe fn weigh_rows<L: Lanes, T: Cached, const R: usize>(
    keys: &Keys<'_>,
    base: usize,
    row: usize,
    range: Range<usize>,
    scores: &[f32],
    partial: &mut [f32],
) {
    if range.start >= range.end {
        return;
    }
    let head_dim = keys.layout.head_dim();
    let mut column = 0;
    // SAFETY: as `score`; whole chunks of sixteen or sixty-four columns lie inside head_dim.
    unsafe {
        while column + 4 * LANES <= head_dim {
            weigh_columns::<L, T, R, 4>(keys, base, row, range.clone(), column, scores, partial);
            column += 4 * LANES;
        }
        while column + LANES <= head_dim {
            weigh_columns::<L, T, R, 1>(keys, base, row, range.clone(), column, scores, partial);
            column += LANES;
        }
    }
    let width = padded(head_dim);
    for d in column..head_dim {
        for r in row..row + R {
            let mut sum = partial[r * width + d];
            for j in range.clone() {
                let tile = keys.tile::<T>(base + j);
                // SAFETY: column d of a value inside the tile.
                let value = unsafe {
                    tile.add(keys.layout.value_offset_elems() + j % TILE_TOKENS * head_dim + d).read()
                };
                sum = scores[r * SEGMENT + j].mul_add(value.widen(), sum);
            }
            partial[r * width + d] = sum;
        }
    }
}

#[inline(always)]
#[allow(clippy::needless_range_loop)] // c and r address registers
unsafe fn weigh_columns<L: Lanes, T: Cached, const R: usize, const C: usize>(
    keys: &Keys<'_>,
    base: usize,
    row: usize,
    range: Range<usize>,
    column: usize,
    scores: &[f32],
    partial: &mut [f32],
) {
    let head_dim = keys.layout.head_dim();
    let width = padded(head_dim);
    // SAFETY: as `weigh_rows`; sums are `C` chunks of each of `R` rows of `partial`.
    unsafe {
        let place = |r: usize, c: usize| (row + r) * width + column + c * LANES;
        let mut sums: [[L::Floats; C]; R] = std::array::from_fn(|r| {
            std::array::from_fn(|c| L::load_f32(partial[place(r, c)..][..LANES].as_ptr()))
        });
        let mut j = range.start;
        while j < range.end {
            let values = keys.tile::<T>(base + j).add(keys.layout.value_offset_elems() + column);
            let end = (j / TILE_TOKENS + 1) * TILE_TOKENS;
            while j < end.min(range.end) {
                let value = values.add(j % TILE_TOKENS * head_dim);
                let p: [f32; R] = std::array::from_fn(|r| *scores.get_unchecked((row + r) * SEGMENT + j));
                for c in 0..C {
                    let value = T::load::<L>(value.add(c * LANES));
                    for r in 0..R {
                        sums[r][c] = L::fma(value, p[r], sums[r][c]);
                    }
                }
                j += 1;
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (c, sum) in sums.into_iter().enumerate() {
                if let Some(out) = partial[place(r, c)..].first_chunk_mut::<LANES>() {
                    L::store(sum, out);
                }
            }
        }
    }
}

/// Adds a segment to what came before it.
#[inline(always)]
unsafe fn fold<L: Lanes>(sums: &mut [f32], partial: &[f32], total: &mut [f32]) {
    let (m, l, before, sum) = (sums[0], sums[1], sums[2], sums[3]);
    let larger = if m > before { m } else { before };
    // SAFETY: chunks of sixteen; the instruction set is the caller's promise.
    unsafe {
        let new = exp::<L>(L::splat(m - larger));
        let old = exp::<L>(L::splat(before - larger));
        let mut lanes = [0.0; LANES];
        L::store(L::fma_lanes(L::splat(l), new, L::mul(L::splat(sum), old)), &mut lanes);
        sums[2] = larger;
        sums[3] = lanes[0];
        for (total, partial) in total.chunks_exact_mut(LANES).zip(partial.chunks_exact(LANES)) {
            let kept = L::mul(L::load_f32(total.as_ptr()), old);
            if let Some(total) = total.first_chunk_mut::<LANES>() {
                L::store(L::fma_lanes(L::load_f32(partial.as_ptr()), new, kept), total);
            }
        }
    }
}

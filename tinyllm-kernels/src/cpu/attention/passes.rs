//! The two passes over a segment's tiles: scores of queries with keys, and values attended with p. A few rows read keys
//! and values in place; many rows share a tile that is converted to f32 once. Either way the order of a row's sums is
//! the same.

use super::{
    Queries, SEGMENT,
    reading::Segment,
    segment::{IN_PLACE_ROWS, Scratch},
    tile::{Cached, convert, convert_rows},
};
use crate::{
    cpu::kv::TILE_TOKENS,
    cpu::lanes::{CACHE_LINE_BYTES, LANES, Lanes, tree_sum},
};

/// Calls `$call` for tiles of `$R` rows from `$row` on, with as many rows at a time as accumulators fit in registers.
macro_rules! row_tiles {
    ($L:ident, $rows:expr, $row:ident, $R:ident => $call:expr) => {
        row_tiles!(@ $L, $rows, $row, $R => $call, 12 6 4 3 2 1)
    };
    (@ $L:ident, $rows:expr, $row:ident, $R:ident => $call:expr, $($count:literal)*) => {
        let mut $row = 0;
        $(while $count <= $L::FLOAT_ROWS && $rows - $row >= $count {
            const $R: usize = $count;
            $call;
            $row += $count;
        })*
    };
}

/// How many tiles (or chunks of columns) of `rows` rows have accumulators in registers at once: 4, 2 or 1.
#[inline(always)]
const fn tiles_in_registers<L: Lanes>(rows: usize) -> usize {
    match L::FLOAT_ROWS / rows {
        4.. => 4,
        2.. if 2 * rows < L::FLOAT_ROWS => 2,
        _ => 1,
    }
}

impl Segment<'_> {
    /// The factors of the scores of a tile's keys.
    ///
    /// # Safety
    /// The tile lies in the cache; the processor has `L`.
    #[inline(always)]
    unsafe fn score_scale<L: Lanes, T: Cached>(&self, queries: &Queries, tile: usize) -> L::Floats {
        // SAFETY: the tile is in the cache and the processor has `L` (this function's contract).
        unsafe {
            let scale = L::splat(queries.scale * std::f32::consts::LOG2_E);
            if T::IS_SCALED { L::mul(scale, self.key_scales::<L>(tile)) } else { scale }
        }
    }

    /// Scores of all rows, from converted keys.
    ///
    /// # Safety
    /// The contract of [`super::attend`], whose queries these are; `scratch` has room for their rows; the processor has
    /// `L`.
    #[inline(always)]
    pub(super) unsafe fn score_converted<L: Lanes, T: Cached>(
        &self,
        queries: &Queries,
        scratch: &mut Scratch<'_>,
    ) {
        let (rows, head_dim) = (queries.rows(), self.head_dim);
        for tile in self.tiles.clone() {
            // SAFETY: the tile is in the cache; rows and keys stay inside the scratch.
            unsafe {
                let (keys, next) = self.keys::<T>(tile);
                convert::<L, T>(keys, next, &mut scratch.tile[..TILE_TOKENS * head_dim]);
                let scales = [self.score_scale::<L, T>(queries, tile)];
                let scores = scratch.scores.as_mut_ptr().add(tile * TILE_TOKENS);
                let (keys, copies) = ([scratch.tile.as_ptr()], scratch.queries);
                row_tiles!(L, rows, row, R => score::<L, f32, R, 1>(row, keys, keys, copies, head_dim, scales, scores));
            }
        }
    }

    /// Scores of a few rows, from keys read in place, two or four tiles at a time if registers allow.
    ///
    /// # Safety
    /// As [`Segment::score_converted`].
    #[inline(always)]
    pub(super) unsafe fn score_in_place<L: Lanes, T: Cached>(
        &self,
        queries: &Queries,
        scratch: &mut Scratch<'_>,
    ) {
        let count = tiles_in_registers::<L>(queries.rows());
        let mut tile = self.tiles.start;
        // SAFETY: as above.
        unsafe {
            while count == 4 && tile + 4 <= self.tiles.end {
                self.score_tiles::<L, T, 4>(queries, tile, scratch);
                tile += 4;
            }
            while count >= 2 && tile + 2 <= self.tiles.end {
                self.score_tiles::<L, T, 2>(queries, tile, scratch);
                tile += 2;
            }
            while tile < self.tiles.end {
                self.score_tiles::<L, T, 1>(queries, tile, scratch);
                tile += 1;
            }
        }
    }

    /// Scores of a few rows with the keys of `C` tiles from `first` on.
    ///
    /// # Safety
    /// As [`Segment::score_converted`].
    #[inline(always)]
    unsafe fn score_tiles<L: Lanes, T: Cached, const C: usize>(
        &self,
        queries: &Queries,
        first: usize,
        scratch: &mut Scratch<'_>,
    ) {
        let (rows, head_dim) = (queries.rows(), self.head_dim);
        let copies = scratch.queries;
        // SAFETY: as above.
        unsafe {
            let scores = scratch.scores.as_mut_ptr().add(first * TILE_TOKENS);
            let mut scales = [L::zero_floats(); C];
            let (mut keys, mut next) = ([std::ptr::null(); C], [std::ptr::null(); C]);
            for c in 0..C {
                scales[c] = self.score_scale::<L, T>(queries, first + c);
                (keys[c], next[c]) = self.keys::<T>(first + c);
            }
            row_tiles!(L, rows, row, R => score::<L, T, R, C>(row, keys, next, copies, head_dim, scales, scores));
        }
    }

    /// Softmax and attended values of all rows, from converted values.
    ///
    /// # Safety
    /// As [`Segment::score_converted`].
    #[inline(always)]
    pub(super) unsafe fn attend_converted<L: Lanes, T: Cached>(
        &self,
        rows: usize,
        width: usize,
        scratch: &mut Scratch<'_>,
    ) {
        // SAFETY: the tiles are in the cache; rows and columns stay inside the scratch.
        unsafe {
            let scores = scratch.scores.as_mut_ptr();
            for (row, sums) in scratch.sums.chunks_exact_mut(2).enumerate() {
                let mut total = L::zero_floats();
                let row = scores.add(row * SEGMENT);
                self.softmax_tiles::<L, T>(self.tiles.clone(), row, L::splat(sums[0]), &mut total);
                sums[1] = tree_sum::<L>(total);
            }
            for tile in self.tiles.clone() {
                let (values, next) = self.values::<T>(tile);
                convert_rows::<L, T>(values, self.written(tile), self.head_dim, next, width, scratch.tile);
                let (values, attended) = (scratch.tile.as_ptr(), scratch.attended.as_mut_ptr());
                let values =
                    Values { values, next: values, p: scores.add(tile * TILE_TOKENS), count: TILE_TOKENS };
                row_tiles!(L, rows, row, R => attend_values::<L, f32, R, 1>(row, values, width, attended));
            }
        }
    }

    /// Softmax and attended values of a few rows, from values read in place. head_dim is a multiple of 32. A tile's p
    /// is computed one tile ahead of its values, so that memory is read without a pause.
    ///
    /// # Safety
    /// As [`Segment::score_converted`]; there are at most [`IN_PLACE_ROWS`].
    #[inline(always)]
    pub(super) unsafe fn attend_in_place<L: Lanes, T: Cached>(
        &self,
        rows: usize,
        width: usize,
        scratch: &mut Scratch<'_>,
    ) {
        // SAFETY: as above; only values that were written are read (`Segment::written`).
        unsafe {
            match tiles_in_registers::<L>(rows) {
                // Sums of whole rows stay in registers from tile to tile.
                4 if width == 4 * LANES => {
                    row_tiles!(L, rows, row, R => self.attend_rows::<L, T, R, 4>(row, width, scratch));
                }
                // Otherwise all rows and columns use a tile while it is in L1.
                4 if width.is_multiple_of(4 * LANES) => {
                    self.attend_tile_by_tile::<L, T, 4>(rows, width, scratch)
                }
                2 | 4 => self.attend_tile_by_tile::<L, T, 2>(rows, width, scratch),
                _ => self.attend_tile_by_tile::<L, T, 1>(rows, width, scratch),
            }
        }
    }

    /// [`Segment::attend_in_place`] for `R` rows whose columns are `C` chunks.
    ///
    /// # Safety
    /// As [`Segment::attend_in_place`]; rows `row..row + R` are among its rows.
    #[inline(always)]
    unsafe fn attend_rows<L: Lanes, T: Cached, const R: usize, const C: usize>(
        &self,
        row: usize,
        width: usize,
        scratch: &mut Scratch<'_>,
    ) {
        let scores = scratch.scores.as_mut_ptr();
        let attended = scratch.attended.as_mut_ptr();
        // SAFETY: as above.
        unsafe {
            let mut softmax = TileSoftmax::<L, R>::new(row, scores, scratch.sums);
            let mut sums = load_sums::<L, R, C>(row, 0, width, attended);
            softmax.tile::<T>(self, self.tiles.start);
            for tile in self.tiles.clone() {
                if tile + 1 < self.tiles.end {
                    softmax.tile::<T>(self, tile + 1);
                }
                add_values::<L, T, R, C>(&mut sums, row, 0, width, self.tile_values(tile, scores));
            }
            store_sums::<L, R, C>(sums, row, 0, width, attended);
            softmax.finish(scratch.sums);
        }
    }

    /// [`Segment::attend_in_place`] for all rows, tile by tile, `C` chunks of columns at a time.
    ///
    /// # Safety
    /// As [`Segment::attend_in_place`].
    #[inline(always)]
    unsafe fn attend_tile_by_tile<L: Lanes, T: Cached, const C: usize>(
        &self,
        rows: usize,
        width: usize,
        scratch: &mut Scratch<'_>,
    ) {
        let scores = scratch.scores.as_mut_ptr();
        let attended = scratch.attended.as_mut_ptr();
        // SAFETY: as above.
        unsafe {
            let mut totals = [L::zero_floats(); IN_PLACE_ROWS];
            for tile in self.tiles.clone() {
                for (row, total) in totals.iter_mut().enumerate().take(rows) {
                    let largest = L::splat(scratch.sums[2 * row]);
                    self.softmax_tiles::<L, T>(tile..tile + 1, scores.add(row * SEGMENT), largest, total);
                }
                let values = self.tile_values(tile, scores);
                row_tiles!(L, rows, row, R => attend_values::<L, T, R, C>(row, values, width, attended));
            }
            for (sums, total) in scratch.sums.chunks_exact_mut(2).zip(totals) {
                sums[1] = tree_sum::<L>(total);
            }
        }
    }

    /// A tile's values, and its p.
    #[inline(always)]
    fn tile_values<T>(&self, tile: usize, scores: *const f32) -> Values<T> {
        let (values, next) = self.values::<T>(tile);
        Values { values, next, p: scores.wrapping_add(tile * TILE_TOKENS), count: self.written(tile) }
    }
}

/// Softmax of `R` rows, tile by tile.
struct TileSoftmax<L: Lanes, const R: usize> {
    row: usize,
    scores: *mut f32,
    largest: [L::Floats; R],
    totals: [L::Floats; R],
}

impl<L: Lanes, const R: usize> TileSoftmax<L, R> {
    /// Rows from `row` on; `sums` are `[rows][2]`, `scores` `[rows][SEGMENT]`.
    ///
    /// # Safety
    /// `scores` and `sums` hold rows up to `row + R`; the processor has `L`.
    #[inline(always)]
    unsafe fn new(row: usize, scores: *mut f32, sums: &[f32]) -> Self {
        // SAFETY: the processor has `L`.
        unsafe {
            let (mut largest, totals) = ([L::zero_floats(); R], [L::zero_floats(); R]);
            for (r, largest) in largest.iter_mut().enumerate() {
                *largest = L::splat(sums[2 * (row + r)]);
            }
            TileSoftmax { row, scores, largest, totals }
        }
    }

    /// As [`Segment::softmax_tiles`].
    ///
    /// # Safety
    /// The scores given to [`TileSoftmax::new`] are still borrowed by the caller, and nothing else uses them; the tile
    /// is one of the segment's.
    #[inline(always)]
    unsafe fn tile<T: Cached>(&mut self, segment: &Segment<'_>, tile: usize) {
        for r in 0..R {
            // SAFETY: this function's contract.
            unsafe {
                let scores = self.scores.add((self.row + r) * SEGMENT);
                segment.softmax_tiles::<L, T>(tile..tile + 1, scores, self.largest[r], &mut self.totals[r]);
            }
        }
    }

    /// Writes each row's sum of p to `sums`.
    ///
    /// # Safety
    /// The processor has `L`.
    #[inline(always)]
    unsafe fn finish(self, sums: &mut [f32]) {
        for (r, total) in self.totals.into_iter().enumerate() {
            // SAFETY: the processor has `L`.
            sums[2 * (self.row + r) + 1] = unsafe { tree_sum::<L>(total) };
        }
    }
}

/// The values of a tile, and their p.
#[derive(Clone, Copy)]
struct Values<T> {
    /// `[16][width]`.
    values: *const T,
    /// What to prefetch meanwhile.
    next: *const T,
    /// `[rows][SEGMENT]` from the tile's column on.
    p: *const f32,
    /// How many of the values were written.
    count: usize,
}

/// Rows of sixteen elements in a cache line, at least one.
const fn rows_per_line<T>() -> usize {
    let rows = CACHE_LINE_BYTES / (LANES * size_of::<T>());
    if rows == 0 { 1 } else { rows }
}

/// `scores[row][j] = scale · Σ_d q[row][d] k[d][j]` for `R` rows and `C` tiles of keys, d in order, lanes along keys;
/// prefetches `next` meanwhile.
///
/// # Safety
/// Each of `keys` is a readable tile, `[head_dim][16]`; `queries` and `scores` hold rows up to `row + R`, and nothing
/// else uses these scores; the processor has `L`.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // addresses of tiles in registers
unsafe fn score<L: Lanes, T: Cached, const R: usize, const C: usize>(
    row: usize,
    keys: [*const T; C],
    next: [*const T; C],
    queries: *const f32,
    head_dim: usize,
    scales: [L::Floats; C],
    scores: *mut f32,
) {
    // Keys are read in place only if head_dim is a multiple of 32.
    debug_assert!(head_dim.is_multiple_of(C * rows_per_line::<T>()));
    // SAFETY: keys are `[head_dim][16]`, queries `[rows][head_dim]`, scores `[rows][SEGMENT]` from the first tile's column
    // on; a prefetch reads nothing.
    unsafe {
        let mut sums = [[L::zero_floats(); R]; C];
        let part = head_dim / C;
        for (begin, next) in (0..head_dim).step_by(part).zip(next) {
            for line in (0..part).step_by(rows_per_line::<T>()) {
                // Tile by tile: prefetches that alternate between tiles are slower.
                for c in 0..C {
                    L::prefetch_early(
                        next.cast::<u8>()
                            .wrapping_add((line / rows_per_line::<T>() * C + c) * CACHE_LINE_BYTES),
                    );
                }
                for d in begin + line..begin + line + rows_per_line::<T>() {
                    let query = queries.add(row * head_dim + d);
                    for c in 0..C {
                        let key = T::load::<L>(keys[c].add(d * LANES));
                        L::fma_rows(&mut sums[c], key, query, head_dim);
                    }
                }
            }
        }
        for (c, sums) in sums.into_iter().enumerate() {
            for (r, sum) in sums.into_iter().enumerate() {
                let out = scores.add((row + r) * SEGMENT + c * LANES).cast::<[f32; LANES]>();
                L::store(L::mul(sum, scales[c]), &mut *out);
            }
        }
    }
}

/// `attended[row] += Σ_j p[row][j] v[j]` for `R` rows and the values of a tile, keys in order, lanes along columns, `C`
/// chunks of them at a time; prefetches the next tile meanwhile.
///
/// # Safety
/// `values` are a readable tile and its p, as [`Values`] says; `attended` holds rows up to `row + R` of `width`, and
/// nothing else uses them; the processor has `L`.
#[inline(always)]
unsafe fn attend_values<L: Lanes, T: Cached, const R: usize, const C: usize>(
    row: usize,
    values: Values<T>,
    width: usize,
    attended: *mut f32,
) {
    // SAFETY: this function's contract; columns stay below `width`, a multiple of `16 C`.
    unsafe {
        for column in (0..width).step_by(C * LANES) {
            let mut sums = load_sums::<L, R, C>(row, column, width, attended);
            add_values::<L, T, R, C>(&mut sums, row, column, width, values);
            store_sums::<L, R, C>(sums, row, column, width, attended);
        }
    }
}

/// Sums of `R` rows and `C` chunks of columns, `[C][R]`, to and from `[rows][width]`.
///
/// # Safety
/// `attended` holds rows up to `row + R` of `width` columns, at least up to `column + 16 C`; the processor has `L`.
#[inline(always)]
unsafe fn load_sums<L: Lanes, const R: usize, const C: usize>(
    row: usize,
    column: usize,
    width: usize,
    attended: *const f32,
) -> [[L::Floats; R]; C] {
    // SAFETY: this function's contract.
    unsafe {
        let mut sums = [[L::zero_floats(); R]; C];
        for (c, sums) in sums.iter_mut().enumerate() {
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = L::load_f32(attended.add((row + r) * width + column + c * LANES));
            }
        }
        sums
    }
}

/// As [`load_sums`].
///
/// # Safety
/// As [`load_sums`]; nothing else uses these rows.
#[inline(always)]
unsafe fn store_sums<L: Lanes, const R: usize, const C: usize>(
    sums: [[L::Floats; R]; C],
    row: usize,
    column: usize,
    width: usize,
    attended: *mut f32,
) {
    for (c, sums) in sums.into_iter().enumerate() {
        for (r, sum) in sums.into_iter().enumerate() {
            // SAFETY: this function's contract.
            unsafe {
                let out = attended.add((row + r) * width + column + c * LANES).cast::<[f32; LANES]>();
                L::store(sum, &mut *out);
            }
        }
    }
}

/// Adds a tile's p·v to the sums of some chunks of columns.
///
/// # Safety
/// As [`attend_values`].
#[inline(always)]
unsafe fn add_values<L: Lanes, T: Cached, const R: usize, const C: usize>(
    sums: &mut [[L::Floats; R]; C],
    row: usize,
    column: usize,
    width: usize,
    Values { values, next, p, count }: Values<T>,
) {
    // SAFETY: values and p are as `Values` says; a prefetch reads nothing.
    unsafe {
        let p = p.add(row * SEGMENT);
        for j in 0..count {
            for (c, sums) in sums.iter_mut().enumerate() {
                let offset = j * width + column + c * LANES;
                if (column / LANES + c).is_multiple_of(rows_per_line::<T>()) {
                    L::prefetch_early(next.wrapping_add(offset).cast());
                }
                let value = T::load::<L>(values.add(offset));
                L::fma_rows(sums, value, p.add(j), SEGMENT);
            }
        }
    }
}

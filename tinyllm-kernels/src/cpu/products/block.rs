//! Many input rows: a block of weights is widened to int16 once, into the nearest cache, and multiplied with every row.
//! Panels are where loads that widen would hold the multipliers up ([`Lanes::LOADS_WIDEN`]), a file's own rows always.
//!
//! Integer sums stay in registers for a piece; float accumulators wait in the nearest cache between blocks. Weights
//! come from panels or from a file's own rows ([`Block`]); what follows is the same, and so are the bits.

use std::{mem::MaybeUninit, ops::Range};

use super::{InputView, Output, ProductInputLayout};
use crate::{GroupSize, MAX_PIECE, cpu::lanes::Lanes};

/// Rows that share a pass over the weights: their inputs stay in the second cache, their accumulators in the first.
pub(super) const ROWS: usize = 96;

/// Pairs of inputs of a block at most.
const PAIRS: usize = MAX_PIECE / 2;

/// Sums of a few rows side by side: each waits for itself, four turns of the multipliers.
const CHAINS: usize = 4;

/// Pieces of a block at most.
const PIECES: usize = 16;

/// Weights of which sixteen rows at a time can be widened.
pub(super) trait Block {
    /// `(k, group size)`.
    fn shape(&self) -> (usize, GroupSize);

    /// Writes the weights of a panel for some pairs of inputs.
    ///
    /// # Safety
    /// `panel` and `pairs` lie inside the matrix; the processor has `L`.
    unsafe fn widen<L: Lanes>(&self, panel: usize, pairs: Range<usize>, out: &mut [MaybeUninit<L::Pairs>]);

    /// The scales of a panel's group.
    ///
    /// # Safety
    /// As [`Block::widen`].
    unsafe fn scales<L: Lanes>(&self, panel: usize, group: usize) -> L::Floats;
}

/// Every row of `input` against `panels`.
///
/// # Safety
/// The terms of [`super::product`].
#[inline(always)]
pub(super) unsafe fn product<L: Lanes, B: Block>(
    weight: &B,
    panels: Range<usize>,
    input: InputView,
    output: &Output<'_>,
) {
    let (k, group_size) = weight.shape();
    let pieces = group_size.pieces(k);
    let pieces_per_group = group_size.elements(k).div_ceil(pieces.most());
    // At most `PAIRS` pairs, whatever the lengths of the pieces.
    let pieces_per_block = (MAX_PIECE / pieces.most()).clamp(1, PIECES);
    let scales_offset = ProductInputLayout { k, pieces }.scales_offset();
    let count = pieces.count(k);
    let pair = |index: usize| pieces.start(index, k).div_ceil(2);
    let mut widened = [const { MaybeUninit::<L::Pairs>::uninit() }; PAIRS];
    // SAFETY: `zero_floats` needs the instruction set only, which the caller promises.
    let (mut accumulated, mut scales) = unsafe { ([L::zero_floats(); ROWS], [L::zero_floats(); PIECES]) };
    for first_row in (0..input.rows).step_by(ROWS) {
        let rows = ROWS.min(input.rows - first_row);
        for panel in panels.clone() {
            // SAFETY: rows, panels, pairs and pieces stay inside the matrices (this function's terms).
            unsafe {
                accumulated[..rows].fill(L::zero_floats());
                for first_piece in (0..count).step_by(pieces_per_block) {
                    let last_piece = (first_piece + pieces_per_block).min(count);
                    weight.widen::<L>(panel, pair(first_piece)..pair(last_piece), &mut widened);
                    for (scales, index) in scales.iter_mut().zip(first_piece..last_piece) {
                        *scales = weight.scales::<L>(panel, index / pieces_per_group);
                    }
                    let block = Pieces { first_piece, last_piece, pair, scales_offset };
                    let mut row = 0;
                    macro_rules! tiles {
                        ($($count:literal)*) => { $(while $count <= L::TILE_ROWS && rows - row >= $count {
                            let x = input.row(first_row + row);
                            let accumulated = &mut accumulated[row..row + $count];
                            tile::<L, $count>(&block, &widened, &scales, x, input.row_stride_bytes, accumulated);
                            row += $count;
                        })* };
                    }
                    tiles!(12 6 4 2 1);
                }
                output.put::<L>(first_row, panel, &accumulated[..rows]);
            }
        }
    }
}

/// The pieces of a block.
struct Pieces<F> {
    first_piece: usize,
    last_piece: usize,
    /// The pair of inputs that a piece begins with.
    pair: F,
    /// Where an input row's scales begin, in bytes.
    scales_offset: usize,
}

/// `R` rows against one widened block.
///
/// # Safety
/// The block's pairs are widened and its scales loaded; `x` is the first of `R` readable rows in the weight's input format,
/// so many bytes apart; the processor has `L`.
#[inline(always)]
unsafe fn tile<L: Lanes, const R: usize>(
    block: &Pieces<impl Fn(usize) -> usize>,
    widened: &[MaybeUninit<L::Pairs>; PAIRS],
    scales: &[L::Floats; PIECES],
    x: *const u8,
    row_stride_bytes: usize,
    accumulated: &mut [L::Floats],
) {
    let start = (block.pair)(block.first_piece);
    // SAFETY: the block's pairs are widened, at most `PAIRS`; each of the `R` input rows holds its pairs and scales.
    unsafe {
        for index in block.first_piece..block.last_piece {
            let pairs = (block.pair)(index)..(block.pair)(index + 1);
            let mut weights = widened.as_ptr().add(pairs.start - start).cast::<L::Pairs>();
            let mut inputs = x.add(4 * pairs.start);
            let mut sums = [L::zero_sums(); R];
            let mut left = pairs.len();
            if R < CHAINS {
                let mut chains = [sums; CHAINS];
                while left >= CHAINS {
                    for (chain, sums) in chains.iter_mut().enumerate() {
                        L::dot_rows(sums, weights.add(chain).read(), inputs.add(4 * chain), row_stride_bytes);
                    }
                    weights = weights.add(CHAINS);
                    inputs = inputs.add(4 * CHAINS);
                    left -= CHAINS;
                }
                for chain in chains {
                    for (sum, other) in sums.iter_mut().zip(chain) {
                        *sum = L::add_sums(*sum, other);
                    }
                }
            }
            for _ in 0..left {
                L::dot_rows(&mut sums, weights.read(), inputs, row_stride_bytes);
                weights = weights.add(1);
                inputs = inputs.add(4);
            }
            for (r, (sum, accumulated)) in sums.into_iter().zip(accumulated.iter_mut()).enumerate() {
                let input_scales = x.add(r * row_stride_bytes + block.scales_offset).cast::<f32>();
                let input_scale = input_scales.add(index).read_unaligned();
                *accumulated = L::scale(sum, input_scale, scales[index - block.first_piece], *accumulated);
            }
        }
    }
}

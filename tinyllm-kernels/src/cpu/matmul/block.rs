//! Many input rows (gemm): a block of weights is converted to int16 once, into L1, and multiplied with every row. Used
//! for panels unless the instruction set converts for free while it loads ([`Lanes::LOADS_CONVERT`]), and always for
//! rows in file order.
//!
//! Integer sums stay in registers for a piece; float accumulators are in L1 between blocks. Weights come from panels or
//! from rows in file order ([`Block`]); the arithmetic is the same, and so are the bits.

use std::{mem::MaybeUninit, ops::Range};

use super::{ActivationLayout, InputView, Output};
use crate::{GroupSize, MAX_PIECE, cpu::lanes::Lanes};

/// Rows that share a pass over the weights: their inputs stay in L2, their accumulators in L1.
pub(super) const ROWS: usize = 96;

/// Pairs of inputs of a block at most.
const PAIRS: usize = MAX_PIECE / 2;

/// Independent sums per row where rows are few: one multiply-add has a latency of four cycles.
const CHAINS: usize = 4;

/// Pieces of a block at most.
const PIECES: usize = 16;

/// Weights that can be converted in blocks: sixteen outputs, some pairs of inputs.
pub(super) trait Block {
    /// `(k, group size)`.
    fn shape(&self) -> (usize, GroupSize);

    /// Writes the weights of a panel for some pairs of inputs.
    ///
    /// # Safety
    /// `panel` and `pairs` lie inside the matrix; the processor has `L`.
    unsafe fn convert<L: Lanes>(&self, panel: usize, pairs: Range<usize>, out: &mut [MaybeUninit<L::Pairs>]);

    /// The scales of a panel's group.
    ///
    /// # Safety
    /// As [`Block::convert`].
    unsafe fn scales<L: Lanes>(&self, panel: usize, group: usize) -> L::Floats;
}

/// Multiplies every row of `input` with `panels`.
///
/// # Safety
/// The contract of [`super::matmul`]; the processor has `L`.
#[inline(always)]
pub(super) unsafe fn matmul<L: Lanes, B: Block>(
    weight: &B,
    panels: Range<usize>,
    input: InputView,
    output: &Output<'_>,
) {
    let (k, group_size) = weight.shape();
    let pieces = group_size.pieces(k);
    let pieces_per_group = group_size.elements(k).div_ceil(pieces.most());
    // So a block has at most `PAIRS` pairs, whatever the lengths of the pieces.
    let pieces_per_block = (MAX_PIECE / pieces.most()).clamp(1, PIECES);
    let scales_offset = ActivationLayout { k, pieces }.scales_offset();
    let count = pieces.count(k);
    let pair = |index: usize| pieces.start(index, k).div_ceil(2);
    let mut converted = [const { MaybeUninit::<L::Pairs>::uninit() }; PAIRS];
    // SAFETY: the processor has `L` (this function's contract).
    let (mut accumulated, mut scales) = unsafe { ([L::zero_floats(); ROWS], [L::zero_floats(); PIECES]) };
    for first_row in (0..input.rows).step_by(ROWS) {
        let rows = ROWS.min(input.rows - first_row);
        for panel in panels.clone() {
            // SAFETY: rows are below `input.rows`, panels are the caller's, pairs and pieces are those of a row of k:
            // all inside the matrices (this function's contract). `converted` and `scales` are filled for the block
            // before `tile` reads them.
            unsafe {
                accumulated[..rows].fill(L::zero_floats());
                for first_piece in (0..count).step_by(pieces_per_block) {
                    let last_piece = (first_piece + pieces_per_block).min(count);
                    weight.convert::<L>(panel, pair(first_piece)..pair(last_piece), &mut converted);
                    for (scales, index) in scales.iter_mut().zip(first_piece..last_piece) {
                        *scales = weight.scales::<L>(panel, index / pieces_per_group);
                    }
                    let block = Pieces { first_piece, last_piece, pair, scales_offset };
                    let mut row = 0;
                    macro_rules! tiles {
                        ($($count:literal)*) => { $(while $count <= L::TILE_ROWS && rows - row >= $count {
                            let x = input.row(first_row + row);
                            let accumulated = &mut accumulated[row..row + $count];
                            tile::<L, $count>(&block, &converted, &scales, x, input.row_stride_bytes, accumulated);
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

/// Multiplies `R` rows with one converted block.
///
/// # Safety
/// The block's pairs are converted and its scales loaded; `x` is the first of `R` readable rows in the weight's input
/// format, `row_stride_bytes` apart; the processor has `L`.
#[inline(always)]
unsafe fn tile<L: Lanes, const R: usize>(
    block: &Pieces<impl Fn(usize) -> usize>,
    converted: &[MaybeUninit<L::Pairs>; PAIRS],
    scales: &[L::Floats; PIECES],
    x: *const u8,
    row_stride_bytes: usize,
    accumulated: &mut [L::Floats],
) {
    let start = (block.pair)(block.first_piece);
    // SAFETY: the block's pairs are converted, at most `PAIRS`; each of the `R` input rows holds its pairs and scales.
    unsafe {
        for index in block.first_piece..block.last_piece {
            let pairs = (block.pair)(index)..(block.pair)(index + 1);
            let mut weights = converted.as_ptr().add(pairs.start - start).cast::<L::Pairs>();
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

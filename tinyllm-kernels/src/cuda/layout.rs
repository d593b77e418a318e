//! The layouts of the kernels' operands, and their sizes: `cuda/pieces.cuh` and `cuda/matmul_rows.cu` describe them.

use bytemuck::{Pod, Zeroable};

use crate::{GroupSize, KernelError, MAX_PIECE, Pieces};

/// Columns of a step: what one tensor-core instruction multiplies.
const STEP_COLUMNS: usize = 32;

/// Outputs of a tile of int8 weights.
pub(super) const TILE_OUTPUTS: usize = 16;

/// Bytes of a tile's step: 16 outputs of 32 columns.
const TILE_STEP_BYTES: usize = TILE_OUTPUTS * STEP_COLUMNS;

/// Outputs of a panel of floating-point weights.
pub(super) const FLOAT_PANEL: usize = 32;

/// Rows of activations that lie together: the columns of one tensor-core instruction.
pub(super) const ROW_TILE: usize = 8;

/// Bytes of a row tile's step: two planes of eight rows of 32 columns.
const ROW_TILE_STEP_BYTES: usize = 2 * ROW_TILE * STEP_COLUMNS;

/// Alignment of everything in a slab: a cache line.
pub(super) const ALIGN_BYTES: usize = 128;

/// How a row of columns is cut into pieces and steps: `struct Pieces` of `cuda/pieces.cuh`, a parameter of kernels. A piece
/// is padded to whole steps.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub(super) struct PieceSteps {
    pub(super) columns: u32,
    pub(super) count: u32,
    pub(super) steps: u32,
    period: u32,
    period_steps: u32,
    per_period: u32,
    group: u32,
    pub(super) groups: u32,
}

impl PieceSteps {
    /// The cut of a weight's row.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for a row that kernels cannot count.
    pub(super) fn of_weight(group_size: GroupSize, k: usize) -> Result<Self, KernelError> {
        let cut = Self::of_row(group_size.pieces(k), k)?;
        Ok(PieceSteps {
            group: number(group_size.elements(k))?,
            groups: number(group_size.groups(k))?,
            ..cut
        })
    }

    /// The cut of a row of activations: one group.
    ///
    /// # Errors
    /// As [`PieceSteps::of_weight`].
    pub(super) fn of_row(pieces: Pieces, k: usize) -> Result<Self, KernelError> {
        let steps = |columns: usize| -> usize {
            columns / MAX_PIECE * (MAX_PIECE / STEP_COLUMNS) + (columns % MAX_PIECE).div_ceil(STEP_COLUMNS)
        };
        let period = pieces.period();
        Ok(PieceSteps {
            columns: number(k)?,
            count: number(pieces.count(k))?,
            steps: number(k / period * steps(period) + steps(k % period))?,
            period: number(period)?,
            period_steps: number(steps(period))?,
            per_period: number(pieces.per_period())?,
            group: number(k)?,
            groups: 1,
        })
    }
}

/// A size as kernels count it.
///
/// # Errors
/// [`KernelError::Invalid`] for 2^32 and more.
pub(super) fn number(size: usize) -> Result<u32, KernelError> {
    u32::try_from(size).map_err(|_| KernelError::Invalid {
        what: "size",
        problem: format!("{size} is more than a kernel counts"),
    })
}

/// Sizes of an int8 weight of `tiles` tiles in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TileBytes {
    pub(super) values: usize,
    pub(super) scales: usize,
}

impl TileBytes {
    pub(super) fn new(tiles: usize, cut: &PieceSteps, scale_bytes: usize) -> Option<Self> {
        let values = tiles.checked_mul(cut.steps as usize)?.checked_mul(TILE_STEP_BYTES)?;
        let scales = tiles.checked_mul(cut.groups as usize)?.checked_mul(TILE_OUTPUTS * scale_bytes)?;
        Some(TileBytes { values, scales })
    }
}

/// Where the int16 activations of a region lie: byte planes of all rows, then their scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planes {
    pub(super) cut: PieceSteps,
    /// From the region's first byte.
    pub(super) scales_offset: usize,
    pub(super) bytes: usize,
}

impl Planes {
    /// The layout of `rows` rows.
    pub(super) fn new(rows: usize, cut: PieceSteps) -> Option<Self> {
        let tiles = rows.div_ceil(ROW_TILE);
        let scales_offset = tiles.checked_mul(cut.steps as usize)?.checked_mul(ROW_TILE_STEP_BYTES)?;
        let scale_bytes = tiles.checked_mul(cut.count as usize)?.checked_mul(ROW_TILE * size_of::<f32>())?;
        Some(Planes { cut, scales_offset, bytes: scales_offset.checked_add(scale_bytes)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps of a row, by cutting it column by column.
    fn counted(group: usize, k: usize) -> usize {
        let (mut steps, mut length) = (0, 0);
        for column in 0..k {
            length += 1;
            if length == MAX_PIECE || (column + 1) % group == 0 || column + 1 == k {
                steps += length.div_ceil(STEP_COLUMNS);
                length = 0;
            }
        }
        steps
    }

    #[test]
    fn every_piece_is_padded_to_whole_steps() {
        for group in [2, 16, 32, 48, 128, 512, 514, 600, 768, 1024, 5000] {
            for k in [2, 31, 33, 512, 600, 1200, 1300, 1536, 2304, 4097] {
                let cut = PieceSteps::of_weight(GroupSize::Elements(group), k).unwrap();
                assert_eq!(cut.steps as usize, counted(group.min(k), k), "{group} of {k}");
                assert_eq!(cut.count as usize, GroupSize::Elements(group).pieces(k).count(k));
            }
        }
    }

    #[test]
    fn a_region_of_planes_has_two_bytes_a_padded_column_and_a_scale_a_piece() {
        // 9 rows take two tiles of 8; 4096 columns in pieces of 128.
        let cut = PieceSteps::of_weight(GroupSize::Elements(128), 4096).unwrap();
        let planes = Planes::new(9, cut).unwrap();
        assert_eq!(planes.scales_offset, 16 * 4096 * 2);
        assert_eq!(planes.bytes, 16 * 4096 * 2 + 16 * 32 * 4);
    }
}

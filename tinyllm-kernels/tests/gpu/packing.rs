//! Weights and activations in the layouts of the CUDA kernels, made from the layouts' descriptions (`cuda/matmul.cuh`,
//! `cuda/pieces.cuh`).

use half::{bf16, f16};

/// Columns of a step, outputs of a tile, rows of a tile of activations.
const STEP: usize = 32;
const TILE: usize = 16;
const ROW_TILE: usize = 8;
/// Columns of a piece at most.
const MOST: usize = 512;

/// How a row of `columns` is cut into pieces, where scales are of groups of `group`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) columns: usize,
    pub(crate) group: usize,
}

impl Cut {
    /// Columns of each piece: groups are cut from their beginnings.
    pub(crate) fn pieces(self) -> Vec<std::ops::Range<usize>> {
        let mut pieces = Vec::new();
        for group in (0..self.columns).step_by(self.group) {
            let end = (group + self.group).min(self.columns);
            pieces.extend((group..end).step_by(MOST).map(|first| first..(first + MOST).min(end)));
        }
        pieces
    }

    pub(crate) fn groups(self) -> usize {
        self.columns.div_ceil(self.group)
    }

    /// The column in each place of the padded steps.
    pub(crate) fn places(self) -> Vec<Option<usize>> {
        let mut places = Vec::new();
        for piece in self.pieces() {
            places.extend(piece.map(Some));
            places.resize(places.len().next_multiple_of(STEP), None);
        }
        places
    }

    pub(crate) fn steps(self) -> usize {
        self.places().len() / STEP
    }

    /// `struct Pieces`.
    pub(crate) fn words(self) -> [u32; 8] {
        let restarts = self.group < self.columns && !self.group.is_multiple_of(MOST);
        let period = if restarts { self.group } else { self.group.min(self.columns).min(MOST) };
        let period_steps = (0..period).step_by(MOST).map(|c| (period - c).min(MOST).div_ceil(STEP)).sum();
        [
            self.columns,
            self.pieces().len(),
            self.steps(),
            period,
            period_steps,
            period.div_ceil(MOST),
            self.group,
            self.groups(),
        ]
        .map(|word: usize| word as u32)
    }
}

/// Numbers of one of the types that kernels convert, and what they are as f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberType {
    F16,
    Bf16,
    F32,
}

impl NumberType {
    pub(crate) fn code(self) -> u32 {
        match self {
            NumberType::F16 => 0,
            NumberType::Bf16 => 1,
            NumberType::F32 => 2,
        }
    }

    /// Another type, for the second bias of a part.
    pub(crate) fn other(self) -> Self {
        if self == NumberType::F32 { NumberType::F16 } else { NumberType::F32 }
    }

    pub(crate) fn rounded(self, value: f32) -> f32 {
        match self {
            NumberType::F16 => f16::from_f32(value).to_f32(),
            NumberType::Bf16 => bf16::from_f32(value).to_f32(),
            NumberType::F32 => value,
        }
    }

    pub(crate) fn bytes(self, values: &[f32]) -> Vec<u8> {
        let of = |value: &f32| match self {
            NumberType::F16 => f16::from_f32(*value).to_bits().to_le_bytes().to_vec(),
            NumberType::Bf16 => bf16::from_f32(*value).to_bits().to_le_bytes().to_vec(),
            NumberType::F32 => value.to_le_bytes().to_vec(),
        };
        values.iter().flat_map(of).collect()
    }
}

/// int8 weights [outputs][columns], scales [outputs][groups] that their type holds.
#[derive(Clone, Debug)]
pub(crate) struct Int8Weights {
    pub(crate) values: Vec<i8>,
    pub(crate) scales: Vec<f32>,
    pub(crate) outputs: usize,
    pub(crate) cut: Cut,
}

/// Which matrix and output is in each row of a tile.
fn tile_rows(matrices: usize, tile: usize, row: usize) -> (usize, usize) {
    match matrices {
        1 => (0, tile * TILE + row),
        _ => (row / (TILE / 2), tile * (TILE / 2) + row % (TILE / 2)),
    }
}

/// Tiles of one matrix, or of gate and up interleaved: `[tiles][steps][32 lanes][16 B]`.
pub(crate) fn weight_tiles(matrices: &[&Int8Weights]) -> Vec<i8> {
    let Int8Weights { outputs, cut, .. } = matrices[0];
    let places = cut.places();
    let tiles = outputs.div_ceil(TILE / matrices.len());
    let mut packed = Vec::new();
    for tile in 0..tiles {
        for step in places.chunks(STEP) {
            for lane in 0..32 {
                for byte in 0..16 {
                    let row = lane / 4 + byte / 4 % 2 * 8;
                    let column = step[lane % 4 * 4 + byte % 4 + byte / 8 * 16];
                    let (matrix, output) = tile_rows(matrices.len(), tile, row);
                    let value = column.filter(|_| output < *outputs);
                    packed.push(
                        value.map_or(0, |column| matrices[matrix].values[output * cut.columns + column]),
                    );
                }
            }
        }
    }
    packed
}

/// Their scales: `[tiles][groups][16]`.
pub(crate) fn scale_tiles(matrices: &[&Int8Weights]) -> Vec<f32> {
    let Int8Weights { outputs, cut, .. } = matrices[0];
    let mut packed = Vec::new();
    for tile in 0..outputs.div_ceil(TILE / matrices.len()) {
        for group in 0..cut.groups() {
            for row in 0..TILE {
                let (matrix, output) = tile_rows(matrices.len(), tile, row);
                let inside = output < *outputs;
                packed.push(if inside {
                    matrices[matrix].scales[output * cut.groups() + group]
                } else {
                    0.0
                });
            }
        }
    }
    packed
}

/// int16 activations [rows][columns] with a scale for each row and piece.
#[derive(Clone, Debug)]
pub(crate) struct Int16Inputs {
    pub(crate) values: Vec<i16>,
    pub(crate) scales: Vec<f32>,
    pub(crate) rows: usize,
    pub(crate) cut: Cut,
}

impl Int16Inputs {
    /// f32 rows, rounded as the law says.
    pub(crate) fn rounded(x: &[f32], rows: usize, cut: Cut) -> Self {
        let (mut values, mut scales) = (Vec::new(), Vec::new());
        for row in x.chunks(cut.columns) {
            for piece in cut.pieces() {
                let piece = &row[piece];
                let largest = piece.iter().fold(0f32, |largest, x| largest.max(x.abs()));
                let scale = largest / 32767.0;
                scales.push(scale);
                values.extend(piece.iter().map(|x| match scale {
                    0.0 => 0,
                    _ => (x / scale).round_ties_even().clamp(-32767.0, 32767.0) as i16,
                }));
            }
        }
        Int16Inputs { values, scales, rows, cut }
    }

    /// `[ceil(rows/8)][steps][2 planes][32 lanes][8 B]`; rows that are not there get the byte `beyond`, or are left out of
    /// what is written where the memory's end is the last row's.
    pub(crate) fn planes(&self, beyond: u8) -> Vec<u8> {
        let places = self.cut.places();
        let mut packed = Vec::new();
        for tile in 0..self.rows.div_ceil(ROW_TILE) {
            for step in places.chunks(STEP) {
                for high in [true, false] {
                    for lane in 0..32 {
                        for byte in 0..8 {
                            let row = tile * ROW_TILE + lane / 4;
                            let column = step[lane % 4 * 4 + byte % 4 + byte / 4 * 16];
                            let value = column.map_or(0, |column| {
                                if row < self.rows { self.values[row * self.cut.columns + column] } else { 0 }
                            });
                            let byte = if high { (value >> 8) as u8 } else { value as u8 };
                            packed.push(if row < self.rows { byte } else { beyond });
                        }
                    }
                }
            }
        }
        packed
    }

    /// `[ceil(rows/8)][pieces][8]`; NaN for rows that are not there.
    pub(crate) fn scale_tiles(&self) -> Vec<f32> {
        let pieces = self.cut.pieces().len();
        let mut packed = Vec::new();
        for tile in 0..self.rows.div_ceil(ROW_TILE) {
            for piece in 0..pieces {
                for row in tile * ROW_TILE..(tile + 1) * ROW_TILE {
                    packed.push(if row < self.rows { self.scales[row * pieces + piece] } else { f32::NAN });
                }
            }
        }
        packed
    }
}

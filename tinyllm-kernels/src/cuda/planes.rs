//! int16 activations made by the processor: rows of an input region.

use super::layout::{Planes, ROW_TILE};
use crate::Pieces;

/// The largest int16 activation.
const LARGEST: f32 = 32767.0;

/// Rounds rows of f32, `[rows][k]`, to planes, `[bytes]`. False where a row is not finite; its number is returned.
pub(super) fn round_rows(
    rows: &[f32],
    k: usize,
    pieces: Pieces,
    planes: &Planes,
    out: &mut [u8],
) -> Result<(), usize> {
    let (steps, count) = (planes.cut.steps as usize, planes.cut.count as usize);
    out.fill(0);
    for (row, values) in rows.chunks_exact(k).enumerate() {
        let (tile, in_tile) = (row / ROW_TILE, row % ROW_TILE);
        let mut step = 0;
        for (piece, columns) in pieces.ranges(k).enumerate() {
            let values = &values[columns];
            let largest = values.iter().fold(0, |largest, x| largest.max(x.to_bits() & 0x7fff_ffff));
            let largest = f32::from_bits(largest);
            if !largest.is_finite() {
                return Err(row);
            }
            let scale = largest / LARGEST;
            let at = planes.scales_offset + ((tile * count + piece) * ROW_TILE + in_tile) * size_of::<f32>();
            out[at..at + size_of::<f32>()].copy_from_slice(&scale.to_ne_bytes());
            for (column, x) in values.iter().enumerate().filter(|_| scale != 0.0) {
                let value = (x / scale).round_ties_even().clamp(-LARGEST, LARGEST) as i16;
                // Bytes of a lane: four columns, and the four that are sixteen further.
                let (in_step, quarter) = (column % 32, column % 16 / 4);
                let byte = in_step / 16 * 4 + column % 4;
                let place = |plane: usize| {
                    let lane = ((tile * steps + step + column / 32) * 2 + plane) * 32 + in_tile * 4 + quarter;
                    lane * 8 + byte
                };
                let [low, high] = value.to_le_bytes();
                (out[place(0)], out[place(1)]) = (high, low);
            }
            step += values.len().div_ceil(32);
        }
    }
    Ok(())
}

// Rows of weights as files have them, moved from a staging region to the layout that the matmuls read. Values are copied, never
// computed. What no row fills (columns after a piece, outputs after the last) is zero already.
//
// A grid of enough blocks of 256 threads; a thread moves one word of the destination.

#include "pieces.cuh"

constexpr unsigned TILE_OUTPUTS = 16;
constexpr unsigned STEP_LANES = 32;
constexpr unsigned FLOAT_PANEL = 32;

// int8 rows: `source` `[rows][row_bytes]`, with `flip` 0x80 where a byte is q + 128, else 0. `values` is `[tiles][steps][32]`
// of 16 bytes: see matmul_rows.cu. Of each tile the rows go to `rows_per_tile` (16, or 8: gate or up) outputs from
// `first_in_tile` (0, or 8: up) on; the first row is output `first_row` of the matrix.
extern "C" __global__ void __launch_bounds__(256) repack_int8(
    const unsigned char* __restrict__ source,
    unsigned row_bytes,
    unsigned flip,
    unsigned first_row,
    unsigned rows,
    unsigned rows_per_tile,
    unsigned first_in_tile,
    Pieces pieces,
    unsigned char* __restrict__ values
) {
    // A word is four columns of a row: eight words of a step.
    const unsigned long long index = static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    const unsigned words = pieces.steps * 8;
    const unsigned row = static_cast<unsigned>(index / words), word = static_cast<unsigned>(index % words);
    if (row >= rows) {
        return;
    }
    const unsigned step = word / 8, quarter = word % 4, upper = word / 4 % 2;
    const unsigned in_period = step % pieces.period_steps;
    const unsigned in_pieces = pieces.per_period == 1 ? 0 : in_period / MAX_PIECE_STEPS;
    const unsigned piece = step / pieces.period_steps * pieces.per_period + in_pieces;
    const unsigned first = first_column(pieces, piece) + (step - first_step(pieces, piece)) * STEP_COLUMNS + upper * 16 + quarter * 4;
    const unsigned end = first_column(pieces, piece + 1);
    const unsigned char* from = source + static_cast<size_t>(row) * row_bytes;
    unsigned moved = 0;
    for (unsigned i = 0; i < 4; ++i) {
        if (first + i < end) {
            moved |= static_cast<unsigned>(from[first + i] ^ flip) << 8 * i;
        }
    }
    const unsigned output = first_row + row;
    const unsigned tile = output / rows_per_tile, in_tile = output % rows_per_tile + first_in_tile;
    const size_t lane = (static_cast<size_t>(tile) * pieces.steps + step) * STEP_LANES + in_tile % 8 * 4 + quarter;
    // Words of a lane: row r, row r + 8, then the same of the upper sixteen columns.
    reinterpret_cast<unsigned*>(values)[lane * 4 + upper * 2 + in_tile / 8] = moved;
}

// Scales of `bytes` (2 or 4) each: `source` `[rows][groups]`, `scales` `[tiles][groups][16]`.
extern "C" __global__ void __launch_bounds__(256) repack_scales(
    const unsigned char* __restrict__ source,
    unsigned bytes,
    unsigned first_row,
    unsigned rows,
    unsigned rows_per_tile,
    unsigned first_in_tile,
    unsigned groups,
    unsigned char* __restrict__ scales
) {
    const unsigned long long index = static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    const unsigned row = static_cast<unsigned>(index / groups), group = static_cast<unsigned>(index % groups);
    if (row >= rows) {
        return;
    }
    const unsigned output = first_row + row;
    const unsigned tile = output / rows_per_tile, in_tile = output % rows_per_tile + first_in_tile;
    const size_t to = (static_cast<size_t>(tile) * groups + group) * TILE_OUTPUTS + in_tile;
    for (unsigned i = 0; i < bytes; ++i) {
        scales[to * bytes + i] = source[index * bytes + i];
    }
}

// Floats of `bytes` (2 or 4) each: `source` `[rows][columns]`, `values` `[panels][columns][32]`.
extern "C" __global__ void __launch_bounds__(256) repack_floats(
    const unsigned char* __restrict__ source,
    unsigned bytes,
    unsigned first_row,
    unsigned rows,
    unsigned columns,
    unsigned char* __restrict__ values
) {
    const unsigned long long index = static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    const unsigned row = static_cast<unsigned>(index / columns), column = static_cast<unsigned>(index % columns);
    if (row >= rows) {
        return;
    }
    const unsigned output = first_row + row;
    const size_t to = (static_cast<size_t>(output / FLOAT_PANEL) * columns + column) * FLOAT_PANEL + output % FLOAT_PANEL;
    for (unsigned i = 0; i < bytes; ++i) {
        values[to * bytes + i] = source[index * bytes + i];
    }
}

// int16 activations as two byte planes, in the order in which tensor cores read them: `[row / 8][steps][2][32 lanes]` of 8 bytes.
// Plane 0 has the high bytes (signed), plane 1 the low ones (unsigned): a value is high * 256 + low. Lane 4 * (row % 8) + c has
// columns 4c to 4c + 3 of the step, then 16 + 4c to 16 + 4c + 3. Scales are `[row / 8][pieces][8]`.

#pragma once

#include "numbers.cuh"
#include "pieces.cuh"

constexpr unsigned ROW_TILE = 8;
constexpr unsigned WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

// Rounds a piece of a row: `value(column)` for the columns from `first` to `end`; a warp works on it. Returns whether all values
// are finite. Columns of the last step beyond the piece are 0.
template <typename Value>
__device__ __forceinline__ bool round_piece(
    const Pieces& pieces, unsigned piece, unsigned row, uint2* __restrict__ planes, float* __restrict__ scales, Value value
) {
    const unsigned lane = threadIdx.x % WARP, tile = row / ROW_TILE, in_tile = row % ROW_TILE;
    const unsigned first = first_column(pieces, piece), end = first_column(pieces, piece + 1);
    const unsigned step = first_step(pieces, piece), steps = first_step(pieces, piece + 1) - step;
    unsigned bits = 0;
    for (unsigned column = first + lane; column < end; column += WARP) {
        bits = max(bits, magnitude_bits(value(column)));
    }
    bits = __reduce_max_sync(ALL_LANES, bits);
    const float scale = __fdiv_rn(__uint_as_float(bits), 32767.0f);
    if (lane == 0) {
        scales[(static_cast<size_t>(tile) * pieces.count + piece) * ROW_TILE + in_tile] = scale;
    }
    // A lane makes the eight columns of a quarter of a step, in both planes.
    for (unsigned index = lane; index < steps * 4; index += WARP) {
        const unsigned quarter = index % 4, base = first + index / 4 * STEP_COLUMNS + quarter * 4;
        unsigned high[2] = {0, 0}, low[2] = {0, 0};
#pragma unroll 4
        for (unsigned i = 0; i < 8; ++i) {
            const unsigned column = base + i / 4 * 16 + i % 4;
            int rounded = 0;
            if (column < end && scale != 0.0f) {
                rounded = __float2int_rn(__fdiv_rn(value(column), scale));
                rounded = max(-32767, min(32767, rounded));
            }
            high[i / 4] |= (static_cast<unsigned>(rounded) >> 8 & 0xff) << 8 * (i % 4);
            low[i / 4] |= (static_cast<unsigned>(rounded) & 0xff) << 8 * (i % 4);
        }
        const size_t at = (static_cast<size_t>(tile) * pieces.steps + step + index / 4) * 2 * WARP + in_tile * 4 + quarter;
        planes[at] = make_uint2(high[0], high[1]);
        planes[at + WARP] = make_uint2(low[0], low[1]);
    }
    return bits < INFINITY_BITS;
}

// Rows of an embedding table, as f32: `out` `[rows][columns]`, a block a row, whose token ids are at `token_ids`.

#include "numbers.cuh"
#include "pieces.cuh"

constexpr unsigned THREADS = 256;
constexpr unsigned TILE_OUTPUTS = 16;
constexpr unsigned PANEL = 32;

// From int8 tiles (see matmul_rows.cu): a row's bytes are in four lanes of each step of its tile.
extern "C" __global__ void __launch_bounds__(THREADS) embed_int8(
    const signed char* __restrict__ values,
    const void* __restrict__ scales,
    unsigned scale_type,
    const unsigned* __restrict__ token_ids,
    const unsigned* __restrict__ rows,
    Pieces pieces,
    float* __restrict__ out
) {
    const unsigned row = blockIdx.x;
    if (row >= *rows) {
        return;
    }
    const unsigned id = token_ids[row], tile = id / TILE_OUTPUTS, in_tile = id % TILE_OUTPUTS;
    for (unsigned piece = 0; piece < pieces.count; ++piece) {
        const unsigned first = first_column(pieces, piece), end = first_column(pieces, piece + 1);
        const size_t group = static_cast<size_t>(tile) * pieces.groups + group_of(pieces, piece);
        const float scale = read_number(scales, group * TILE_OUTPUTS + in_tile, scale_type);
        for (unsigned column = threadIdx.x; column < end - first; column += THREADS) {
            const unsigned in_step = column % STEP_COLUMNS;
            const size_t step = static_cast<size_t>(tile) * pieces.steps + first_step(pieces, piece) + column / STEP_COLUMNS;
            const unsigned lane = in_tile % 8 * 4 + in_step % 16 / 4;
            const unsigned byte = in_step / 16 * 8 + in_tile / 8 * 4 + in_step % 4;
            const float value = __int2float_rn(values[(step * 32 + lane) * 16 + byte]);
            out[static_cast<size_t>(row) * pieces.columns + first + column] = __fmul_rn(value, scale);
        }
    }
}

// From panels of floats, `[panels][columns][32]` of `type`.
extern "C" __global__ void __launch_bounds__(THREADS) embed_floats(
    const void* __restrict__ values,
    unsigned type,
    const unsigned* __restrict__ token_ids,
    const unsigned* __restrict__ rows,
    unsigned columns,
    float* __restrict__ out
) {
    const unsigned row = blockIdx.x;
    if (row >= *rows) {
        return;
    }
    const unsigned id = token_ids[row];
    for (unsigned column = threadIdx.x; column < columns; column += THREADS) {
        const size_t at = (static_cast<size_t>(id / PANEL) * columns + column) * PANEL + id % PANEL;
        out[static_cast<size_t>(row) * columns + column] = read_number(values, at, type);
    }
}

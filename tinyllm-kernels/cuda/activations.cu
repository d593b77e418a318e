// Rows between matmuls: RMS norms, rounding to int16 activations, gathering.
//
// The number of rows is read at `rows`; blocks of rows beyond it leave at once. Rows of planes are written up to the next
// multiple of 8, those beyond the count as zeros, so that a matmul may read whole row tiles. With `source_rows` an output row is
// made of that input row; without, of the same one.

#include "planes.cuh"

constexpr unsigned NORM_THREADS = 256;
constexpr unsigned LANES = 16;
constexpr unsigned ROUND_THREADS = 128;

// The factor of a row's norm: squares are summed in sixteen lanes (column j in lane j mod 16), these in a tree.
__device__ __forceinline__ float norm_factor(const float* __restrict__ x, unsigned columns, float eps) {
    __shared__ float factor;
    if (threadIdx.x < WARP) {
        float squares = 0.0f;
        if (threadIdx.x < LANES) {
#pragma unroll 8
            for (unsigned column = threadIdx.x; column < columns; column += LANES) {
                squares = __fmaf_rn(x[column], x[column], squares);
            }
        }
#pragma unroll
        for (unsigned width = LANES / 2; width > 0; width /= 2) {
            squares = __fadd_rn(squares, __shfl_down_sync(ALL_LANES, squares, width));
        }
        if (threadIdx.x == 0) {
            const float mean = __fdiv_rn(squares, __uint2float_rn(columns));
            factor = __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(mean, eps)));
        }
    }
    __syncthreads();
    return factor;
}

// `input` `[rows][columns]`, `weight` `[columns]` of `weight_type`, `out` `[rows][columns]`; a block a row.
extern "C" __global__ void __launch_bounds__(NORM_THREADS) rms_norm(
    const float* __restrict__ input,
    const unsigned* __restrict__ source_rows,
    const unsigned* __restrict__ rows,
    const void* __restrict__ weight,
    unsigned weight_type,
    float eps,
    unsigned columns,
    float* __restrict__ out
) {
    const unsigned row = blockIdx.x;
    if (row >= *rows) {
        return;
    }
    const float* x = input + static_cast<size_t>(source_rows ? source_rows[row] : row) * columns;
    const float factor = norm_factor(x, columns, eps);
    for (unsigned column = threadIdx.x; column < columns; column += NORM_THREADS) {
        const float value = __fmul_rn(__fmul_rn(x[column], factor), read_number(weight, column, weight_type));
        out[static_cast<size_t>(row) * columns + column] = value;
    }
}

// The same, rounded to int16 activations; a grid of whole row tiles.
extern "C" __global__ void __launch_bounds__(NORM_THREADS) rms_norm_rounded(
    const float* __restrict__ input,
    const unsigned* __restrict__ source_rows,
    const unsigned* __restrict__ rows,
    const void* __restrict__ weight,
    unsigned weight_type,
    float eps,
    Pieces pieces,
    uint2* __restrict__ planes,
    float* __restrict__ scales,
    unsigned long long* fault,
    unsigned operation
) {
    const unsigned row = blockIdx.x, count = *rows;
    if (row >= (count + ROW_TILE - 1) / ROW_TILE * ROW_TILE) {
        return;
    }
    const bool is_there = row < count;
    const float* x = input + static_cast<size_t>(is_there && source_rows ? source_rows[row] : row) * pieces.columns;
    const float factor = is_there ? norm_factor(x, pieces.columns, eps) : 0.0f;
    const auto value = [&](unsigned column) {
        return is_there ? __fmul_rn(__fmul_rn(x[column], factor), read_number(weight, column, weight_type)) : 0.0f;
    };
    for (unsigned piece = threadIdx.x / WARP; piece < pieces.count; piece += NORM_THREADS / WARP) {
        if (!round_piece(pieces, piece, row, planes, scales, value) && threadIdx.x % WARP == 0) {
            note_non_finite(fault, operation, row);
        }
    }
}

// Rounds `input` `[rows][columns]`; a grid of whole row tiles by pieces / 4: a warp a piece.
extern "C" __global__ void __launch_bounds__(ROUND_THREADS) round_rows(
    const float* __restrict__ input,
    const unsigned* __restrict__ rows,
    Pieces pieces,
    uint2* __restrict__ planes,
    float* __restrict__ scales,
    unsigned long long* fault,
    unsigned operation
) {
    const unsigned row = blockIdx.x, count = *rows, piece = blockIdx.y * (ROUND_THREADS / WARP) + threadIdx.x / WARP;
    if (row >= (count + ROW_TILE - 1) / ROW_TILE * ROW_TILE || piece >= pieces.count) {
        return;
    }
    const bool is_there = row < count;
    const float* x = input + static_cast<size_t>(row) * pieces.columns;
    const auto value = [&](unsigned column) { return is_there ? x[column] : 0.0f; };
    if (!round_piece(pieces, piece, row, planes, scales, value) && threadIdx.x % WARP == 0) {
        note_non_finite(fault, operation, row);
    }
}

// `out[row] = input[source_rows[row]]`; a block a row.
extern "C" __global__ void __launch_bounds__(NORM_THREADS) gather_rows(
    const float* __restrict__ input,
    const unsigned* __restrict__ source_rows,
    const unsigned* __restrict__ rows,
    unsigned columns,
    float* __restrict__ out
) {
    const unsigned row = blockIdx.x;
    if (row >= *rows) {
        return;
    }
    const float* x = input + static_cast<size_t>(source_rows[row]) * columns;
    for (unsigned column = threadIdx.x; column < columns; column += NORM_THREADS) {
        out[static_cast<size_t>(row) * columns + column] = x[column];
    }
}

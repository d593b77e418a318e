// Products of f16 and f32 weights: out[row][output] = acc of fma(w, x, acc) over the columns in order, from 0, in one thread;
// then the bias; then the epilogue. Up to three matrices with the same input, or gates and ups.
//
//   kernel                       rows a block   outputs a block   threads
//   matmul_f16_1, matmul_f32_1   1              32                32
//   matmul_f16_8, matmul_f32_8   8              128               128
//
// Weights [ceil(outputs / 32)][columns][32], padded outputs 0. A grid of the parts' blocks (ceil(outputs / outputs a block)
// each, in the order of the parts) by ceil(rows / rows a block); blocks beyond the rows leave at once. Any number of rows,
// columns and outputs from 1 on. No dynamic shared memory. Bits: the law's, whatever the shape, the rows beside and the
// kernel. `out` may not overlap what is read, but where it accumulates. Whether inputs are finite is not looked at.

#include "epilogue.cuh"

constexpr unsigned WARP = 32;
// Columns of the inputs that are in shared memory at once.
constexpr unsigned CHUNK = 128;

// One of the matrices of a launch, or a gate and an up. 56 bytes.
struct FloatPart {
    const void* weights;    // the gate's where gated
    const void* up_weights; // null where not gated
    const void* bias;       // [outputs] of `bias_type`, or null; the gate's where gated
    const void* up_bias;    // [outputs] of `up_bias_type`, up's, or null
    float* out;             // [rows][outputs]
    unsigned outputs;       // of the gate alone where gated
    unsigned first_block;   // blockIdx.x where the part begins; parts ascend; 0xffffffff for a part that is not there
    unsigned epilogue;      // STORE where gated
    unsigned short bias_type, up_bias_type;
};
static_assert(sizeof(FloatPart) == 56, "as the host has it");

// Matrices with the same input, passed by value.
struct FloatMatmul {
    FloatPart parts[3];
    const float* in;      // [rows][columns]
    const unsigned* rows; // how many rows there are
    unsigned columns;
    unsigned gated; // 1: out = silu(gate + bias) * (up + up_bias)
};
static_assert(sizeof(FloatMatmul) == 192, "as the host has it");

__device__ __forceinline__ float widened(__half weight) { return __half2float(weight); }
__device__ __forceinline__ float widened(float weight) { return weight; }

// The chains of a thread's output over ROWS rows, of each of MATRICES; STEP weights are read at once.
template <typename Weight, unsigned ROWS, unsigned THREADS, unsigned MATRICES>
__device__ __forceinline__ void chains(
    float (&sums)[2][ROWS][THREADS],
    const Weight* const (&weights)[MATRICES], // of the thread's output, WARP apart from column to column
    const float* in,
    float4 (&inputs)[ROWS][CHUNK / 4],
    unsigned first_row,
    unsigned rows,
    unsigned columns
) {
    constexpr unsigned STEP = ROWS == 1 ? 32 : 16;
    float acc[MATRICES][ROWS] = {};
    for (unsigned base = 0; base < columns; base += CHUNK) {
        const unsigned count = min(CHUNK, columns - base);
        __syncthreads();
#pragma unroll
        for (unsigned row = 0; row < ROWS; ++row) {
            // Rows beyond the last repeat it, and are not written.
            const float* from = in + static_cast<size_t>(min(first_row + row, rows - 1)) * columns + base;
            for (unsigned column = threadIdx.x; column < count; column += THREADS) {
                reinterpret_cast<float*>(inputs[row])[column] = from[column];
            }
        }
        __syncthreads();
        unsigned column = 0;
        for (; column + STEP <= count; column += STEP) {
            Weight w[MATRICES][STEP];
#pragma unroll
            for (unsigned m = 0; m < MATRICES; ++m) {
                const Weight* from = weights[m] + static_cast<size_t>(base + column) * WARP;
#pragma unroll
                for (unsigned i = 0; i < STEP; ++i) {
                    w[m][i] = from[i * WARP];
                }
            }
#pragma unroll
            for (unsigned i = 0; i < STEP; i += 4) {
#pragma unroll
                for (unsigned row = 0; row < ROWS; ++row) {
                    const float4 x = inputs[row][(column + i) / 4];
#pragma unroll
                    for (unsigned m = 0; m < MATRICES; ++m) {
                        acc[m][row] = __fmaf_rn(widened(w[m][i]), x.x, acc[m][row]);
                        acc[m][row] = __fmaf_rn(widened(w[m][i + 1]), x.y, acc[m][row]);
                        acc[m][row] = __fmaf_rn(widened(w[m][i + 2]), x.z, acc[m][row]);
                        acc[m][row] = __fmaf_rn(widened(w[m][i + 3]), x.w, acc[m][row]);
                    }
                }
            }
        }
#pragma unroll 1
        for (; column < count; ++column) {
#pragma unroll
            for (unsigned m = 0; m < MATRICES; ++m) {
                const float w = widened(weights[m][static_cast<size_t>(base + column) * WARP]);
#pragma unroll
                for (unsigned row = 0; row < ROWS; ++row) {
                    acc[m][row] = __fmaf_rn(w, reinterpret_cast<const float*>(inputs[row])[column], acc[m][row]);
                }
            }
        }
    }
#pragma unroll
    for (unsigned m = 0; m < MATRICES; ++m) {
#pragma unroll
        for (unsigned row = 0; row < ROWS; ++row) {
            sums[m][row][threadIdx.x] = acc[m][row];
        }
    }
}

template <typename Weight, unsigned ROWS, unsigned THREADS>
__device__ __forceinline__ void matmul(const FloatMatmul& matmul) {
    __shared__ float4 inputs[ROWS][CHUNK / 4];
    const unsigned rows = *matmul.rows, first_row = blockIdx.y * ROWS;
    if (first_row >= rows) {
        return;
    }
    FloatPart part = matmul.parts[0];
    if (blockIdx.x >= matmul.parts[1].first_block) {
        part = matmul.parts[1];
    }
    if (blockIdx.x >= matmul.parts[2].first_block) {
        part = matmul.parts[2];
    }
    const unsigned output = (blockIdx.x - part.first_block) * THREADS + threadIdx.x;
    // Outputs beyond the last tile repeat it.
    const unsigned tile = min(output / WARP, (part.outputs - 1) / WARP);
    const size_t at = static_cast<size_t>(tile) * matmul.columns * WARP + output % WARP;
    const Weight* weights = static_cast<const Weight*>(part.weights) + at;
    // Through shared memory, so that the code of an output is there once. A thread reads what it wrote.
    __shared__ float sums[2][ROWS][THREADS];
    const bool gated = matmul.gated != 0;
    if (gated) {
        const Weight* const both[2] = {weights, static_cast<const Weight*>(part.up_weights) + at};
        chains<Weight, ROWS, THREADS, 2>(sums, both, matmul.in, inputs, first_row, rows, matmul.columns);
    } else {
        const Weight* const one[1] = {weights};
        chains<Weight, ROWS, THREADS, 1>(sums, one, matmul.in, inputs, first_row, rows, matmul.columns);
    }
    if (output >= part.outputs) {
        return;
    }
#pragma unroll 1
    for (unsigned row = 0; row < ROWS && first_row + row < rows; ++row) {
        float* out = part.out + static_cast<size_t>(first_row + row) * part.outputs + output;
        const float y = with_bias(sums[0][row][threadIdx.x], part.bias, output, part.bias_type);
        const float up = gated ? with_bias(sums[1][row][threadIdx.x], part.up_bias, output, part.up_bias_type) : 0.0f;
        put_one(out, y, up, gated, part.epilogue);
    }
}

// BLOCKS: at once on a multiprocessor, at least.
#define MATMUL_FLOATS(NAME, WEIGHT, ROWS, THREADS, BLOCKS)                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) NAME(const __grid_constant__ FloatMatmul parameters) { \
        matmul<WEIGHT, ROWS, THREADS>(parameters);                                                                      \
    }

MATMUL_FLOATS(matmul_f16_1, __half, 1, 32, 16)
MATMUL_FLOATS(matmul_f16_8, __half, 8, 128, 4)
MATMUL_FLOATS(matmul_f32_1, float, 1, 32, 16)
MATMUL_FLOATS(matmul_f32_8, float, 8, 128, 4)

// What the matmuls of int8 weights share: their parameters, the tensor cores' instructions, and what becomes of an output.
//
// A product is exact in i32 over a piece: activations are int16 as two bytes, high (signed) and low (unsigned), so that
// w . v = 256 * (w . high) + w . low. Then acc = fma(f32(dot) * sx, sw, acc) over the pieces in order, from 0; then the bias;
// then the epilogue.
//
// Layouts. Weights [tiles][steps][32 lanes][16 B] s8: with r = lane / 4 and c = lane % 4, bytes 0-3 are output r of the tile,
// columns 4c.. of the step; 4-7 output r + 8; 8-11 and 12-15 the same outputs, columns 16 + 4c... Scales [tiles][groups][16].
// Padded outputs and columns are 0. Gated: rows 0-7 of a tile are the gate's outputs 8t.., rows 8-15 up's.
// Activations [ceil(rows / 8)][steps][2 planes: high, low][32 lanes][8 B]: lane 4 * (row % 8) + c has columns 4c.. and 16 + 4c...
// Their scales f32 [ceil(rows / 8)][pieces][8]. Rows beyond the count need not be written: they are never read.

#pragma once

#include "epilogue.cuh"
#include "pieces.cuh"

constexpr unsigned WARP = 32;
// Outputs of a tile of weights, rows of a tile of activations.
constexpr unsigned TILE_OUTPUTS = 16, TILE_ROWS = 8;
// 16-byte elements of a step of a tile of weights, 8-byte elements of one of activations.
constexpr unsigned STEP_WEIGHTS = WARP, STEP_INPUTS = 2 * WARP;
constexpr unsigned PLANE_INPUTS = WARP;

// One of the matrices of a launch. 56 bytes.
struct Part {
    const uint4* values;  // [tiles][steps][32 lanes]
    const void* scales;   // [tiles][groups][16] of `scale_type`
    const void* bias;     // [outputs] of `bias_type`, or null; the gate's where gated
    const void* up_bias;  // [outputs] of `up_bias_type`, up's, or null; null where not gated
    float* out;           // [rows][outputs]
    unsigned outputs;     // of the gate alone where gated
    unsigned first_block; // blockIdx.x where the part begins; parts ascend; 0xffffffff for a part that is not there
    unsigned epilogue;    // STORE where gated
    unsigned short bias_type, up_bias_type;
};
static_assert(sizeof(Part) == 56, "as the host has it");

// Matrices with the same input, passed by value.
struct Matmul {
    Part parts[3];
    const uint2* planes;  // [ceil(rows / 8)][steps][2][32 lanes]
    const float* sx;      // [ceil(rows / 8)][pieces][8]
    const unsigned* rows; // how many rows there are, at least 1 row's planes behind it
    Pieces pieces;
    unsigned scale_type;
    unsigned gated; // 1: out = silu(gate + bias) * (up + up_bias)
};
static_assert(sizeof(Matmul) == 232, "as the host has it");

__device__ __forceinline__ Part part_of(const Matmul& matmul, unsigned block) {
    Part part = matmul.parts[0];
    if (block >= matmul.parts[1].first_block) {
        part = matmul.parts[1];
    }
    if (block >= matmul.parts[2].first_block) {
        part = matmul.parts[2];
    }
    // A choice of pointers is not known to be of global memory.
    __builtin_assume(__isGlobal(part.values));
    __builtin_assume(__isGlobal(part.scales));
    __builtin_assume(__isGlobal(part.out));
    return part;
}

// The same, read anew: what only the epilogue needs of a part takes no registers before it.
__device__ __forceinline__ Part part_again(const Matmul& matmul) {
    unsigned block;
    asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(block));
    return part_of(matmul, block);
}

// Tiles of a part.
__device__ __forceinline__ unsigned tiles_of(const Matmul& matmul, const Part& part) {
    const unsigned outputs = matmul.gated ? TILE_OUTPUTS / 2 : TILE_OUTPUTS;
    return (part.outputs + outputs - 1) / outputs;
}

// A register of 0, for sums to begin with: a constant would be written for each of them anew.
__device__ __forceinline__ int zero() {
    int value;
    asm("mov.u32 %0, 0;" : "=r"(value));
    return value;
}

// sum += a . b of signed bytes, 16 outputs x 8 rows x 32 columns. A lane has outputs r and r + 8 of rows 2c and 2c + 1, in
// the order (r, 2c), (r, 2c + 1), (r + 8, 2c), (r + 8, 2c + 1).
__device__ __forceinline__ void multiply_high(int (&sum)[4], uint4 a, uint2 b) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
        : "=r"(sum[0]), "=r"(sum[1]), "=r"(sum[2]), "=r"(sum[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y), "r"(sum[0]), "r"(sum[1]), "r"(sum[2]), "r"(sum[3]));
}

// The same of signed and unsigned bytes.
__device__ __forceinline__ void multiply_low(int (&sum)[4], uint4 a, uint2 b) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
        : "=r"(sum[0]), "=r"(sum[1]), "=r"(sum[2]), "=r"(sum[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y), "r"(sum[0]), "r"(sum[1]), "r"(sum[2]), "r"(sum[3]));
}

// 256 * high + low. Written out, because the compiler would make two instructions of it.
__device__ __forceinline__ int joined(int high, int low) {
    int dot;
    asm("mad.lo.s32 %0, %1, 256, %2;" : "=r"(dot) : "r"(high), "r"(low));
    return dot;
}

// Bytes of a weight scale.
__device__ __forceinline__ unsigned scale_bytes(unsigned type) { return type == F32 ? 4 : 2; }

// Scales of outputs r and r + 8 of COUNT tiles, or groups: `from` is where that of output r is.
template <unsigned COUNT>
__device__ __forceinline__ void read_scales(float (&scale)[COUNT][2], const char* const (&from)[COUNT], unsigned type) {
    if (type == F32) {
#pragma unroll
        for (unsigned i = 0; i < COUNT; ++i) {
            scale[i][0] = reinterpret_cast<const float*>(from[i])[0];
            scale[i][1] = reinterpret_cast<const float*>(from[i])[TILE_OUTPUTS / 2];
        }
        return;
    }
    unsigned short bits[COUNT][2];
#pragma unroll
    for (unsigned i = 0; i < COUNT; ++i) {
        bits[i][0] = reinterpret_cast<const unsigned short*>(from[i])[0];
        bits[i][1] = reinterpret_cast<const unsigned short*>(from[i])[TILE_OUTPUTS / 2];
    }
    if (type == F16) {
#pragma unroll
        for (unsigned i = 0; i < COUNT * 2; ++i) {
            scale[i / 2][i % 2] = __half2float(__ushort_as_half(bits[i / 2][i % 2]));
        }
    } else {
#pragma unroll
        for (unsigned i = 0; i < COUNT * 2; ++i) {
            // Written out: where one side of a choice is made of integers, the compiler moves both into integer registers.
            const unsigned widened = static_cast<unsigned>(bits[i / 2][i % 2]) << 16;
            asm("mov.b32 %0, %1;" : "=f"(scale[i / 2][i % 2]) : "r"(widened));
        }
    }
}

// Writes a lane's four sums of tile `tile`: outputs r and r + 8 of rows `row` + 2c and the next. They come from shared memory,
// so that the code of an output is there once.
__device__ __forceinline__ void
put(const Matmul& matmul, const Part& part, unsigned tile, unsigned row, unsigned rows, const float4& sums) {
    const float* sum = &sums.x;
    const unsigned lane = threadIdx.x % WARP, first = row + lane % 4 * 2;
    const bool gated = matmul.gated != 0;
    // Where gated the sums of rows r + 8 are up's.
#pragma unroll 1
    for (unsigned i = 0; i < (gated ? 2 : 4); ++i) {
        const unsigned output = gated ? tile * (TILE_OUTPUTS / 2) + lane / 4 : tile * TILE_OUTPUTS + lane / 4 + i / 2 * 8;
        if (output < part.outputs && first + i % 2 < rows) {
            const float y = with_bias(sum[i], part.bias, output, part.bias_type);
            const float up = gated ? with_bias(sum[i + 2], part.up_bias, output, part.up_bias_type) : 0.0f;
            put_one(part.out + static_cast<size_t>(first + i % 2) * part.outputs + output, y, up, gated, part.epilogue);
        }
    }
}

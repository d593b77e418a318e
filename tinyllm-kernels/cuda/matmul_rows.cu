// W8A16 matmuls: exact integers on int8 tensor cores, then one fma a piece in order, as the CPU has it.
//
// Weights are A fragments of mma.m16n8k32, `[tiles][steps][32 lanes]` of 16 bytes: tile t has outputs 16t to 16t + 15, lane
// 4r + c has columns 4c to 4c + 3 of the step of rows r and r + 8, then columns 16 + 4c to 16 + 4c + 3 of both. Scales are
// `[tiles][groups][16]`. Inputs are byte planes (planes.cuh), B fragments. Of a SwiGLU, rows 0 to 7 of a tile are gate's outputs
// 8t to 8t + 7 and rows 8 to 15 up's.
//
// A block has one tile of outputs for 8 * ROW_TILES rows: grid (tiles of all parts, rows / (8 * ROW_TILES)). Its warps share the
// pieces; a piece's sum is an integer, so who sums it is free. `f32(sum) * scale of the input` goes to shared memory, and a
// thread an output makes the chain over pieces, a window of them at a time.

#include "epilogue.cuh"
#include "planes.cuh"

constexpr unsigned THREADS = 256;
constexpr unsigned WARPS = THREADS / WARP;
constexpr unsigned TILE_OUTPUTS = 16;
// Steps that a warp loads at a time.
constexpr unsigned UNROLL = 4;
constexpr unsigned PRODUCTS = 8192;

__device__ __forceinline__ void mma_high(int (&d)[4], const uint4& a, const uint2& b) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
}

__device__ __forceinline__ void mma_low(int (&d)[4], const uint4& a, const uint2& b) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
}

template <unsigned ROW_TILES, bool IS_SWIGLU>
__device__ __forceinline__ void matmul_rows(
    const Parts& parts, const Pieces& pieces, const uint2* __restrict__ planes, const float* __restrict__ input_scales,
    const unsigned* __restrict__ rows
) {
    constexpr unsigned ROWS = ROW_TILES * ROW_TILE, OUTPUTS = ROWS * TILE_OUTPUTS, WINDOW = PRODUCTS / OUTPUTS;
    constexpr unsigned CHAINS = (OUTPUTS + THREADS - 1) / THREADS;
    __shared__ float products[PRODUCTS];
    const unsigned count = *rows, first_row = blockIdx.y * ROWS;
    if (first_row >= count) {
        return;
    }
    const Part& part = part_of(parts, blockIdx.x);
    const unsigned tile = blockIdx.x - part.first_block, lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const uint4* weights = static_cast<const uint4*>(part.values) + static_cast<size_t>(tile) * pieces.steps * WARP + lane;
    const unsigned row_tiles = min(ROW_TILES, (count - first_row + ROW_TILE - 1) / ROW_TILE), first_tile = first_row / ROW_TILE;
    float chains[CHAINS] = {};
    for (unsigned window = 0; window < pieces.count; window += WINDOW) {
        const unsigned end = min(pieces.count, window + WINDOW);
        for (unsigned piece = window + warp; piece < end; piece += WARPS) {
            int high[ROW_TILES][4] = {}, low[ROW_TILES][4] = {};
            const unsigned last = first_step(pieces, piece + 1);
            for (unsigned step = first_step(pieces, piece); step < last; step += UNROLL) {
                uint4 a[UNROLL];
#pragma unroll
                for (unsigned i = 0; i < UNROLL; ++i) {
                    a[i] = step + i < last ? __ldcs(weights + static_cast<size_t>(step + i) * WARP) : make_uint4(0, 0, 0, 0);
                }
#pragma unroll
                for (unsigned t = 0; t < ROW_TILES; ++t) {
                    if (t >= row_tiles) {
                        break;
                    }
                    const uint2* in = planes + (static_cast<size_t>(first_tile + t) * pieces.steps + step) * 2 * WARP + lane;
                    uint2 b[UNROLL][2];
#pragma unroll
                    for (unsigned i = 0; i < UNROLL; ++i) {
                        b[i][0] = step + i < last ? in[i * 2 * WARP] : make_uint2(0, 0);
                        b[i][1] = step + i < last ? in[i * 2 * WARP + WARP] : make_uint2(0, 0);
                    }
#pragma unroll
                    for (unsigned i = 0; i < UNROLL; ++i) {
                        mma_high(high[t], a[i], b[i][0]);
                        mma_low(low[t], a[i], b[i][1]);
                    }
                }
            }
#pragma unroll
            for (unsigned t = 0; t < ROW_TILES; ++t) {
#pragma unroll
                for (unsigned i = 0; i < 4; ++i) {
                    const unsigned output = lane / 4 + i / 2 * 8, in_tile = lane % 4 * 2 + i % 2;
                    if (t < row_tiles) {
                        const int sum = static_cast<int>((static_cast<unsigned>(high[t][i]) << 8) + static_cast<unsigned>(low[t][i]));
                        const size_t at = (static_cast<size_t>(first_tile + t) * pieces.count + piece) * ROW_TILE + in_tile;
                        const float product = __fmul_rn(__int2float_rn(sum), input_scales[at]);
                        products[(piece - window) * OUTPUTS + (t * ROW_TILE + in_tile) * TILE_OUTPUTS + output] = product;
                    }
                }
            }
        }
        __syncthreads();
        for (unsigned piece = window; piece < end; ++piece) {
            const unsigned group = group_of(pieces, piece);
            const size_t at = (static_cast<size_t>(tile) * pieces.groups + group) * TILE_OUTPUTS + threadIdx.x % TILE_OUTPUTS;
            const float scale = read_number(part.scales, at, parts.scale_type);
#pragma unroll
            for (unsigned i = 0; i < CHAINS; ++i) {
                const unsigned index = i * THREADS + threadIdx.x;
                if (index < row_tiles * ROW_TILE * TILE_OUTPUTS) {
                    chains[i] = __fmaf_rn(products[(piece - window) * OUTPUTS + index], scale, chains[i]);
                }
            }
        }
        __syncthreads();
    }
    const unsigned output = threadIdx.x % TILE_OUTPUTS;
    // Of a SwiGLU the gate's bias is the first part's, the up's the second's.
    const unsigned column = IS_SWIGLU ? tile * 8 + output % 8 : tile * TILE_OUTPUTS + output;
    const void* bias = IS_SWIGLU && output >= 8 ? parts.parts[1].bias : part.bias;
#pragma unroll
    for (unsigned i = 0; i < CHAINS; ++i) {
        const unsigned row = first_row + (i * THREADS + threadIdx.x) / TILE_OUTPUTS;
        const bool is_there = row < count && column < part.n && i * THREADS + threadIdx.x < OUTPUTS;
        float y = chains[i];
        if (is_there && bias) {
            y = __fadd_rn(y, read_number(bias, column, parts.bias_type));
        }
        if (IS_SWIGLU) {
            const float up = __shfl_down_sync(ALL_LANES, y, 8);
            if (is_there && output < 8) {
                part.out[static_cast<size_t>(row) * part.n + column] = __fmul_rn(silu(y), up);
            }
        } else if (is_there) {
            put(part.out + static_cast<size_t>(row) * part.n + column, y, part.epilogue);
        }
    }
}

#define MATMUL_ROWS(NAME, ROW_TILES, IS_SWIGLU)                                                                         \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                               \
        NAME(Parts parts, Pieces pieces, const uint2* planes, const float* input_scales, const unsigned* rows) {       \
        matmul_rows<ROW_TILES, IS_SWIGLU>(parts, pieces, planes, input_scales, rows);                                   \
    }

MATMUL_ROWS(matmul_rows_8, 1, false)
MATMUL_ROWS(matmul_rows_16, 2, false)
MATMUL_ROWS(matmul_rows_32, 4, false)
MATMUL_ROWS(matmul_rows_64, 8, false)
MATMUL_ROWS(swiglu_rows_8, 1, true)
MATMUL_ROWS(swiglu_rows_16, 2, true)
MATMUL_ROWS(swiglu_rows_32, 4, true)
MATMUL_ROWS(swiglu_rows_64, 8, true)

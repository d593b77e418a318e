// W8A16 matrix times a few vectors, as decoding needs: out[batch][rows] = x[batch][columns] · W[rows][columns]^T.
//
// A warp computes ROWS rows of W for all vectors. Lane l has the 16 columns from 16 l + 512 i on, for i = 0, 1, ..., which
// is one load of 16 bytes of each row. Its 16 products are summed in column order from 0 in f32 (weights and inputs are
// exact there); acc = fma(sum, scale, acc) over i; the lanes' acc are summed by halves. The order depends on nothing but
// `columns`, so a result has the same bits whatever vectors are beside it and whichever of these kernels computes it.

#include <cuda_fp16.h>

constexpr unsigned WARP = 32;
constexpr unsigned WARPS = 4;
constexpr unsigned THREADS = WARP * WARPS;
// Rows of a warp: each value of x that is read and widened serves all of them.
constexpr unsigned ROWS = 2;
// Weights of one load.
constexpr unsigned CHUNK = 16;

__device__ __forceinline__ float warp_sum(float value) {
    for (unsigned offset = WARP / 2; offset > 0; offset /= 2) {
        value += __shfl_down_sync(0xffffffffu, value, offset);
    }
    return value;
}

// Byte `index` of a word of offset binary, as f32: 0x4b0000uu is 2^23 + u, and u - 128 is the weight.
__device__ __forceinline__ float weight_of(unsigned word, unsigned index) {
    return __uint_as_float(__byte_perm(word, 0x4b000000u, 0x7650u | index)) - 8388736.0f;
}

template <unsigned BATCH>
__device__ __forceinline__ void gemv(
    const uint4* __restrict__ weights,
    const __half* __restrict__ scales,
    const uint4* __restrict__ x,
    float* __restrict__ out,
    unsigned rows,
    unsigned columns,
    unsigned group,
    unsigned batch,
    unsigned flip
) {
    const unsigned lane = threadIdx.x % WARP, first = (blockIdx.x * WARPS + threadIdx.x / WARP) * ROWS;
    if (first >= rows) {
        return;
    }
    const unsigned chunks = columns / CHUNK, groups = (columns + group - 1) / group, group_chunks = group / CHUNK;
    // Rows and vectors beyond the last repeat the last, and are not written.
    const uint4* row_weights[ROWS];
    const __half* row_scales[ROWS];
    uint4 next[ROWS];
    float acc[ROWS][BATCH];
#pragma unroll
    for (unsigned row = 0; row < ROWS; ++row) {
        const size_t clamped = min(first + row, rows - 1);
        row_weights[row] = weights + clamped * chunks;
        row_scales[row] = scales + clamped * groups;
        next[row] = lane < chunks ? row_weights[row][lane] : make_uint4(0, 0, 0, 0);
#pragma unroll
        for (unsigned vector = 0; vector < BATCH; ++vector) {
            acc[row][vector] = 0.0f;
        }
    }
    for (unsigned chunk = lane; chunk < chunks; chunk += WARP) {
        float weight[ROWS][CHUNK], scale[ROWS];
#pragma unroll
        for (unsigned row = 0; row < ROWS; ++row) {
            const unsigned words[4] = {next[row].x ^ flip, next[row].y ^ flip, next[row].z ^ flip, next[row].w ^ flip};
#pragma unroll
            for (unsigned i = 0; i < CHUNK; ++i) {
                weight[row][i] = weight_of(words[i / 4], i % 4);
            }
            scale[row] = __half2float(row_scales[row][chunk / group_chunks]);
            // The next weights are under way while these are multiplied.
            if (chunk + WARP < chunks) {
                next[row] = row_weights[row][chunk + WARP];
            }
        }
#pragma unroll
        for (unsigned vector = 0; vector < BATCH; ++vector) {
            const size_t at = (static_cast<size_t>(min(vector, batch - 1)) * chunks + chunk) * 2;
            const uint4 low = x[at], high = x[at + 1];
            const unsigned pairs[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
            float sum[ROWS] = {};
#pragma unroll
            for (unsigned i = 0; i < CHUNK; ++i) {
                const unsigned short bits = static_cast<unsigned short>(i % 2 ? pairs[i / 2] >> 16 : pairs[i / 2]);
                const float input = __half2float(__ushort_as_half(bits));
#pragma unroll
                for (unsigned row = 0; row < ROWS; ++row) {
                    sum[row] = fmaf(weight[row][i], input, sum[row]);
                }
            }
#pragma unroll
            for (unsigned row = 0; row < ROWS; ++row) {
                acc[row][vector] = fmaf(sum[row], scale[row], acc[row][vector]);
            }
        }
    }
#pragma unroll
    for (unsigned row = 0; row < ROWS; ++row) {
#pragma unroll
        for (unsigned vector = 0; vector < BATCH; ++vector) {
            const float sum = warp_sum(acc[row][vector]);
            if (lane == 0 && first + row < rows && vector < batch) {
                out[static_cast<size_t>(vector) * rows + first + row] = sum;
            }
        }
    }
}

// `weights` [rows][columns] int8 and `x` [batch][columns] f16, both aligned to 16 bytes; `scales` [rows][groups] f16, where
// groups = ceil(columns / group); `out` [batch][rows]. `columns` and `group` are multiples of 16, at least 16; a row's last
// group may be short. `batch` is from 1 to the number in the kernel's name. `flip` is 0x80808080 where a weight's byte is
// two's complement, 0 where it is weight + 128. A grid of ceil(rows / 8) blocks of 128 threads; no dynamic shared memory.
#define W8A16_GEMV(BATCH)                                                                                     \
    extern "C" __global__ void __launch_bounds__(THREADS) w8a16_gemv_##BATCH(                                 \
        const uint4* __restrict__ weights,                                                                    \
        const __half* __restrict__ scales,                                                                    \
        const uint4* __restrict__ x,                                                                          \
        float* __restrict__ out,                                                                              \
        unsigned rows,                                                                                        \
        unsigned columns,                                                                                     \
        unsigned group,                                                                                       \
        unsigned batch,                                                                                       \
        unsigned flip                                                                                         \
    ) {                                                                                                       \
        gemv<BATCH>(weights, scales, x, out, rows, columns, group, batch, flip);                              \
    }

W8A16_GEMV(1)
W8A16_GEMV(2)
W8A16_GEMV(4)
W8A16_GEMV(8)

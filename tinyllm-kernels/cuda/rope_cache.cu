// After the projections: heads of q and k are normalised (where `q_norm` is given) and rotated, q in place; k and v are rounded
// into the cache. A block of one warp a head: grid (rows, heads + 2 * kv_heads), q's heads first, then k's, then v's.
//
// `q` `[rows][heads * head_dim]`, `k` and `v` `[rows][kv_heads * head_dim]`, `table` `[rows][head_dim]`: cos in the first half, sin
// in the second. Shared memory: head_dim floats.

#include "cache.cuh"
#include "planes.cuh"

constexpr unsigned LANES = 16;

// Normalises a head in shared memory, as rms_norm does a row.
__device__ __forceinline__ void normalise(float* head, unsigned head_dim, const void* weight, unsigned type, float eps) {
    const unsigned lane = threadIdx.x;
    float squares = 0.0f;
    if (lane < LANES) {
        for (unsigned i = lane; i < head_dim; i += LANES) {
            squares = __fmaf_rn(head[i], head[i], squares);
        }
    }
#pragma unroll
    for (unsigned width = LANES / 2; width > 0; width /= 2) {
        squares = __fadd_rn(squares, __shfl_down_sync(ALL_LANES, squares, width));
    }
    const float mean = __fdiv_rn(__shfl_sync(ALL_LANES, squares, 0), __uint2float_rn(head_dim));
    const float factor = __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(mean, eps)));
    __syncwarp();
    for (unsigned i = lane; i < head_dim; i += WARP) {
        head[i] = __fmul_rn(__fmul_rn(head[i], factor), read_number(weight, i, type));
    }
    __syncwarp();
}

// Writes a head to the cache: element i at `elements[i * stride]`.
template <unsigned FORMAT>
__device__ __forceinline__ void store(const float* head, unsigned head_dim, unsigned char* elements, unsigned stride, __half* scale) {
    const unsigned lane = threadIdx.x;
    float step = 1.0f;
    if (FORMAT == CACHE_INT8) {
        unsigned bits = 0;
        for (unsigned i = lane; i < head_dim; i += WARP) {
            bits = max(bits, magnitude_bits(head[i]));
        }
        bits = __reduce_max_sync(ALL_LANES, bits);
        // At most the largest f16; NaN where a value is not finite.
        unsigned short rounded = 0x7e00;
        if (bits < INFINITY_BITS) {
            rounded = __half_as_ushort(__float2half_rn(__fdiv_rn(__uint_as_float(bits), 127.0f)));
            rounded = rounded > 0x7bff ? 0x7bff : rounded;
        }
        step = __half2float(__ushort_as_half(rounded));
        if (lane == 0) {
            *scale = __ushort_as_half(rounded);
        }
    }
    for (unsigned i = lane; i < head_dim; i += WARP) {
        const unsigned at = i * stride;
        if (FORMAT == CACHE_F16) {
            reinterpret_cast<__half*>(elements)[at] = __float2half_rn(head[i]);
        } else if (FORMAT == CACHE_F32) {
            reinterpret_cast<float*>(elements)[at] = head[i];
        } else {
            // NaN becomes 0.
            const int value = __float2int_rn(__fdiv_rn(head[i], step));
            reinterpret_cast<signed char*>(elements)[at] = static_cast<signed char>(max(-127, min(127, value)));
        }
    }
}

template <unsigned FORMAT>
__device__ __forceinline__ void rope_and_cache_write(
    float* q, const float* k, const float* v, const float* table, unsigned heads, const void* q_norm, const void* k_norm,
    unsigned norm_type, float eps, const unsigned* row_sequences, const unsigned* row_positions, const unsigned* rows, const Cache& cache
) {
    extern __shared__ float head[];
    const unsigned row = blockIdx.x, lane = threadIdx.x, head_dim = cache.head_dim, half = head_dim / 2;
    if (row >= *rows) {
        return;
    }
    const bool is_q = blockIdx.y < heads, is_v = blockIdx.y >= heads + cache.kv_heads;
    const unsigned index = is_q ? blockIdx.y : is_v ? blockIdx.y - heads - cache.kv_heads : blockIdx.y - heads;
    const unsigned in_row = is_q ? heads : cache.kv_heads;
    const float* from = (is_q ? q : is_v ? v : k) + (static_cast<size_t>(row) * in_row + index) * head_dim;
    for (unsigned i = lane; i < head_dim; i += WARP) {
        head[i] = from[i];
    }
    __syncwarp();
    if (!is_v) {
        if (q_norm) {
            normalise(head, head_dim, is_q ? q_norm : k_norm, norm_type, eps);
        }
        const float* angles = table + static_cast<size_t>(row) * head_dim;
        for (unsigned i = lane; i < half; i += WARP) {
            const float x1 = head[i], x2 = head[half + i], cos = angles[i], sin = angles[half + i];
            head[i] = __fmaf_rn(__fsub_rn(0.0f, x2), sin, __fmul_rn(x1, cos));
            head[half + i] = __fmaf_rn(x1, sin, __fmul_rn(x2, cos));
        }
        __syncwarp();
    }
    if (is_q) {
        float* to = q + (static_cast<size_t>(row) * heads + index) * head_dim;
        for (unsigned i = lane; i < head_dim; i += WARP) {
            to[i] = head[i];
        }
        return;
    }
    const unsigned position = row_positions[row], slot = position % TILE_TOKENS;
    const Tile<FORMAT> tile = tile_of<FORMAT>(cache, row_sequences[row], index, position);
    if (is_v) {
        unsigned char* elements = const_cast<unsigned char*>(tile.values) + slot * head_dim * ELEMENT_BYTES<FORMAT>;
        store<FORMAT>(head, head_dim, elements, 1, const_cast<__half*>(tile.value_scales) + slot);
    } else {
        unsigned char* elements = const_cast<unsigned char*>(tile.keys) + slot * ELEMENT_BYTES<FORMAT>;
        store<FORMAT>(head, head_dim, elements, TILE_TOKENS, const_cast<__half*>(tile.key_scales) + slot);
    }
}

#define ROPE_AND_CACHE_WRITE(NAME, FORMAT)                                                                                     \
    extern "C" __global__ void __launch_bounds__(WARP) NAME(                                                                   \
        float* q, const float* k, const float* v, const float* table, unsigned heads, const void* q_norm, const void* k_norm, \
        unsigned norm_type, float eps, const unsigned* row_sequences, const unsigned* row_positions, const unsigned* rows,     \
        Cache cache                                                                                                            \
    ) {                                                                                                                        \
        rope_and_cache_write<FORMAT>(                                                                                          \
            q, k, v, table, heads, q_norm, k_norm, norm_type, eps, row_sequences, row_positions, rows, cache                   \
        );                                                                                                                     \
    }

ROPE_AND_CACHE_WRITE(rope_cache_f16, CACHE_F16)
ROPE_AND_CACHE_WRITE(rope_cache_f32, CACHE_F32)
ROPE_AND_CACHE_WRITE(rope_cache_int8, CACHE_INT8)

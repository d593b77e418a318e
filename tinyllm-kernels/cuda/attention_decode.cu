// Attention of one query token a sequence over the paged f16 cache: out = softmax(scale · q · K) V, for each head.
//
// A block has up to HEADS query heads that share a kv head, so that each key and value is read once for all of them. The
// cache is [block][layer][kv_head][tile], and a tile of 16 tokens is K, [head_dim][16], then V, [16][head_dim]. Warp w folds
// tiles w, w + 8, ... of those that the query sees, in order, with the running maximum and sum of an online softmax in f32;
// the warps' results are then folded in order. The order depends on the sequence's own length and window alone. Keys beyond
// the length are never read: nobody need have written them.

#include <cuda_fp16.h>

constexpr unsigned WARP = 32;
constexpr unsigned WARPS = 8;
constexpr unsigned THREADS = WARP * WARPS;
constexpr unsigned TILE = 16;
// Elements of a load of 16 bytes.
constexpr unsigned CHUNK = 8;
constexpr unsigned ALL = 0xffffffffu;
constexpr float LOG2_E = 1.4426950408889634f;

__device__ __forceinline__ float minus_infinity() {
    return __uint_as_float(0xff800000u);
}

// An f16 of a pair as f32.
__device__ __forceinline__ float widen(unsigned pair, unsigned index) {
    return __half2float(__ushort_as_half(static_cast<unsigned short>(index ? pair >> 16 : pair)));
}

__device__ __forceinline__ float element(const uint4& chunk, unsigned index) {
    const unsigned words[4] = {chunk.x, chunk.y, chunk.z, chunk.w};
    return widen(words[index / 2], index % 2);
}

// Lane l has partial scores of the 8 keys of half l % 2. Afterwards it has the whole score of one key of them, whose index
// has bits 4, 3 and 2 of l, in this order; lanes that differ in bit 1 have the same.
__device__ __forceinline__ float gather_score(float (&partial)[CHUNK], unsigned lane) {
#pragma unroll
    for (unsigned kept = CHUNK / 2, bit = WARP / 2; kept > 0; kept /= 2, bit /= 2) {
        const bool upper = lane & bit;
#pragma unroll
        for (unsigned j = 0; j < kept; ++j) {
            const float given = upper ? partial[j] : partial[j + kept];
            const float own = upper ? partial[j + kept] : partial[j];
            partial[j] = own + __shfl_xor_sync(ALL, given, bit);
        }
    }
    return partial[0] + __shfl_xor_sync(ALL, partial[0], 2);
}

// The key whose score a lane has, and a lane that has a key's score.
__device__ __forceinline__ unsigned key_of(unsigned lane) {
    return lane % 2 * CHUNK + (lane >> 2 & 4) + (lane >> 2 & 2) + (lane >> 2 & 1);
}

__device__ __forceinline__ unsigned lane_of(unsigned key) {
    return key / CHUNK + (key % CHUNK << 2);
}

template <unsigned HEAD_DIM, unsigned HEADS>
__device__ __forceinline__ void attend(
    const float* __restrict__ q,
    const __half* __restrict__ cache,
    const unsigned* __restrict__ block_tables,
    const unsigned* __restrict__ kv_lengths,
    float* __restrict__ out,
    unsigned kv_heads,
    unsigned heads_per_kv,
    unsigned layers,
    unsigned layer,
    unsigned block_tokens,
    unsigned block_table_stride,
    unsigned window,
    float scale
) {
    constexpr unsigned TILE_ELEMS = 2 * TILE * HEAD_DIM;
    // Loads of a lane for the K, or V, of a tile.
    constexpr unsigned LOADS = TILE * HEAD_DIM / CHUNK / WARP;
    // Lanes that share a row of V, and rows that a warp loads at once.
    constexpr unsigned ROW_LANES = HEAD_DIM / CHUNK, ROWS = WARP / ROW_LANES;
    __shared__ float query[HEADS][HEAD_DIM];
    __shared__ float maxima[WARPS][HEADS], sums[WARPS][HEADS], outputs[WARPS][HEADS][HEAD_DIM];

    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const unsigned parts = (heads_per_kv + HEADS - 1) / HEADS;
    const unsigned kv_head = blockIdx.x / parts, first_head = blockIdx.x % parts * HEADS, sequence = blockIdx.y;
    const unsigned heads = min(HEADS, heads_per_kv - first_head);
    const size_t row = (static_cast<size_t>(sequence) * kv_heads + kv_head) * heads_per_kv + first_head;
    const unsigned length = kv_lengths[sequence], start = length - min(window, length);
    const unsigned* block_table = block_tables + static_cast<size_t>(sequence) * block_table_stride;
    const unsigned block_tiles = block_tokens / TILE;

    // Heads beyond the last repeat the last, and are not written.
    for (unsigned i = threadIdx.x; i < HEADS * HEAD_DIM; i += THREADS) {
        const unsigned head = i / HEAD_DIM, d = i % HEAD_DIM;
        query[head][d] = q[(row + min(head, heads - 1)) * HEAD_DIM + d] * (scale * LOG2_E);
    }
    __syncthreads();

    float maximum[HEADS], total[HEADS], acc[HEADS][CHUNK];
#pragma unroll
    for (unsigned head = 0; head < HEADS; ++head) {
        maximum[head] = minus_infinity();
        total[head] = 0.0f;
#pragma unroll
        for (unsigned e = 0; e < CHUNK; ++e) {
            acc[head][e] = 0.0f;
        }
    }

    const unsigned tiles = (length + TILE - 1) / TILE;
    for (unsigned tile = start / TILE + warp; tile < tiles; tile += WARPS) {
        const unsigned first = tile * TILE, end = min(length - first, TILE), begin = first < start ? start - first : 0;
        const size_t block = block_table[tile / block_tiles];
        const size_t at = ((block * layers + layer) * kv_heads + kv_head) * block_tiles + tile % block_tiles;
        const __half* keys = cache + at * TILE_ELEMS;
        const __half* values = keys + TILE * HEAD_DIM;

        uint4 key[LOADS], value[LOADS];
        if (end == TILE) {
#pragma unroll
            for (unsigned i = 0; i < LOADS; ++i) {
                key[i] = reinterpret_cast<const uint4*>(keys)[i * WARP + lane];
            }
        } else {
#pragma unroll
            for (unsigned i = 0; i < LOADS; ++i) {
                const unsigned short* from = reinterpret_cast<const unsigned short*>(keys) + (i * WARP + lane) * CHUNK;
                unsigned words[CHUNK / 2];
#pragma unroll
                for (unsigned j = 0; j < CHUNK / 2; ++j) {
                    const unsigned slot = lane % 2 * CHUNK + 2 * j;
                    const unsigned low = slot < end ? from[2 * j] : 0u, high = slot + 1 < end ? from[2 * j + 1] : 0u;
                    words[j] = low | high << 16;
                }
                key[i] = make_uint4(words[0], words[1], words[2], words[3]);
            }
        }
#pragma unroll
        for (unsigned i = 0; i < LOADS; ++i) {
            const unsigned slot = i * ROWS + lane / ROW_LANES;
            const bool seen = slot >= begin && slot < end;
            value[i] = seen ? reinterpret_cast<const uint4*>(values)[i * WARP + lane] : make_uint4(0, 0, 0, 0);
        }

        float weight[HEADS];
#pragma unroll
        for (unsigned head = 0; head < HEADS; ++head) {
            float partial[CHUNK] = {};
#pragma unroll
            for (unsigned i = 0; i < LOADS; ++i) {
                const float factor = query[head][i * TILE + lane / 2];
#pragma unroll
                for (unsigned e = 0; e < CHUNK; ++e) {
                    partial[e] = fmaf(factor, element(key[i], e), partial[e]);
                }
            }
            float score = gather_score(partial, lane);
            const unsigned slot = key_of(lane);
            score = slot >= begin && slot < end ? score : minus_infinity();
            float largest = fmaxf(maximum[head], score);
#pragma unroll
            for (unsigned bit = WARP / 2; bit > 0; bit /= 2) {
                largest = fmaxf(largest, __shfl_xor_sync(ALL, largest, bit));
            }
            weight[head] = exp2f(score - largest);
            const float factor = exp2f(maximum[head] - largest);
            maximum[head] = largest;
            total[head] = fmaf(total[head], factor, weight[head]);
#pragma unroll
            for (unsigned e = 0; e < CHUNK; ++e) {
                acc[head][e] *= factor;
            }
        }
#pragma unroll
        for (unsigned i = 0; i < LOADS; ++i) {
            const unsigned holder = lane_of(i * ROWS + lane / ROW_LANES);
            float wide[CHUNK];
#pragma unroll
            for (unsigned e = 0; e < CHUNK; ++e) {
                wide[e] = element(value[i], e);
            }
#pragma unroll
            for (unsigned head = 0; head < HEADS; ++head) {
                const float share = __shfl_sync(ALL, weight[head], holder);
#pragma unroll
                for (unsigned e = 0; e < CHUNK; ++e) {
                    acc[head][e] = fmaf(share, wide[e], acc[head][e]);
                }
            }
        }
    }

    // Over the lanes that have other keys: bits 4 to 2 and 0 of the totals, those above a row of V of the outputs.
#pragma unroll
    for (unsigned head = 0; head < HEADS; ++head) {
#pragma unroll
        for (unsigned bit = WARP / 2; bit > 0; bit /= 2) {
            if (bit != 2) {
                total[head] += __shfl_xor_sync(ALL, total[head], bit);
            }
        }
        if (lane == 0) {
            maxima[warp][head] = maximum[head];
            sums[warp][head] = total[head];
        }
#pragma unroll
        for (unsigned e = 0; e < CHUNK; ++e) {
#pragma unroll
            for (unsigned bit = WARP / 2; bit >= ROW_LANES; bit /= 2) {
                acc[head][e] += __shfl_xor_sync(ALL, acc[head][e], bit);
            }
            if (lane < ROW_LANES) {
                outputs[warp][head][lane * CHUNK + e] = acc[head][e];
            }
        }
    }
    __syncthreads();

    for (unsigned i = threadIdx.x; i < heads * HEAD_DIM; i += THREADS) {
        const unsigned head = i / HEAD_DIM, d = i % HEAD_DIM;
        // Of the warps that had a tile; the first has one unless there is none at all.
        const unsigned active = min(tiles - start / TILE, WARPS);
        float largest = minus_infinity(), sum = 0.0f, output = 0.0f;
        for (unsigned w = 0; w < active; ++w) {
            largest = fmaxf(largest, maxima[w][head]);
        }
        for (unsigned w = 0; w < active; ++w) {
            const float factor = exp2f(maxima[w][head] - largest);
            sum = fmaf(sums[w][head], factor, sum);
            output = fmaf(outputs[w][head][d], factor, output);
        }
        out[row * HEAD_DIM + i] = active > 0 ? output / sum : 0.0f;
    }
}

// `q` and `out` [sequences][kv_heads][heads_per_kv][head_dim] f32; `cache` as above, aligned to 16 bytes, in blocks of
// `block_tokens` tokens, a multiple of 16, each with all `layers`; `block_tables` [sequences][block_table_stride];
// `kv_lengths` [sequences], the query's own token counted. A query sees the last `window` keys, at least 1, and no table
// entry of a tile before them is read; 0xffffffff for all keys. Length 0 gives zeros. `scale` multiplies scores.
//
// A grid of (kv_heads * ceil(heads_per_kv / HEADS), sequences) blocks of 256 threads, where the name ends in HEADS; no
// dynamic shared memory.
#define ATTENTION_DECODE(HEAD_DIM, HEADS)                                                                     \
    extern "C" __global__ void __launch_bounds__(THREADS) attention_decode_f16_d##HEAD_DIM##_h##HEADS(        \
        const float* __restrict__ q,                                                                          \
        const __half* __restrict__ cache,                                                                     \
        const unsigned* __restrict__ block_tables,                                                            \
        const unsigned* __restrict__ kv_lengths,                                                              \
        float* __restrict__ out,                                                                              \
        unsigned kv_heads,                                                                                    \
        unsigned heads_per_kv,                                                                                \
        unsigned layers,                                                                                      \
        unsigned layer,                                                                                       \
        unsigned block_tokens,                                                                                \
        unsigned block_table_stride,                                                                          \
        unsigned window,                                                                                      \
        float scale                                                                                           \
    ) {                                                                                                       \
        attend<HEAD_DIM, HEADS>(                                                                              \
            q, cache, block_tables, kv_lengths, out, kv_heads, heads_per_kv,                                  \
            layers, layer, block_tokens, block_table_stride, window, scale                                    \
        );                                                                                                    \
    }

ATTENTION_DECODE(64, 1)
ATTENTION_DECODE(64, 4)
ATTENTION_DECODE(128, 1)
ATTENTION_DECODE(128, 4)

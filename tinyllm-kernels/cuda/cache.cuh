// The KV cache: `[block][layer][kv_head]` chunks. A chunk has keys, `[tiles][head_dim][16 tokens]`, then values,
// `[tiles][16 tokens][head_dim]`; in int8 then the f16 scales of keys, `[tiles][16]`, and of values.

#pragma once

#include "numbers.cuh"

constexpr unsigned TILE_TOKENS = 16;

enum CacheFormat : unsigned { CACHE_F16 = 0, CACHE_F32 = 1, CACHE_INT8 = 2 };

// A parameter of kernels (`cuda/kernels/cache.rs`).
struct Cache {
    unsigned char* blocks;
    unsigned long long block_bytes;
    unsigned long long layer_offset; // of this layer in a block
    const unsigned* block_tables;    // [sequences][table_stride]
    unsigned table_stride;
    unsigned block_tokens;
    unsigned kv_heads;
    unsigned head_dim;
};

template <unsigned FORMAT>
constexpr unsigned ELEMENT_BYTES = FORMAT == CACHE_F16 ? 2 : FORMAT == CACHE_F32 ? 4 : 1;

// A tile of a head's keys and values.
template <unsigned FORMAT>
struct Tile {
    const unsigned char* keys;
    const unsigned char* values;
    const __half* key_scales;
    const __half* value_scales;
};

template <unsigned FORMAT>
__device__ __forceinline__ Tile<FORMAT> tile_of(const Cache& cache, unsigned sequence, unsigned kv_head, unsigned position) {
    const unsigned block = cache.block_tables[static_cast<size_t>(sequence) * cache.table_stride + position / cache.block_tokens];
    const unsigned tiles = cache.block_tokens / TILE_TOKENS, tile = position % cache.block_tokens / TILE_TOKENS;
    const unsigned tile_bytes = TILE_TOKENS * cache.head_dim * ELEMENT_BYTES<FORMAT>;
    const unsigned scale_bytes = FORMAT == CACHE_INT8 ? 2 * TILE_TOKENS * static_cast<unsigned>(sizeof(__half)) : 0;
    const unsigned char* chunk = cache.blocks + block * cache.block_bytes + cache.layer_offset
        + static_cast<size_t>(kv_head) * tiles * (2 * tile_bytes + scale_bytes);
    const __half* scales = reinterpret_cast<const __half*>(chunk + 2ull * tiles * tile_bytes);
    return Tile<FORMAT>{
        chunk + static_cast<size_t>(tile) * tile_bytes,
        chunk + static_cast<size_t>(tiles + tile) * tile_bytes,
        scales + tile * TILE_TOKENS,
        scales + (tiles + tile) * TILE_TOKENS,
    };
}

template <unsigned FORMAT>
__device__ __forceinline__ float read_cached(const unsigned char* elements, unsigned index) {
    if (FORMAT == CACHE_F16) {
        return __half2float(reinterpret_cast<const __half*>(elements)[index]);
    }
    if (FORMAT == CACHE_F32) {
        return reinterpret_cast<const float*>(elements)[index];
    }
    return __int2float_rn(reinterpret_cast<const signed char*>(elements)[index]);
}

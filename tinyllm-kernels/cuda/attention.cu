// Exact causal attention over the paged cache, in the CPU's order (`cpu/attention/mod.rs`): segments of 256 keys aligned to
// position 0, each with its largest score m, p = 2^(s - m), the sum l of p (key j in lane j mod 16, tiles in order, then a tree)
// and sums of p * v in the order of keys; segments are merged in order. A row's bits do not depend on how it is computed.
//
// A block has up to MAX_HEADS query heads of one KV head of one row. Grid: (output rows, kv_heads * chunks of heads, segments or 1).
// Shared memory: (heads of a block) * (2 * head_dim + 256 + 20) floats.

#include "cache.cuh"
#include "planes.cuh"

constexpr unsigned THREADS = 256;
constexpr unsigned SEGMENT = 256;
constexpr unsigned LANES = 16;
constexpr unsigned MAX_HEADS = 8;
// Heads whose scores a thread sums at a time.
constexpr unsigned SCORES = 4;

struct Rows {
    const float* q;                // [tokens][kv_heads * group * head_dim]
    float* out;                    // [rows][kv_heads * group * head_dim]
    const unsigned* source_rows;   // of each output row the token row; null: the same
    const unsigned* rows;          // how many output rows
    const unsigned* row_sequences; // by token row
    const unsigned* row_positions;
    unsigned group;  // query heads of a KV head
    unsigned window; // keys that a query attends to, its own included; 0: all
    float scale;     // of scores, log2(e) included
    unsigned unused;
};

// What a block works on.
struct Item {
    unsigned row, source, sequence, position, kv_head, first_head, heads;
};

struct Shared {
    float* q;      // [heads][head_dim]
    float* total;  // [heads][head_dim]
    float* p;      // [heads][SEGMENT]
    float* lanes;  // [heads][LANES]
    float* sums;   // [heads][4]: m and l of the segment, M and L of the row
};

__device__ __forceinline__ Shared shared_of(float* memory, unsigned heads, unsigned head_dim) {
    Shared shared;
    shared.q = memory;
    shared.total = shared.q + heads * head_dim;
    shared.p = shared.total + heads * head_dim;
    shared.lanes = shared.p + heads * SEGMENT;
    shared.sums = shared.lanes + heads * LANES;
    return shared;
}

__device__ __forceinline__ bool item_of(const Rows& rows, const Cache& cache, Item& item) {
    item.row = blockIdx.x;
    if (item.row >= *rows.rows) {
        return false;
    }
    const unsigned chunks = (rows.group + MAX_HEADS - 1) / MAX_HEADS;
    item.source = rows.source_rows ? rows.source_rows[item.row] : item.row;
    item.sequence = rows.row_sequences[item.source];
    item.position = rows.row_positions[item.source];
    item.kv_head = blockIdx.y / chunks;
    item.first_head = blockIdx.y % chunks * MAX_HEADS;
    item.heads = min(MAX_HEADS, rows.group - item.first_head);
    return true;
}

// The keys of a segment that a row attends to: from `first` to `end`, positions.
__device__ __forceinline__ void visible(unsigned position, unsigned window, unsigned segment, unsigned& first, unsigned& end) {
    const unsigned base = segment * SEGMENT, from = window && position + 1 > window ? position + 1 - window : 0;
    first = max(from, base);
    end = min(position + 1, base + SEGMENT);
}

// A segment's partial results: m and l in `sums`; returns the attended value of element `i` (head * head_dim + d) to `put`.
template <unsigned FORMAT, typename Put>
__device__ __forceinline__ void attend(
    const Rows& rows, const Cache& cache, const Item& item, const Shared& shared, unsigned first, unsigned end, Put put
) {
    const unsigned thread = threadIdx.x, head_dim = cache.head_dim, base = first / SEGMENT * SEGMENT, key = base + thread;
    const bool is_visible = key >= first && key < end;
    Tile<FORMAT> tile{};
    if (is_visible) {
        tile = tile_of<FORMAT>(cache, item.sequence, item.kv_head, key);
    }
#pragma unroll 1
    for (unsigned head = 0; head < item.heads; head += SCORES) {
        float scores[SCORES] = {0.0f, 0.0f, 0.0f, 0.0f};
        if (is_visible) {
            // Loads that do not wait for one another hide the memory's latency.
#pragma unroll 8
            for (unsigned d = 0; d < head_dim; ++d) {
                const float k = read_cached<FORMAT>(tile.keys, d * TILE_TOKENS + key % TILE_TOKENS);
#pragma unroll
                for (unsigned i = 0; i < SCORES; ++i) {
                    if (head + i < item.heads) {
                        scores[i] = __fmaf_rn(k, shared.q[(head + i) * head_dim + d], scores[i]);
                    }
                }
            }
        }
        const float scale = FORMAT == CACHE_INT8 && is_visible
            ? __fmul_rn(rows.scale, __half2float(tile.key_scales[key % TILE_TOKENS]))
            : rows.scale;
#pragma unroll
        for (unsigned i = 0; i < SCORES; ++i) {
            if (head + i < item.heads) {
                shared.p[(head + i) * SEGMENT + thread] = is_visible ? __fmul_rn(scores[i], scale) : negative_infinity();
            }
        }
    }
    __syncthreads();
    // A warp a head: the largest score.
    for (unsigned head = thread / WARP; head < item.heads; head += THREADS / WARP) {
        float largest = negative_infinity();
#pragma unroll 4
        for (unsigned j = thread % WARP; j < SEGMENT; j += WARP) {
            largest = larger(shared.p[head * SEGMENT + j], largest);
        }
#pragma unroll
        for (unsigned width = WARP / 2; width > 0; width /= 2) {
            largest = larger(__shfl_xor_sync(ALL_LANES, largest, width), largest);
        }
        if (thread % WARP == 0) {
            shared.sums[head * 4] = largest;
        }
    }
    __syncthreads();
#pragma unroll 1
    for (unsigned head = 0; head < item.heads; ++head) {
        float* p = shared.p + head * SEGMENT + thread;
        *p = exp_2(__fsub_rn(*p, shared.sums[head * 4]));
    }
    __syncthreads();
    for (unsigned index = thread; index < item.heads * LANES; index += THREADS) {
        float sum = 0.0f;
        const float* p = shared.p + index / LANES * SEGMENT + index % LANES;
#pragma unroll 4
        for (unsigned j = 0; j < SEGMENT; j += LANES) {
            sum = __fadd_rn(sum, p[j]);
        }
        shared.lanes[index] = sum;
    }
    __syncthreads();
    if (thread < item.heads) {
        float* lanes = shared.lanes + thread * LANES;
        for (unsigned width = LANES / 2; width > 0; width /= 2) {
            for (unsigned lane = 0; lane < width; ++lane) {
                lanes[lane] = __fadd_rn(lanes[lane], lanes[lane + width]);
            }
        }
        shared.sums[thread * 4 + 1] = lanes[0];
    }
    if (FORMAT == CACHE_INT8 && is_visible) {
        const float scale = __half2float(tile.value_scales[key % TILE_TOKENS]);
        for (unsigned head = 0; head < item.heads; ++head) {
            float* p = shared.p + head * SEGMENT + thread;
            // A weight of 0 stays 0 whatever the scale, and NaN stays NaN.
            *p = *p < __uint_as_float(1) ? *p : __fmul_rn(*p, scale);
        }
    }
    __syncthreads();
    for (unsigned index = thread; index < item.heads * head_dim; index += THREADS) {
        const unsigned head = index / head_dim, d = index % head_dim;
        float sum = 0.0f;
        unsigned key_at = first;
        while (key_at < end) {
            const Tile<FORMAT> values = tile_of<FORMAT>(cache, item.sequence, item.kv_head, key_at);
            const unsigned last = min(end, (key_at / TILE_TOKENS + 1) * TILE_TOKENS);
#pragma unroll 4
            for (; key_at < last; ++key_at) {
                const float v = read_cached<FORMAT>(values.values, key_at % TILE_TOKENS * head_dim + d);
                sum = __fmaf_rn(v, shared.p[head * SEGMENT + key_at % SEGMENT], sum);
            }
        }
        put(index, head, sum);
    }
}

__device__ __forceinline__ void load_queries(const Rows& rows, const Cache& cache, const Item& item, const Shared& shared) {
    const unsigned head_dim = cache.head_dim;
    const size_t first = (static_cast<size_t>(item.source) * cache.kv_heads + item.kv_head) * rows.group + item.first_head;
    for (unsigned index = threadIdx.x; index < item.heads * head_dim; index += THREADS) {
        shared.q[index] = rows.q[first * head_dim + index];
        shared.total[index] = 0.0f;
    }
    if (threadIdx.x < item.heads) {
        shared.sums[threadIdx.x * 4 + 2] = negative_infinity();
        shared.sums[threadIdx.x * 4 + 3] = 0.0f;
    }
    __syncthreads();
}

// Rows whole: a block walks its row's segments.
template <unsigned FORMAT>
__device__ __forceinline__ void attention_rows(const Rows& rows, const Cache& cache) {
    extern __shared__ float memory[];
    Item item;
    if (!item_of(rows, cache, item)) {
        return;
    }
    const unsigned head_dim = cache.head_dim;
    const Shared shared = shared_of(memory, item.heads, head_dim);
    load_queries(rows, cache, item, shared);
    for (unsigned segment = 0; segment * SEGMENT <= item.position; ++segment) {
        unsigned first, end;
        visible(item.position, rows.window, segment, first, end);
        if (first >= end) {
            continue;
        }
        attend<FORMAT>(rows, cache, item, shared, first, end, [&](unsigned index, unsigned head, float attended) {
            const float before = shared.sums[head * 4 + 2], now = larger(shared.sums[head * 4], before);
            const float fresh = exp_2(__fsub_rn(shared.sums[head * 4], now)), kept = exp_2(__fsub_rn(before, now));
            shared.total[index] = __fmaf_rn(attended, fresh, __fmul_rn(shared.total[index], kept));
        });
        __syncthreads();
        if (threadIdx.x < item.heads) {
            float* sums = shared.sums + threadIdx.x * 4;
            const float now = larger(sums[0], sums[2]);
            const float fresh = exp_2(__fsub_rn(sums[0], now)), kept = exp_2(__fsub_rn(sums[2], now));
            sums[3] = __fmaf_rn(sums[1], fresh, __fmul_rn(sums[3], kept));
            sums[2] = now;
        }
        __syncthreads();
    }
    const size_t first = (static_cast<size_t>(item.row) * cache.kv_heads + item.kv_head) * rows.group + item.first_head;
    for (unsigned index = threadIdx.x; index < item.heads * head_dim; index += THREADS) {
        rows.out[first * head_dim + index] = __fdiv_rn(shared.total[index], shared.sums[index / head_dim * 4 + 3]);
    }
}

// One segment of a row: its partial results go to `states` `[rows][heads][segments][head_dim + 2]`, m and l last.
template <unsigned FORMAT>
__device__ __forceinline__ void attention_segments(const Rows& rows, const Cache& cache, float* states, unsigned segments) {
    extern __shared__ float memory[];
    Item item;
    if (!item_of(rows, cache, item)) {
        return;
    }
    unsigned first, end;
    visible(item.position, rows.window, blockIdx.z, first, end);
    if (first >= end) {
        return;
    }
    const unsigned head_dim = cache.head_dim;
    const Shared shared = shared_of(memory, item.heads, head_dim);
    load_queries(rows, cache, item, shared);
    const size_t at = (static_cast<size_t>(item.row) * cache.kv_heads + item.kv_head) * rows.group + item.first_head;
    const auto state = [&](unsigned head) { return states + ((at + head) * segments + blockIdx.z) * (head_dim + 2); };
    attend<FORMAT>(rows, cache, item, shared, first, end, [&](unsigned index, unsigned head, float attended) {
        state(head)[index % head_dim] = attended;
    });
    if (threadIdx.x < item.heads) {
        state(threadIdx.x)[head_dim] = shared.sums[threadIdx.x * 4];
        state(threadIdx.x)[head_dim + 1] = shared.sums[threadIdx.x * 4 + 1];
    }
}

#define ATTENTION(NAME, FORMAT)                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS) attention_rows_##NAME(Rows rows, Cache cache) {                  \
        attention_rows<FORMAT>(rows, cache);                                                                                \
    }                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                                   \
        attention_segments_##NAME(Rows rows, Cache cache, float* states, unsigned segments) {                              \
        attention_segments<FORMAT>(rows, cache, states, segments);                                                         \
    }

ATTENTION(f16, CACHE_F16)
ATTENTION(f32, CACHE_F32)
ATTENTION(int8, CACHE_INT8)

// Merges the segments of each row and head in order: grid (rows, heads), head_dim threads or fewer.
extern "C" __global__ void __launch_bounds__(THREADS)
    attention_merge(Rows rows, unsigned head_dim, const float* __restrict__ states, unsigned segments) {
    const unsigned row = blockIdx.x, head = blockIdx.y, heads = gridDim.y;
    if (row >= *rows.rows) {
        return;
    }
    const unsigned position = rows.row_positions[rows.source_rows ? rows.source_rows[row] : row];
    const size_t at = static_cast<size_t>(row) * heads + head;
    for (unsigned d = threadIdx.x; d < head_dim; d += blockDim.x) {
        float m = negative_infinity(), sum = 0.0f, total = 0.0f;
        for (unsigned segment = 0; segment < segments; ++segment) {
            unsigned first, end;
            visible(position, rows.window, segment, first, end);
            if (first >= end) {
                continue;
            }
            const float* state = states + (at * segments + segment) * (head_dim + 2);
            const float now = larger(state[head_dim], m);
            const float fresh = exp_2(__fsub_rn(state[head_dim], now)), kept = exp_2(__fsub_rn(m, now));
            sum = __fmaf_rn(state[head_dim + 1], fresh, __fmul_rn(sum, kept));
            total = __fmaf_rn(state[d], fresh, __fmul_rn(total, kept));
            m = now;
        }
        rows.out[at * head_dim + d] = __fdiv_rn(total, sum);
    }
}

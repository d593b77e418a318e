// Products of a few rows, where warps share the pieces: bound by reading weights once, so every warp streams them by itself.
//
// A block has SPLIT_TILES tiles of outputs and NT tiles of rows. Its warps take turns at batches of four steps, or at pieces, of
// all of them, and leave f32(dot) * sx in shared memory; one warp a tile then runs the chain over the pieces in order. Two
// windows of products take turns, so that the other warps go on meanwhile. Who sums a piece does not show in the bits.

#pragma once

#include "matmul.cuh"

// As many as hold 64 KiB of weights under way, or as registers allow.
template <unsigned NT>
constexpr unsigned SPLIT_WARPS = NT == 1 ? 16 : 8;
template <unsigned NT>
constexpr unsigned SPLIT_THREADS = SPLIT_WARPS<NT> * WARP;
constexpr unsigned SPLIT_TILES = 2;
// Steps whose weights a warp has under way.
constexpr unsigned BATCH = 4;

// Bytes of two windows, and the pieces of one.
constexpr unsigned SPLIT_SHARED_BYTES = 65536;
template <unsigned NT>
constexpr unsigned SPLIT_WINDOW = SPLIT_SHARED_BYTES / 2 / (SPLIT_TILES * NT * WARP * sizeof(float4));

// The weights and inputs of a batch of steps.
template <unsigned NT>
struct Batch {
    uint4 a[BATCH][SPLIT_TILES];
    uint2 high[BATCH][NT], low[BATCH][NT];
};

// Where a lane reads its batch.
template <unsigned NT>
struct Sources {
    const uint4* a[SPLIT_TILES];
    const uint2* b[NT];
    const float2* sx[NT];

    __device__ __forceinline__ void advance(unsigned steps) {
#pragma unroll
        for (unsigned t = 0; t < SPLIT_TILES; ++t) {
            a[t] += steps * STEP_WEIGHTS;
        }
#pragma unroll
        for (unsigned r = 0; r < NT; ++r) {
            b[r] += steps * STEP_INPUTS;
        }
    }

    __device__ __forceinline__ void advance_pieces(unsigned pieces) {
#pragma unroll
        for (unsigned r = 0; r < NT; ++r) {
            sx[r] += pieces * (TILE_ROWS / 2);
        }
    }
};

// Weights, which nobody reads again: OFFSET elements on, as part of the instruction.
template <unsigned OFFSET>
__device__ __forceinline__ uint4 streamed(const uint4* from) {
    uint4 value;
    asm("ld.global.cs.v4.u32 {%0, %1, %2, %3}, [%4 + %5];"
        : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
        : "l"(__cvta_generic_to_global(from)), "n"(OFFSET * sizeof(uint4)));
    return value;
}

// Weights of the steps from STEP on.
template <unsigned STEP, unsigned NT>
__device__ __forceinline__ void read_weights(uint4 (&a)[BATCH][SPLIT_TILES], const Sources<NT>& from) {
#pragma unroll
    for (unsigned t = 0; t < SPLIT_TILES; ++t) {
        a[STEP][t] = streamed<STEP * STEP_WEIGHTS>(from.a[t]);
    }
    if constexpr (STEP + 1 < BATCH) {
        read_weights<STEP + 1>(a, from);
    }
}

// Reads a batch of `count` steps: 0 as weights of those that are not there.
template <unsigned NT>
__device__ __forceinline__ void read_batch(Batch<NT>& batch, const Sources<NT>& from, int count) {
    if (count >= static_cast<int>(BATCH)) {
        read_weights<0>(batch.a, from);
#pragma unroll
        for (unsigned i = 0; i < BATCH; ++i) {
#pragma unroll
            for (unsigned r = 0; r < NT; ++r) {
                batch.high[i][r] = from.b[r][i * STEP_INPUTS];
                batch.low[i][r] = from.b[r][i * STEP_INPUTS + PLANE_INPUTS];
            }
        }
    } else if (count > 0) {
#pragma unroll
        for (unsigned i = 0; i < BATCH; ++i) {
            // The last step again, in place of those that are not there.
            const unsigned inside = min(static_cast<int>(i), count - 1);
#pragma unroll
            for (unsigned t = 0; t < SPLIT_TILES; ++t) {
                batch.a[i][t] = inside == i ? __ldcs(from.a[t] + inside * STEP_WEIGHTS) : make_uint4(0, 0, 0, 0);
            }
#pragma unroll
            for (unsigned r = 0; r < NT; ++r) {
                batch.high[i][r] = from.b[r][inside * STEP_INPUTS];
                batch.low[i][r] = from.b[r][inside * STEP_INPUTS + PLANE_INPUTS];
            }
        }
    }
}

// f32(256 * high + low) * sx, to shared memory.
__device__ __forceinline__ void leave(float4& to, const int (&high)[4], const int (&low)[4], float2 sx) {
    to = make_float4(
        __fmul_rn(__int2float_rn(joined(high[0], low[0])), sx.x),
        __fmul_rn(__int2float_rn(joined(high[1], low[1])), sx.y),
        __fmul_rn(__int2float_rn(joined(high[2], low[2])), sx.x),
        __fmul_rn(__int2float_rn(joined(high[3], low[3])), sx.y)
    );
}

// A link of the chain: a piece's products of all rows of the warp's tile. PIECE counts from where the pointers are.
template <unsigned NT>
__device__ __forceinline__ void link(float (&acc)[NT][4], const float4* products, const float (&scale)[2]) {
#pragma unroll
    for (unsigned r = 0; r < NT; ++r) {
        const float4 product = products[r * WARP];
        acc[r][0] = __fmaf_rn(product.x, scale[0], acc[r][0]);
        acc[r][1] = __fmaf_rn(product.y, scale[0], acc[r][1]);
        acc[r][2] = __fmaf_rn(product.z, scale[1], acc[r][2]);
        acc[r][3] = __fmaf_rn(product.w, scale[1], acc[r][3]);
    }
}

// The chain over `count` pieces of a window, where every piece is a group.
template <unsigned NT>
__device__ __forceinline__ void
chain(float (&acc)[NT][4], const float4* products, const char* scales, unsigned type, unsigned group_bytes, unsigned count) {
    constexpr unsigned AT_ONCE = 8, STRIDE = SPLIT_TILES * NT * WARP;
    for (; count >= AT_ONCE; count -= AT_ONCE) {
        float scale[AT_ONCE][2];
        const char* from[AT_ONCE];
#pragma unroll
        for (unsigned i = 0; i < AT_ONCE; ++i) {
            from[i] = scales + i * group_bytes;
        }
        read_scales<AT_ONCE>(scale, from, type);
#pragma unroll
        for (unsigned i = 0; i < AT_ONCE; ++i) {
            link<NT>(acc, products + i * STRIDE, scale[i]);
        }
        products += AT_ONCE * STRIDE;
        scales += AT_ONCE * group_bytes;
    }
#pragma unroll 1
    for (; count > 0; --count) {
        float scale[1][2];
        const char* const from[1] = {scales};
        read_scales<1>(scale, from, type);
        link<NT>(acc, products, scale[0]);
        products += STRIDE;
        scales += group_bytes;
    }
}

// The chain over pieces `first` to `last`, of groups of any number of pieces.
template <unsigned NT>
__device__ __forceinline__ void chain_of_any(
    float (&acc)[NT][4],
    const float4* products,
    const Pieces& pieces,
    const char* scales,
    unsigned type,
    unsigned group_bytes,
    unsigned first,
    unsigned last
) {
    const unsigned of_group = pieces_of_group(pieces);
    unsigned group = first / of_group, left = of_group - first % of_group;
#pragma unroll 1
    for (unsigned piece = first; piece < last; ++piece) {
        float scale[1][2];
        const char* const from[1] = {scales + static_cast<size_t>(group) * group_bytes};
        read_scales<1>(scale, from, type);
        link<NT>(acc, products, scale[0]);
        products += SPLIT_TILES * NT * WARP;
        if (--left == 0) {
            left = of_group;
            group += 1;
        }
    }
}

// Sums of the batches of a warp up to a window's end, where every piece has STEPS steps but the last, which may be shorter.
// `left`: steps from the warp's next batch to the end of the row; `end`: from the window's. `to`: where its products go.
template <unsigned NT, unsigned STEPS>
__device__ __forceinline__ void
sum_batches(Batch<NT>& batch, Sources<NT>& from, int& left, int end, float4* to, int none) {
    constexpr unsigned PIECES = BATCH / STEPS, WARPS = SPLIT_WARPS<NT>, PIECE_PRODUCTS = SPLIT_TILES * NT * WARP;
    while (left > end) {
        const int there = left;
        left -= WARPS * BATCH;
#pragma unroll
        for (unsigned p = 0; p < PIECES; ++p) {
            // Of the batch's pieces the first is there.
            const bool is_there = p == 0 || there > static_cast<int>(p * STEPS);
            float2 sx[NT];
#pragma unroll
            for (unsigned r = 0; r < NT; ++r) {
                sx[r] = is_there ? from.sx[r][p * (TILE_ROWS / 2)] : make_float2(0.0f, 0.0f);
            }
            int high[SPLIT_TILES][NT][4], low[SPLIT_TILES][NT][4];
#pragma unroll
            for (unsigned t = 0; t < SPLIT_TILES; ++t) {
#pragma unroll
                for (unsigned r = 0; r < NT; ++r) {
#pragma unroll
                    for (unsigned i = 0; i < 4; ++i) {
                        high[t][r][i] = low[t][r][i] = none;
                    }
#pragma unroll
                    for (unsigned i = p * STEPS; i < (p + 1) * STEPS; ++i) {
                        multiply_high(high[t][r], batch.a[i][t], batch.high[i][r]);
                        multiply_low(low[t][r], batch.a[i][t], batch.low[i][r]);
                    }
                }
            }
            // The next weights are under way while products are made.
            if (p + 1 == PIECES) {
                from.advance(WARPS * BATCH);
                from.advance_pieces(WARPS * PIECES);
                read_batch(batch, from, left);
            }
            if (is_there) {
#pragma unroll
                for (unsigned t = 0; t < SPLIT_TILES; ++t) {
#pragma unroll
                    for (unsigned r = 0; r < NT; ++r) {
                        leave(to[p * PIECE_PRODUCTS + (t * NT + r) * WARP], high[t][r], low[t][r], sx[r]);
                    }
                }
            }
        }
        to += WARPS * PIECES * PIECE_PRODUCTS;
    }
}

// Where a warp is in its pieces of any length.
struct Turn {
    unsigned piece, step;
    int left; // steps of the piece from `step` on
};

// The same of pieces of any length: a warp has one at a time. `total` has the low sums, and the whole sums of batches before.
template <unsigned NT>
__device__ __forceinline__ void sum_pieces(
    Batch<NT>& batch, Sources<NT>& from, int (&total)[SPLIT_TILES][NT][4], Turn& turn, const Pieces& pieces, unsigned end, float4* to
) {
    constexpr unsigned WARPS = SPLIT_WARPS<NT>, PIECE_PRODUCTS = SPLIT_TILES * NT * WARP;
    while (turn.piece < end) {
        float2 sx[NT];
#pragma unroll
        for (unsigned r = 0; r < NT; ++r) {
            sx[r] = from.sx[r][0];
        }
        int high[SPLIT_TILES][NT][4] = {};
#pragma unroll
        for (unsigned i = 0; i < BATCH; ++i) {
#pragma unroll
            for (unsigned t = 0; t < SPLIT_TILES; ++t) {
#pragma unroll
                for (unsigned r = 0; r < NT; ++r) {
                    multiply_high(high[t][r], batch.a[i][t], batch.high[i][r]);
                    multiply_low(total[t][r], batch.a[i][t], batch.low[i][r]);
                }
            }
        }
        const bool whole = turn.left <= static_cast<int>(BATCH);
#pragma unroll
        for (unsigned t = 0; t < SPLIT_TILES; ++t) {
#pragma unroll
            for (unsigned r = 0; r < NT; ++r) {
                if (whole) {
                    leave(to[(t * NT + r) * WARP], high[t][r], total[t][r], sx[r]);
                }
#pragma unroll
                for (unsigned i = 0; i < 4; ++i) {
                    total[t][r][i] = whole ? 0 : joined(high[t][r][i], total[t][r][i]);
                }
            }
        }
        if (whole) {
            const unsigned next = first_step(pieces, turn.piece + WARPS);
            from.advance(next - turn.step);
            from.advance_pieces(WARPS);
            turn.piece += WARPS;
            turn.step = next;
            turn.left = static_cast<int>(first_step(pieces, turn.piece + 1) - next);
            to += WARPS * PIECE_PRODUCTS;
        } else {
            from.advance(BATCH);
            turn.step += BATCH;
            turn.left -= BATCH;
        }
        read_batch(batch, from, turn.left);
    }
}

// The sums of the rows of a tile, in the warps below SPLIT_TILES. STEPS: of every piece but the last, which may be shorter; 0:
// any.
template <unsigned NT, unsigned STEPS>
__device__ __forceinline__ void
sum(float (&acc)[NT][4], const Matmul& matmul, const Part& part, float4* shared, unsigned rows) {
    constexpr unsigned WINDOW = SPLIT_WINDOW<NT>, PIECES = STEPS == 0 ? 1 : BATCH / STEPS, PIECE_PRODUCTS = SPLIT_TILES * NT * WARP;
    const Pieces& pieces = matmul.pieces;
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const unsigned first_tile = (blockIdx.x - part.first_block) * SPLIT_TILES, first_row = blockIdx.y * NT * TILE_ROWS;
    const unsigned tiles = tiles_of(matmul, part), row_tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;

    // The warp's first piece; steps from there to the end of the row, or where STEPS is 0 of the piece.
    Turn turn;
    turn.piece = warp * PIECES;
    turn.step = STEPS == 0 ? first_step(pieces, turn.piece) : warp * BATCH;
    turn.left = static_cast<int>((STEPS == 0 ? first_step(pieces, turn.piece + 1) : pieces.steps) - turn.step);

    // What lies beyond the last tile or row repeats one that is there, and is not written.
    Sources<NT> from;
#pragma unroll
    for (unsigned t = 0; t < SPLIT_TILES; ++t) {
        const unsigned tile = min(first_tile + t, tiles - 1);
        from.a[t] = part.values + (static_cast<size_t>(tile) * pieces.steps + turn.step) * STEP_WEIGHTS + lane;
    }
#pragma unroll
    for (unsigned r = 0; r < NT; ++r) {
        const unsigned tile = min(first_row / TILE_ROWS + r, row_tiles - 1);
        const unsigned of_row = tile * TILE_ROWS + lane / 4 < rows ? lane : lane % 4;
        from.b[r] = matmul.planes + (static_cast<size_t>(tile) * pieces.steps + turn.step) * STEP_INPUTS + of_row;
        from.sx[r] = reinterpret_cast<const float2*>(matmul.sx) +
            (static_cast<size_t>(tile) * pieces.count + turn.piece) * (TILE_ROWS / 2) + lane % 4;
    }
    const bool chains = warp < SPLIT_TILES; // a warp a tile
    const unsigned group_bytes = TILE_OUTPUTS * scale_bytes(matmul.scale_type);
    const char* scales = static_cast<const char*>(part.scales) +
        static_cast<size_t>(min(first_tile + warp, tiles - 1)) * pieces.groups * group_bytes +
        lane / 4 * scale_bytes(matmul.scale_type);

    Batch<NT> batch;
    int total[SPLIT_TILES][NT][4] = {};
    const int none = zero();
    read_batch(batch, from, turn.left);
    for (unsigned window = 0, place = 0; window < pieces.count; window += WINDOW, place ^= 1) {
        const unsigned window_end = min(window + WINDOW, pieces.count);
        float4* products = shared + place * (WINDOW * PIECE_PRODUCTS) + lane;
        if constexpr (STEPS == 0) {
            sum_pieces<NT>(batch, from, total, turn, pieces, window_end, products + (turn.piece - window) * PIECE_PRODUCTS);
        } else {
            // Steps from the window's end to the row's, and from its beginning to the warp's next batch.
            const int end = static_cast<int>(pieces.steps - min(window_end * STEPS, pieces.steps));
            const int before = static_cast<int>(pieces.steps - window * STEPS) - turn.left;
            sum_batches<NT, STEPS>(batch, from, turn.left, end, products + before / static_cast<int>(STEPS) * static_cast<int>(PIECE_PRODUCTS), none);
        }
        // The window is whole, and the chain over the one before, whose place the next takes, is done.
        __syncthreads();
        if (chains) {
            const float4* of_tile = products + warp * NT * WARP;
            if constexpr (STEPS == 0) {
                chain_of_any<NT>(acc, of_tile, pieces, scales, matmul.scale_type, group_bytes, window, window_end);
            } else {
                chain<NT>(acc, of_tile, scales + static_cast<size_t>(window) * group_bytes, matmul.scale_type, group_bytes, window_end - window);
            }
        }
    }
}

template <unsigned NT>
__device__ __forceinline__ void matmul_split(const Matmul& matmul, float4* shared) {
    const unsigned rows = *matmul.rows;
    if (blockIdx.y * NT * TILE_ROWS >= rows) {
        return;
    }
    float acc[NT][4] = {};
    const Part of_sums = part_of(matmul, blockIdx.x);
    switch (matmul.pieces.per_period == 1 ? matmul.pieces.period_steps : 0) {
        case 4: sum<NT, 4>(acc, matmul, of_sums, shared, rows); break;
        case 2: sum<NT, 2>(acc, matmul, of_sums, shared, rows); break;
        case 1: sum<NT, 1>(acc, matmul, of_sums, shared, rows); break;
        default: sum<NT, 0>(acc, matmul, of_sums, shared, rows);
    }
    const Part part = part_again(matmul);
    const unsigned warp = threadIdx.x / WARP, tile = (blockIdx.x - part.first_block) * SPLIT_TILES + warp;
    __syncthreads();
    if (warp < SPLIT_TILES && tile < tiles_of(matmul, part)) {
        // A thread reads what it wrote.
        float4* sums = shared + warp * NT * WARP + threadIdx.x % WARP;
#pragma unroll
        for (unsigned r = 0; r < NT; ++r) {
            sums[r * WARP] = make_float4(acc[r][0], acc[r][1], acc[r][2], acc[r][3]);
        }
#pragma unroll 1
        for (unsigned r = 0; r < NT; ++r) {
            put(matmul, part, tile, (blockIdx.y * NT + r) * TILE_ROWS, rows, sums[r * WARP]);
        }
    }
}

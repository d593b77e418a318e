// Products of many rows: tiles of weights and activations go to shared memory by cp.async, in stages of four steps, and a warp
// multiplies some tiles of both and runs the chain over the pieces in its registers.
//
// Both operands lie in memory in the order of the tensor cores' fragments, so a strip (four steps of a tile of either) is 2 KiB
// in one piece, copied as it is and read without bank conflicts.

#pragma once

#include "matmul.cuh"

constexpr unsigned STAGE_STEPS = 4;
constexpr unsigned STRIP_BYTES = 2048, STEP_BYTES = STRIP_BYTES / STAGE_STEPS, PLANE_BYTES = STEP_BYTES / 2;
constexpr unsigned COPY_BYTES = 16, STRIP_COPIES = STRIP_BYTES / COPY_BYTES, PLANE_COPIES = PLANE_BYTES / COPY_BYTES;

// What a warp multiplies: M tiles of weights and N of rows. A block has WARPS_M x WARPS_N warps.
template <unsigned M_, unsigned N_, unsigned WARPS_M_, unsigned WARPS_N_, unsigned STAGES_>
struct Shape {
    static constexpr unsigned M = M_, N = N_, WARPS_M = WARPS_M_, WARPS_N = WARPS_N_, STAGES = STAGES_;
    static constexpr unsigned TILES = M * WARPS_M, ROW_TILES = N * WARPS_N, STRIPS = TILES + ROW_TILES;
    static constexpr unsigned THREADS = WARPS_M * WARPS_N * WARP;
    static constexpr unsigned STAGE_BYTES = STRIPS * STRIP_BYTES, SHARED_BYTES = STAGES * STAGE_BYTES;
    // Threads that copy a strip of weights, and of inputs.
    static constexpr unsigned WEIGHT_THREADS = THREADS / TILES, INPUT_THREADS = THREADS / ROW_TILES;
    static_assert(WEIGHT_THREADS * TILES == THREADS && INPUT_THREADS * ROW_TILES == THREADS, "every thread copies alike");
    static_assert(WEIGHT_THREADS % PLANE_COPIES == 0 && INPUT_THREADS % PLANE_COPIES == 0, "a thread copies of one row");
};

// The address in global memory, as cp.async wants it.
__device__ __forceinline__ const char* global_bytes(const void* from) {
    return reinterpret_cast<const char*>(__cvta_generic_to_global(from));
}

// What a thread copies of a strip that THREADS threads share, from copy I on: `steps` of four steps are there, and the others
// are filled with 0. Offsets are part of the instructions.
template <unsigned THREADS, unsigned I = 0>
__device__ __forceinline__ void copy_strip(unsigned to, const char* from, unsigned steps) {
    constexpr unsigned OFFSET = I * THREADS * COPY_BYTES;
    const unsigned bytes = steps > OFFSET / STEP_BYTES ? COPY_BYTES : 0;
    asm volatile("cp.async.cg.shared.global [%0 + %2], [%1 + %2], 16, %3;" ::"r"(to), "l"(from), "n"(OFFSET), "r"(bytes) : "memory");
    if constexpr (I + 1 < STRIP_COPIES / THREADS) {
        copy_strip<THREADS, I + 1>(to, from, steps);
    }
}

// The same where all four steps are there.
template <unsigned THREADS, unsigned I = 0>
__device__ __forceinline__ void copy_whole_strip(unsigned to, const char* from) {
    asm volatile("cp.async.cg.shared.global [%0 + %2], [%1 + %2], 16;" ::"r"(to), "l"(from), "n"(I * THREADS * COPY_BYTES) : "memory");
    if constexpr (I + 1 < STRIP_COPIES / THREADS) {
        copy_whole_strip<THREADS, I + 1>(to, from);
    }
}

// A lane's fragments of a stage, in shared memory.
struct Fragments {
    const unsigned char *a, *b; // of the warp's first tiles

    __device__ __forceinline__ uint4 weights(unsigned tile, unsigned step) const {
        return *reinterpret_cast<const uint4*>(a + tile * STRIP_BYTES + step * STEP_BYTES);
    }

    __device__ __forceinline__ uint2 inputs(unsigned tile, unsigned step, unsigned plane) const {
        return *reinterpret_cast<const uint2*>(b + tile * STRIP_BYTES + step * STEP_BYTES + plane * PLANE_BYTES);
    }
};

// acc = fma(f32(dot) * sx, sw, acc).
template <unsigned M>
__device__ __forceinline__ void
fold(float (&acc)[M][4], const int (&dot)[M][4], float2 sx, const float (&scale)[M][2]) {
#pragma unroll
    for (unsigned t = 0; t < M; ++t) {
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
            acc[t][i] = __fmaf_rn(__fmul_rn(__int2float_rn(dot[t][i]), i % 2 ? sx.y : sx.x), scale[t][i / 2], acc[t][i]);
        }
    }
}

template <unsigned M>
__device__ __forceinline__ void shift(int (&dot)[M][4]) {
#pragma unroll
    for (unsigned t = 0; t < M; ++t) {
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
            dot[t][i] = static_cast<int>(static_cast<unsigned>(dot[t][i]) << 8);
        }
    }
}

// Where a lane reads the scales of its warp's tiles: what is beyond the last tile repeats it.
template <typename S>
struct Scales {
    const char* weights[S::M];
    const float2* inputs[S::N];
    unsigned type, group_bytes;

    __device__ __forceinline__ void of_weights(float (&scale)[S::M][2], unsigned group) const {
        const char* from[S::M];
#pragma unroll
        for (unsigned t = 0; t < S::M; ++t) {
            from[t] = weights[t] + static_cast<size_t>(group) * group_bytes;
        }
        read_scales<S::M>(scale, from, type);
    }

    __device__ __forceinline__ float2 of_inputs(unsigned tile, unsigned piece) const {
        return inputs[tile][piece * (TILE_ROWS / 2)];
    }

    __device__ __forceinline__ void advance(unsigned pieces) {
#pragma unroll
        for (unsigned t = 0; t < S::M; ++t) {
            weights[t] += pieces * group_bytes;
        }
#pragma unroll
        for (unsigned r = 0; r < S::N; ++r) {
            inputs[r] += pieces * (TILE_ROWS / 2);
        }
    }
};

// A stage where every piece has STEPS steps, from where `scales` are; `count` pieces are left.
template <typename S, unsigned STEPS>
__device__ __forceinline__ void
uniform_stage(float (&acc)[S::N][S::M][4], const Fragments& fragments, const Scales<S>& scales, unsigned count) {
    const int none = zero();
#pragma unroll
    for (unsigned p = 0; p < STAGE_STEPS / STEPS; ++p) {
        if (p > 0 && p >= count) {
            break;
        }
        float scale[S::M][2];
        uint4 a[STEPS][S::M];
#pragma unroll
        for (unsigned i = 0; i < STEPS; ++i) {
#pragma unroll
            for (unsigned t = 0; t < S::M; ++t) {
                a[i][t] = fragments.weights(t, p * STEPS + i);
            }
        }
#pragma unroll
        for (unsigned r = 0; r < S::N; ++r) {
            int dot[S::M][4];
#pragma unroll
            for (unsigned t = 0; t < S::M; ++t) {
                dot[t][0] = dot[t][1] = dot[t][2] = dot[t][3] = none;
            }
#pragma unroll
            for (unsigned i = 0; i < STEPS; ++i) {
                const uint2 b = fragments.inputs(r, p * STEPS + i, 0);
#pragma unroll
                for (unsigned t = 0; t < S::M; ++t) {
                    multiply_high(dot[t], a[i][t], b);
                }
            }
            shift<S::M>(dot);
            if (r == 0) {
                scales.of_weights(scale, p);
            }
            const float2 sx = scales.of_inputs(r, p);
#pragma unroll
            for (unsigned i = 0; i < STEPS; ++i) {
                const uint2 b = fragments.inputs(r, p * STEPS + i, 1);
#pragma unroll
                for (unsigned t = 0; t < S::M; ++t) {
                    multiply_low(dot[t], a[i][t], b);
                }
            }
            fold<S::M>(acc[r], dot, sx, scale);
        }
    }
}

// Where a walk over steps is in the pieces.
struct Place {
    unsigned piece, end; // the piece, and its end in steps
};

// A stage of any pieces: what of each lies in it is summed, and added to what stages before it left in `dot`.
template <typename S>
__device__ __forceinline__ void any_stage(
    float (&acc)[S::N][S::M][4],
    int (&dot)[S::N][S::M][4],
    Place& place,
    const Fragments& fragments,
    const Scales<S>& scales,
    const Pieces& pieces,
    unsigned first
) {
    const unsigned last = min(first + STAGE_STEPS, pieces.steps);
    for (unsigned step = first; step < last;) {
        const unsigned stop = min(place.end, last);
#pragma unroll
        for (unsigned r = 0; r < S::N; ++r) {
            int high[S::M][4] = {};
#pragma unroll 1
            for (unsigned i = step - first; i < stop - first; ++i) {
                const uint2 b = fragments.inputs(r, i, 0), low = fragments.inputs(r, i, 1);
#pragma unroll
                for (unsigned t = 0; t < S::M; ++t) {
                    const uint4 a = fragments.weights(t, i);
                    multiply_high(high[t], a, b);
                    multiply_low(dot[r][t], a, low);
                }
            }
#pragma unroll
            for (unsigned t = 0; t < S::M; ++t) {
#pragma unroll
                for (unsigned i = 0; i < 4; ++i) {
                    dot[r][t][i] = joined(high[t][i], dot[r][t][i]);
                }
            }
        }
        step = stop;
        if (stop == place.end) {
            float scale[S::M][2];
            scales.of_weights(scale, place.piece / pieces_of_group(pieces));
#pragma unroll
            for (unsigned r = 0; r < S::N; ++r) {
                fold<S::M>(acc[r], dot[r], scales.of_inputs(r, place.piece), scale);
#pragma unroll
                for (unsigned t = 0; t < S::M; ++t) {
#pragma unroll
                    for (unsigned i = 0; i < 4; ++i) {
                        dot[r][t][i] = 0;
                    }
                }
            }
            place.piece += 1;
            place.end = first_step(pieces, place.piece + 1);
        }
    }
}

// The sums of a warp. STEPS: of every piece but the last, which may have fewer; 0: any.
template <typename S, unsigned STEPS>
__device__ __forceinline__ void
sum(float (&acc)[S::N][S::M][4], const Matmul& matmul, const Part& part, unsigned char* shared, unsigned rows) {
    const Pieces& pieces = matmul.pieces;
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const unsigned warp_m = warp % S::WARPS_M, warp_n = warp / S::WARPS_M;
    const unsigned tiles = tiles_of(matmul, part), row_tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    const unsigned first_tile = (blockIdx.x - part.first_block) * S::TILES, first_row_tile = blockIdx.y * S::ROW_TILES;

    // A thread copies some of a strip of weights, and some of one row's of a strip of inputs. Tiles and rows beyond the last
    // repeat one that is there.
    const unsigned strip_bytes = pieces.steps * STEP_BYTES;
    const unsigned weight_strip = threadIdx.x / S::WEIGHT_THREADS, weight_copy = threadIdx.x % S::WEIGHT_THREADS;
    const unsigned input_strip = threadIdx.x / S::INPUT_THREADS, input_copy = threadIdx.x % S::INPUT_THREADS;
    const unsigned input_tile = min(first_row_tile + input_strip, row_tiles - 1), input_row = input_copy % PLANE_COPIES / 2;
    const unsigned row_back = input_tile * TILE_ROWS + input_row < rows ? 0 : input_row * 2;
    const char* weights_from = global_bytes(part.values) +
        static_cast<size_t>(min(first_tile + weight_strip, tiles - 1)) * strip_bytes + weight_copy * COPY_BYTES;
    const char* inputs_from =
        global_bytes(matmul.planes) + static_cast<size_t>(input_tile) * strip_bytes + (input_copy - row_back) * COPY_BYTES;
    const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    const unsigned weights_to = to + weight_strip * STRIP_BYTES + weight_copy * COPY_BYTES;
    const unsigned inputs_to = to + (S::TILES + input_strip) * STRIP_BYTES + input_copy * COPY_BYTES;
    const unsigned stages = (pieces.steps + STAGE_STEPS - 1) / STAGE_STEPS;
    // Copies a stage to a place, in bytes. Stages are copied in order.
    const auto copy_stage = [&](unsigned stage, unsigned place) {
        const unsigned done = stage * STAGE_STEPS;
        if (done + STAGE_STEPS <= pieces.steps) {
            copy_whole_strip<S::WEIGHT_THREADS>(weights_to + place, weights_from);
            copy_whole_strip<S::INPUT_THREADS>(inputs_to + place, inputs_from);
        } else if (done < pieces.steps) {
            copy_strip<S::WEIGHT_THREADS>(weights_to + place, weights_from, pieces.steps - done);
            copy_strip<S::INPUT_THREADS>(inputs_to + place, inputs_from, pieces.steps - done);
        }
        weights_from += STRIP_BYTES;
        inputs_from += STRIP_BYTES;
        asm volatile("cp.async.commit_group;" ::: "memory");
    };

    const unsigned warp_tile = first_tile + warp_m * S::M, warp_row_tile = first_row_tile + warp_n * S::N;
    Scales<S> scales;
    scales.type = matmul.scale_type;
    scales.group_bytes = TILE_OUTPUTS * scale_bytes(scales.type);
#pragma unroll
    for (unsigned t = 0; t < S::M; ++t) {
        const size_t tile = min(warp_tile + t, tiles - 1);
        scales.weights[t] = static_cast<const char*>(part.scales) + tile * (pieces.groups * scales.group_bytes) +
            lane / 4 * scale_bytes(scales.type);
    }
#pragma unroll
    for (unsigned r = 0; r < S::N; ++r) {
        const size_t tile = min(warp_row_tile + r, row_tiles - 1);
        scales.inputs[r] = reinterpret_cast<const float2*>(matmul.sx) + tile * (pieces.count * (TILE_ROWS / 2)) + lane % 4;
    }

    int dot[S::N][S::M][4] = {};
    Place place = {0, first_step(pieces, 1)};
    Fragments fragments;
    const unsigned char* a_at = shared + warp_m * S::M * STRIP_BYTES + lane * 16;
    const unsigned char* b_at = shared + (S::TILES + warp_n * S::N) * STRIP_BYTES + lane * 8;
#pragma unroll 1
    for (unsigned i = 0; i + 1 < S::STAGES; ++i) {
        copy_stage(i, i * S::STAGE_BYTES);
    }
    unsigned read = 0;
    for (unsigned stage = 0; stage < stages; ++stage) {
        asm volatile("cp.async.wait_group %0;" ::"n"(S::STAGES - 2) : "memory");
        // The stage is there for every thread, and every thread has done with the one before it, whose place is filled next.
        __syncthreads();
        copy_stage(stage + S::STAGES - 1, (read == 0 ? S::SHARED_BYTES : read) - S::STAGE_BYTES);
        fragments.a = a_at + read;
        fragments.b = b_at + read;
        read = read + S::STAGE_BYTES == S::SHARED_BYTES ? 0 : read + S::STAGE_BYTES;
        const unsigned first = stage * STAGE_STEPS;
        if constexpr (STEPS == 0) {
            any_stage<S>(acc, dot, place, fragments, scales, pieces, first);
        } else {
            constexpr unsigned PIECES = STAGE_STEPS / STEPS;
            uniform_stage<S, STEPS>(acc, fragments, scales, pieces.count - stage * PIECES);
            scales.advance(PIECES);
        }
    }
}

template <typename S>
__device__ __forceinline__ void matmul_tile(const Matmul& matmul, unsigned char* memory) {
    float acc[S::N][S::M][4] = {};
    {
        const unsigned rows = *matmul.rows;
        if (blockIdx.y * S::ROW_TILES * TILE_ROWS >= rows) {
            return;
        }
        const Part part = part_of(matmul, blockIdx.x);
        switch (matmul.pieces.per_period == 1 ? matmul.pieces.period_steps : 0) {
            case 4: sum<S, 4>(acc, matmul, part, memory, rows); break;
            case 2: sum<S, 2>(acc, matmul, part, memory, rows); break;
            case 1: sum<S, 1>(acc, matmul, part, memory, rows); break;
            default: sum<S, 0>(acc, matmul, part, memory, rows);
        }
    }

    // A thread reads what it wrote.
    const Part part = part_again(matmul);
    const unsigned rows = *matmul.rows;
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, tiles = tiles_of(matmul, part);
    const unsigned warp_tile = (blockIdx.x - part.first_block) * S::TILES + warp % S::WARPS_M * S::M;
    const unsigned warp_row_tile = blockIdx.y * S::ROW_TILES + warp / S::WARPS_M * S::N;
    float4* sums = reinterpret_cast<float4*>(memory) + warp * (S::M * S::N * WARP) + lane;
    __syncthreads();
#pragma unroll
    for (unsigned t = 0; t < S::M; ++t) {
#pragma unroll
        for (unsigned r = 0; r < S::N; ++r) {
            sums[(t * S::N + r) * WARP] = make_float4(acc[r][t][0], acc[r][t][1], acc[r][t][2], acc[r][t][3]);
        }
    }
#pragma unroll 1
    for (unsigned i = 0; i < S::M * S::N; ++i) {
        const unsigned tile = warp_tile + i / S::N, row = (warp_row_tile + i % S::N) * TILE_ROWS;
        if (tile < tiles && row < rows) {
            put(matmul, part, tile, row, rows, sums[i * WARP]);
        }
    }
}

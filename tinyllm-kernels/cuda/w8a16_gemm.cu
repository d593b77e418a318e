// W8A16 product of two matrices on tensor cores, as prefill needs: out[m][n] = x[m][k] · W[n][k]^T.
//
// A block computes BLOCK_M x BLOCK_N outputs, a warp WARP_M x WARP_N of them. Tiles of 64 along k go to shared memory by
// cp.async, two of them in turn; what lies outside of x or W is filled with 0 and not read. Weights become f16 in registers,
// exactly, and each group of them is summed by itself, in f32 by mma.sync over k in order; then acc = fma(sum, scale, acc)
// over groups in order. Scales are thus never rounded into weights. The order of a sum depends on k and the group alone, so
// a row has the same bits whatever rows are beside it and whichever of these kernels computes it.

#include <cuda_fp16.h>

constexpr unsigned WARP = 32;
// Columns of a tile, and how many of a row are one copy of 16 bytes.
constexpr unsigned TILE_K = 64;
constexpr unsigned X_CHUNK = 8, W_CHUNK = 16;
constexpr unsigned X_CHUNKS = TILE_K / X_CHUNK, W_CHUNKS = TILE_K / W_CHUNK;
constexpr unsigned CHUNK_BYTES = 16;
constexpr unsigned STAGES = 2;
// mma.sync multiplies 16 x 16 and 16 x 8.
constexpr unsigned MMA_M = 16, MMA_N = 8, MMA_K = 16;
// Groups begin at multiples of this.
constexpr unsigned GROUP_UNIT = 32;
constexpr float LARGEST_F16 = 65504.0f;

// Copies 16 bytes to shared memory, or fills them with 0.
__device__ __forceinline__ void copy_async(unsigned to, const void* from, bool inside) {
    const unsigned bytes = inside ? CHUNK_BYTES : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(__cvta_generic_to_global(from)), "r"(bytes)
                 : "memory");
}

// Four 8 x 8 matrices: the fragment of a 16 x 16 tile.
__device__ __forceinline__ void load_matrices(unsigned (&fragment)[4], unsigned from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(from)
                 : "memory");
}

__device__ __forceinline__ void multiply(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1])
    );
}

// Two bytes of offset binary as two f16: 0x64uu is 1024 + u, and u - 128 is the weight.
__device__ __forceinline__ unsigned weights_of(unsigned bytes) {
    const unsigned biased = __byte_perm(bytes, 0x64646464u, 0x4140u);
    unsigned pair;
    asm("sub.f16x2 %0, %1, %2;" : "=r"(pair) : "r"(biased), "r"(0x64806480u));
    return pair;
}

// Where a row's chunk lies in a tile, in bytes. Chunks change places so that eight rows of one column of chunks, as ldmatrix
// and the loads of weights read them, lie in different banks.
__device__ __forceinline__ unsigned x_offset(unsigned row, unsigned chunk) {
    return (row * X_CHUNKS + (chunk ^ row % X_CHUNKS)) * CHUNK_BYTES;
}

__device__ __forceinline__ unsigned w_offset(unsigned row, unsigned chunk) {
    return (row * W_CHUNKS + (chunk ^ row / 2 % W_CHUNKS)) * CHUNK_BYTES;
}

__device__ __forceinline__ void store(float* out, float value, unsigned&) {
    *out = value;
}

// What f16 cannot hold is clamped to its largest value, NaN to its least, and counted.
__device__ __forceinline__ void store(__half* out, float value, unsigned& clamped) {
    const float bounded = fminf(fmaxf(value, -LARGEST_F16), LARGEST_F16);
    clamped += bounded != value;
    *out = __float2half_rn(bounded);
}

template <typename Out, unsigned BLOCK_M, unsigned BLOCK_N, unsigned WARP_M, unsigned WARP_N>
__device__ __forceinline__ void gemm(
    const __half* __restrict__ x,
    const unsigned char* __restrict__ weights,
    const __half* __restrict__ scales,
    Out* __restrict__ out,
    unsigned* __restrict__ clamped,
    unsigned m,
    unsigned n,
    unsigned k,
    unsigned group,
    unsigned flip
) {
    constexpr unsigned WARPS_N = BLOCK_N / WARP_N, THREADS = BLOCK_M / WARP_M * WARPS_N * WARP;
    constexpr unsigned TILES_M = WARP_M / MMA_M, TILES_N = WARP_N / MMA_N;
    constexpr unsigned X_BYTES = BLOCK_M * TILE_K * 2, W_BYTES = BLOCK_N * TILE_K;
    static_assert(BLOCK_M * X_CHUNKS % THREADS == 0 && BLOCK_N * W_CHUNKS % THREADS == 0, "every thread copies alike");
    __shared__ __align__(128) unsigned char shared[STAGES * (X_BYTES + W_BYTES)];

    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const unsigned block_m = blockIdx.x * BLOCK_M, block_n = blockIdx.y * BLOCK_N;
    const unsigned warp_m = warp / WARPS_N * WARP_M, warp_n = warp % WARPS_N * WARP_N;
    const unsigned shared_x = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    const unsigned shared_w = shared_x + STAGES * X_BYTES;
    const unsigned tiles = k / TILE_K, groups = (k + group - 1) / group;

    const auto copy_tile = [&](unsigned tile) {
        const unsigned stage = tile % STAGES;
#pragma unroll
        for (unsigned i = 0; i < BLOCK_M * X_CHUNKS / THREADS; ++i) {
            const unsigned row = (threadIdx.x + i * THREADS) / X_CHUNKS, chunk = threadIdx.x % X_CHUNKS;
            const bool inside = block_m + row < m;
            const size_t from = inside ? static_cast<size_t>(block_m + row) * k + tile * TILE_K + chunk * X_CHUNK : 0;
            copy_async(shared_x + stage * X_BYTES + x_offset(row, chunk), x + from, inside);
        }
#pragma unroll
        for (unsigned i = 0; i < BLOCK_N * W_CHUNKS / THREADS; ++i) {
            const unsigned row = (threadIdx.x + i * THREADS) / W_CHUNKS, chunk = threadIdx.x % W_CHUNKS;
            const bool inside = block_n + row < n;
            const size_t from = inside ? static_cast<size_t>(block_n + row) * k + tile * TILE_K + chunk * W_CHUNK : 0;
            copy_async(shared_w + stage * W_BYTES + w_offset(row, chunk), weights + from, inside);
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
    };

    // In a fragment of 16 x 8 outputs, lane l has columns 2 (l % 4) and the next, of rows l / 4 and l / 4 + 8.
    const unsigned quad = lane / 4, pair = lane % 4 * 2;
    __half scale[TILES_N][2];
    const auto load_scales = [&](unsigned index) {
#pragma unroll
        for (unsigned j = 0; j < TILES_N; ++j) {
#pragma unroll
            for (unsigned e = 0; e < 2; ++e) {
                const unsigned row = min(block_n + warp_n + j * MMA_N + pair + e, n - 1);
                scale[j][e] = scales[static_cast<size_t>(row) * groups + index];
            }
        }
    };

    float acc[TILES_M][TILES_N][4] = {}, sum[TILES_M][TILES_N][4] = {};
    // Columns left of the group, and of k.
    unsigned index = 0, group_left = min(group, k), left = k;
    copy_tile(0);
    load_scales(0);
    for (unsigned tile = 0; tile < tiles; ++tile) {
        asm volatile("cp.async.wait_group 0;" ::: "memory");
        // The tile is there for every thread, and every thread has done with the tile before it.
        __syncthreads();
        if (tile + 1 < tiles) {
            copy_tile(tile + 1);
        }
        const unsigned tile_x = shared_x + tile % STAGES * X_BYTES;
        const unsigned char* tile_w = shared + STAGES * X_BYTES + tile % STAGES * W_BYTES;
#pragma unroll
        for (unsigned step = 0; step < TILE_K / MMA_K; ++step) {
            unsigned a[TILES_M][4];
#pragma unroll
            for (unsigned i = 0; i < TILES_M; ++i) {
                const unsigned row = warp_m + i * MMA_M + lane % 16;
                load_matrices(a[i], tile_x + x_offset(row, step * 2 + lane / 16));
            }
#pragma unroll
            for (unsigned j = 0; j < TILES_N; ++j) {
                const unsigned row = warp_n + j * MMA_N + quad;
                const unsigned char* from = tile_w + w_offset(row, step) + pair;
                const unsigned low = *reinterpret_cast<const unsigned short*>(from);
                const unsigned high = *reinterpret_cast<const unsigned short*>(from + 8);
                const unsigned b[2] = {weights_of(low ^ flip), weights_of(high ^ flip)};
#pragma unroll
                for (unsigned i = 0; i < TILES_M; ++i) {
                    multiply(sum[i][j], a[i], b);
                }
            }
            if ((step + 1) * MMA_K % GROUP_UNIT == 0) {
                group_left -= GROUP_UNIT;
                left -= GROUP_UNIT;
                if (group_left == 0) {
#pragma unroll
                    for (unsigned i = 0; i < TILES_M; ++i) {
#pragma unroll
                        for (unsigned j = 0; j < TILES_N; ++j) {
#pragma unroll
                            for (unsigned e = 0; e < 4; ++e) {
                                acc[i][j][e] = fmaf(sum[i][j][e], __half2float(scale[j][e % 2]), acc[i][j][e]);
                                sum[i][j][e] = 0.0f;
                            }
                        }
                    }
                    // Scales are fetched a group ahead of their use.
                    group_left = min(group, left);
                    if (left > 0) {
                        index += 1;
                        load_scales(index);
                    }
                }
            }
        }
    }

    unsigned count = 0;
#pragma unroll
    for (unsigned i = 0; i < TILES_M; ++i) {
#pragma unroll
        for (unsigned j = 0; j < TILES_N; ++j) {
#pragma unroll
            for (unsigned e = 0; e < 4; ++e) {
                const unsigned row = block_m + warp_m + i * MMA_M + quad + e / 2 * 8;
                const unsigned column = block_n + warp_n + j * MMA_N + pair + e % 2;
                if (row < m && column < n) {
                    store(out + static_cast<size_t>(row) * n + column, acc[i][j][e], count);
                }
            }
        }
    }
    if (count > 0) {
        atomicAdd(clamped, count);
    }
}

// `x` [m][k] f16 and `weights` [n][k] int8, both aligned to 16 bytes; `scales` [n][groups] f16, where groups =
// ceil(k / group); `out` [m][n]. `k` is a multiple of 64 and `group` one of 32, neither 0; a row's last group may be short.
// `flip` is 0x80808080 where a weight's byte is two's complement, 0 where it is weight + 128. What f16 cannot hold is
// counted in `clamped`, which the f32 kernels lack. No dynamic shared memory.
//
// _128x128: a grid of (ceil(m / 128), ceil(n / 128)) blocks of 256 threads. _64x64: (ceil(m / 64), ceil(n / 64)) of 128.
#define W8A16_GEMM(NAME, BLOCK, THREADS, WARP_M, WARP_N)                                                      \
    extern "C" __global__ void __launch_bounds__(THREADS) w8a16_gemm_f32_##NAME(                              \
        const __half* __restrict__ x,                                                                         \
        const unsigned char* __restrict__ weights,                                                            \
        const __half* __restrict__ scales,                                                                    \
        float* __restrict__ out,                                                                              \
        unsigned m,                                                                                           \
        unsigned n,                                                                                           \
        unsigned k,                                                                                           \
        unsigned group,                                                                                       \
        unsigned flip                                                                                         \
    ) {                                                                                                       \
        gemm<float, BLOCK, BLOCK, WARP_M, WARP_N>(                                                            \
            x, weights, scales, out, nullptr, m, n, k, group, flip                                            \
        );                                                                                                    \
    }                                                                                                         \
    extern "C" __global__ void __launch_bounds__(THREADS) w8a16_gemm_f16_##NAME(                              \
        const __half* __restrict__ x,                                                                         \
        const unsigned char* __restrict__ weights,                                                            \
        const __half* __restrict__ scales,                                                                    \
        __half* __restrict__ out,                                                                             \
        unsigned* __restrict__ clamped,                                                                       \
        unsigned m,                                                                                           \
        unsigned n,                                                                                           \
        unsigned k,                                                                                           \
        unsigned group,                                                                                       \
        unsigned flip                                                                                         \
    ) {                                                                                                       \
        gemm<__half, BLOCK, BLOCK, WARP_M, WARP_N>(                                                           \
            x, weights, scales, out, clamped, m, n, k, group, flip                                            \
        );                                                                                                    \
    }

W8A16_GEMM(128x128, 128, 256, 64, 32)
W8A16_GEMM(64x64, 64, 128, 32, 32)

// RMS norm: out = x / sqrt(mean(x^2) + eps) * weight, one block a row.
//
// A thread's elements lie `blockDim.x` apart, so that a warp reads whole lines. Squares are summed in that order, then over
// the warp by halves, then over warps by halves: the same bits whatever the other rows are.

#include <cuda_fp16.h>

constexpr unsigned WARP = 32;
constexpr unsigned MAX_THREADS = 256;
constexpr unsigned MAX_WARPS = MAX_THREADS / WARP;
constexpr float LARGEST_F16 = 65504.0f;

__device__ float warp_sum(float value) {
    for (unsigned offset = WARP / 2; offset > 0; offset /= 2) {
        value += __shfl_down_sync(0xffffffffu, value, offset);
    }
    return value;
}

// Sum over the block, for every thread. `blockDim.x` is a multiple of 32, at most MAX_THREADS.
__device__ float block_sum(float value) {
    __shared__ float sums[MAX_WARPS];
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    value = warp_sum(value);
    if (lane == 0) {
        sums[warp] = value;
    }
    __syncthreads();
    if (warp == 0) {
        value = warp_sum(lane < warps ? sums[lane] : 0.0f);
        if (lane == 0) {
            sums[0] = value;
        }
    }
    __syncthreads();
    return sums[0];
}

// `x` [rows][columns], `weight` [columns], `out` [rows][columns]; a grid of `rows` blocks. What f16 cannot hold is clamped to
// its largest value, NaN to its least, and counted in `clamped`.
extern "C" __global__ void __launch_bounds__(MAX_THREADS) rms_norm_f16(
    const float* __restrict__ x,
    const __half* __restrict__ weight,
    __half* __restrict__ out,
    unsigned* __restrict__ clamped,
    unsigned columns,
    float eps
) {
    const size_t row = static_cast<size_t>(blockIdx.x) * columns;
    float squares = 0.0f;
    for (unsigned column = threadIdx.x; column < columns; column += blockDim.x) {
        const float value = x[row + column];
        squares = fmaf(value, value, squares);
    }
    const float factor = 1.0f / sqrtf(block_sum(squares) / static_cast<float>(columns) + eps);
    unsigned count = 0;
    for (unsigned column = threadIdx.x; column < columns; column += blockDim.x) {
        const float value = x[row + column] * factor * __half2float(weight[column]);
        const float bounded = fminf(fmaxf(value, -LARGEST_F16), LARGEST_F16);
        count += bounded != value;
        out[row + column] = __float2half_rn(bounded);
    }
    if (count > 0) {
        atomicAdd(clamped, count);
    }
}

// Matmuls with f16 and f32 weights: a chain of fma(w, x, acc) over k in order, then the bias.
//
// Weights are `[panels][k][32]`: lanes lie along outputs. Inputs are f32 `[rows][k]`. A block has a panel of outputs for eight
// rows, a warp a row: grid (panels of all parts, rows / 8).

#include "epilogue.cuh"

constexpr unsigned THREADS = 256;
constexpr unsigned PANEL = 32;
constexpr unsigned ROWS = THREADS / PANEL;

template <typename Number>
__device__ __forceinline__ float widen(Number value);
template <>
__device__ __forceinline__ float widen<__half>(__half value) { return __half2float(value); }
template <>
__device__ __forceinline__ float widen<float>(float value) { return value; }

template <typename Number>
__device__ __forceinline__ void matmul_floats(const Parts& parts, unsigned k, const float* __restrict__ input, const unsigned* rows) {
    const unsigned row = blockIdx.y * ROWS + threadIdx.x / PANEL, lane = threadIdx.x % PANEL;
    if (row >= *rows) {
        return;
    }
    const Part& part = part_of(parts, blockIdx.x);
    const unsigned panel = blockIdx.x - part.first_block, column = panel * PANEL + lane;
    const Number* weights = static_cast<const Number*>(part.values) + static_cast<size_t>(panel) * k * PANEL + lane;
    const float* x = input + static_cast<size_t>(row) * k;
    float sum = 0.0f;
#pragma unroll 8
    for (unsigned i = 0; i < k; ++i) {
        sum = __fmaf_rn(widen(weights[static_cast<size_t>(i) * PANEL]), x[i], sum);
    }
    if (column < part.n) {
        if (part.bias) {
            sum = __fadd_rn(sum, read_number(part.bias, column, parts.bias_type));
        }
        put(part.out + static_cast<size_t>(row) * part.n + column, sum, part.epilogue);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    matmul_f16(Parts parts, unsigned k, const float* input, const unsigned* rows) {
    matmul_floats<__half>(parts, k, input, rows);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    matmul_f32(Parts parts, unsigned k, const float* input, const unsigned* rows) {
    matmul_floats<float>(parts, k, input, rows);
}

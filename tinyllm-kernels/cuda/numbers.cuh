// The arithmetic that every kernel shares: each function is a fixed sequence of IEEE operations with its rounding named, the
// CPU's operations in the CPU's order, so that results have the CPU's bits. No `.ftz`, `.approx` or unnamed `mul` and `add`
// of f32: the assembler may fuse those.

#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

// 1.5 * 2^23 + 127: added to a number, it leaves the nearest integer plus the exponent's bias in the lowest bits.
constexpr float ROUNDING = 12583039.0f;
constexpr unsigned INFINITY_BITS = 0x7f800000u;
constexpr float LOG2_E = 1.44269504088896341f;

// How stored numbers are converted: those of weight scales, biases and norms.
enum NumberType : unsigned { F16 = 0, BF16 = 1, F32 = 2 };

__device__ __forceinline__ float read_number(const void* numbers, size_t index, unsigned type) {
    switch (type) {
        case F16: return __half2float(static_cast<const __half*>(numbers)[index]);
        case BF16: return __bfloat162float(static_cast<const __nv_bfloat16*>(numbers)[index]);
        default: return static_cast<const float*>(numbers)[index];
    }
}

// The larger, `b` where one of them is NaN.
__device__ __forceinline__ float larger(float a, float b) { return a > b ? a : b; }

__device__ __forceinline__ float negative_infinity() { return __uint_as_float(0xff800000u); }

__device__ __forceinline__ unsigned magnitude_bits(float x) { return __float_as_uint(x) & 0x7fffffffu; }

// 2^n of the integer in the lowest bits of `shifted`.
__device__ __forceinline__ float exponent(float shifted) { return __uint_as_float(__float_as_uint(shifted) << 23); }

// 2^x for x up to 127; 0 from -127 down; NaN stays NaN (`cpu/math.rs`, exp2).
__device__ __forceinline__ float exp_2(float x) {
    const float bounded = larger(-127.0f, x);
    const float shifted = __fadd_rn(bounded, ROUNDING);
    const float r = __fsub_rn(bounded, __fsub_rn(shifted, ROUNDING));
    float y = 1.3300608e-3f;
    y = __fmaf_rn(y, r, 9.669692e-3f);
    y = __fmaf_rn(y, r, 5.5505585e-2f);
    y = __fmaf_rn(y, r, 0.24022283f);
    y = __fmaf_rn(y, r, 0.693147180559945309f);
    y = __fmaf_rn(y, r, 1.0f);
    return __fmul_rn(y, exponent(shifted));
}

// e^x (`cpu/math.rs`, exp).
__device__ __forceinline__ float exp_e(float x) {
    float bounded = larger(-88.0f, x);
    bounded = 88.0f < bounded ? 88.0f : bounded;
    const float shifted = __fmaf_rn(bounded, LOG2_E, ROUNDING);
    const float n = __fsub_rn(shifted, ROUNDING);
    const float r = __fmaf_rn(n, 2.1219444e-4f, __fmaf_rn(n, -0.6933594f, bounded));
    float y = 1.9875691e-4f;
    y = __fmaf_rn(y, r, 1.3981999e-3f);
    y = __fmaf_rn(y, r, 8.333452e-3f);
    y = __fmaf_rn(y, r, 4.1665796e-2f);
    y = __fmaf_rn(y, r, 1.6666665e-1f);
    y = __fmaf_rn(y, r, 0.5f);
    y = __fmaf_rn(y, __fmul_rn(r, r), __fadd_rn(r, 1.0f));
    return __fmul_rn(y, exponent(shifted));
}

// x / (1 + e^-x).
__device__ __forceinline__ float silu(float x) {
    return __fdiv_rn(x, __fadd_rn(1.0f, exp_e(__fsub_rn(0.0f, x))));
}

// Notes that a row of an operation's input is not finite; the first operation, and in it the first row, stays.
__device__ __forceinline__ void note_non_finite(unsigned long long* fault, unsigned operation, unsigned row) {
    const unsigned long long place = static_cast<unsigned long long>(operation) << 32 | row;
    asm volatile("red.global.min.u64 [%0], %1;" ::"l"(fault), "l"(place) : "memory");
}

// What a matmul does with its sums.

#pragma once

#include "numbers.cuh"

enum Epilogue : unsigned {
    STORE = 0,      // out = y
    ADD = 1,        // out = out + y
    SILU_TIMES = 2, // out = silu(out) * y
};

__device__ __forceinline__ float with_bias(float y, const void* bias, unsigned output, unsigned type) {
    return bias == nullptr ? y : __fadd_rn(y, read_number(bias, output, type));
}

__device__ __forceinline__ void put_one(float* out, float y, unsigned epilogue) {
    if (epilogue == ADD) {
        y = __fadd_rn(*out, y);
    } else if (epilogue == SILU_TIMES) {
        y = __fmul_rn(silu(*out), y);
    }
    *out = y;
}

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

// Writes an output from its sum; where gated from gate's and up's, which is 0 otherwise. silu is there once.
__device__ __forceinline__ void put_one(float* out, float y, float up, bool gated, unsigned epilogue) {
    if (gated || epilogue == SILU_TIMES) {
        const float gate = gated ? y : *out;
        y = __fmul_rn(silu(gate), gated ? up : y);
    } else if (epilogue == ADD) {
        y = __fadd_rn(*out, y);
    }
    *out = y;
}

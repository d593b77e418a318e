// What a matmul does with its sums.

#pragma once

#include "numbers.cuh"

enum Epilogue : unsigned {
    STORE = 0,      // out = y
    ADD = 1,        // out = out + y
    SILU_TIMES = 2, // out = silu(out) * y
};

__device__ __forceinline__ void put(float* out, float y, unsigned epilogue) {
    *out = epilogue == STORE ? y : epilogue == ADD ? __fadd_rn(*out, y) : __fmul_rn(silu(*out), y);
}

// A matrix of a launch: up to three share one input (`cuda/kernels/matmul.rs`).
struct Part {
    const void* values;
    const void* scales; // of int8 weights
    const void* bias;   // [n], or null
    float* out;         // [rows][n]
    unsigned n;
    unsigned first_block; // of the grid's x
    unsigned epilogue;
    unsigned unused;
};

constexpr unsigned MAX_PARTS = 3;

struct Parts {
    Part parts[MAX_PARTS];
    unsigned count;
    unsigned scale_type;
    unsigned bias_type;
    unsigned unused;
};

// The part that a block of the grid works on.
__device__ __forceinline__ const Part& part_of(const Parts& parts, unsigned block) {
    unsigned index = 0;
    for (unsigned i = 1; i < MAX_PARTS; ++i) {
        if (i < parts.count && block >= parts.parts[i].first_block) {
            index = i;
        }
    }
    return parts.parts[index];
}

// How a row of k columns is cut into pieces and steps. A piece is at most 512 columns of one scale group: one scale of the
// int16 activations, one exact i32 sum. Pieces are padded with zeros to whole steps of 32 columns, in weights and activations.

#pragma once

constexpr unsigned STEP_COLUMNS = 32;
constexpr unsigned MAX_PIECE = 512;
constexpr unsigned MAX_PIECE_STEPS = MAX_PIECE / STEP_COLUMNS;

// Made by the host from k and the group size (`cuda/layout.rs`).
struct Pieces {
    unsigned columns;      // k
    unsigned count;        // pieces of a row
    unsigned steps;        // steps of a row
    unsigned period;       // columns after which the cutting restarts
    unsigned period_steps; // steps of a period
    unsigned per_period;   // pieces of a period: every one but the last has MAX_PIECE columns
    unsigned group;        // columns of a scale group; at least k where a row is one group
    unsigned groups;       // scale groups of a row
};

// The first column of piece `index`; k for the index after the last.
__device__ __forceinline__ unsigned first_column(const Pieces& pieces, unsigned index) {
    const unsigned column = pieces.per_period == 1
        ? index * pieces.period
        : index / pieces.per_period * pieces.period + index % pieces.per_period * MAX_PIECE;
    return column < pieces.columns ? column : pieces.columns;
}

// The first step of piece `index`; the number of steps for the index after the last.
__device__ __forceinline__ unsigned first_step(const Pieces& pieces, unsigned index) {
    const unsigned step = pieces.per_period == 1
        ? index * pieces.period_steps
        : index / pieces.per_period * pieces.period_steps + index % pieces.per_period * MAX_PIECE_STEPS;
    return step < pieces.steps ? step : pieces.steps;
}

// The scale group of the weights of piece `index`.
__device__ __forceinline__ unsigned group_of(const Pieces& pieces, unsigned index) {
    return first_column(pieces, index) / pieces.group;
}

// Pieces of a scale group, of every one but the last.
__device__ __forceinline__ unsigned pieces_of_group(const Pieces& pieces) {
    return ((pieces.group - 1) / pieces.period + 1) * pieces.per_period;
}

//! Which lane holds which element of a product, as the PTX manual draws it.
//!
//! With `g` a lane's number over 4 and `t` the rest, a register of A holds row `g` (or `g + 8`), columns from `t * p`,
//! of B column `g`, rows from `t * p`, where `p` elements fit a register; C and D hold row `g` (or `g + 8`), columns `2 t`
//! and `2 t + 1`.
//!
//! `mma.m8n8k4` of f16 is four products, each of two groups of four lanes: 0 to 3 with 16 to 19, and so on. They are
//! told apart by rows and columns: the first has those from 0, the second those from 8, up to 31.

use crate::kernel::{Mma, QuadPairs};

/// More rows, or columns, than any product has.
pub(in crate::machine) const SIDE: usize = 32;

/// Columns of each row of D that are sums.
pub(in crate::machine) const N: usize = 8;

/// Row and column of the element `index` of a lane's A.
pub(in crate::machine) fn a_place(mma: &Mma, lane: usize, index: usize) -> (usize, usize) {
    match mma.quad_pairs {
        Some(QuadPairs { a_by_row: true, .. }) => (row_of_pair(lane), index),
        Some(_) => (index + first_of_pair(lane), lane % 4),
        None => {
            let packed = mma.a_type.packed();
            let (register, element) = (index / packed, index % packed);
            let halves = mma.m / 8;
            let column = lane % 4 * packed + element + 4 * packed * (register / halves);
            (lane / 4 + 8 * (register % halves), column)
        }
    }
}

/// Row and column of the element `index` of a lane's B.
pub(in crate::machine) fn b_place(mma: &Mma, lane: usize, index: usize) -> (usize, usize) {
    match mma.quad_pairs {
        Some(QuadPairs { b_by_row: true, .. }) => (lane % 4, index + first_of_pair(lane)),
        Some(_) => (index, row_of_pair(lane)),
        None => {
            let packed = mma.b_type.packed();
            let (register, element) = (index / packed, index % packed);
            (lane % 4 * packed + element + 4 * packed * register, lane / 4)
        }
    }
}

/// Row and column of the element `index` of a lane's C or D, which are of f16 or not.
pub(in crate::machine) fn c_place(mma: &Mma, half: bool, lane: usize, index: usize) -> (usize, usize) {
    if mma.quad_pairs.is_none() {
        return (lane / 4 + 8 * (index / 2), lane % 4 * 2 + index % 2);
    }
    let column = lane % 16 / 4 * N;
    if half {
        return (row_of_pair(lane), column + index);
    }
    (first_of_pair(lane) + (lane & 1) + (index & 2), column + (index & 4) + (lane & 2) + (index & 1))
}

/// The first of four rows or columns that a group of four lanes has: those from lane 16 on have the upper ones.
fn first_of_pair(lane: usize) -> usize {
    lane % 16 / 4 * N + lane / 16 * 4
}

/// The row or column of a lane that has one.
fn row_of_pair(lane: usize) -> usize {
    first_of_pair(lane) + lane % 4
}

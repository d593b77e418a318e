//! The online softmax state of rows: the attended values, `[rows][padded head_dim]`, then `[rows][2]`: the largest
//! score M and the sum L.

use super::{Queries, padded};
use crate::cpu::{
    lanes::{Kernel, LANES, Lanes, load_or, store_to},
    math::exp2,
};

/// A state, borrowed.
pub(super) struct State<'a> {
    pub(super) total: &'a mut [f32],
    pub(super) sums: &'a mut [f32],
}

impl<'a> State<'a> {
    /// State `place` of several, each of `rows` rows of `width` columns.
    #[inline(always)]
    pub(super) fn of(states: &'a mut [f32], place: usize, rows: usize, width: usize) -> Self {
        let elems = rows * (width + 2);
        let (total, sums) = states[place * elems..][..elems].split_at_mut(rows * width);
        State { total, sums }
    }

    /// Initialises the state: no key yet.
    #[inline(always)]
    pub(super) fn start(&mut self) {
        self.total.fill(0.0);
        self.sums.chunks_exact_mut(2).for_each(|sums| sums.copy_from_slice(&[f32::NEG_INFINITY, 0.0]));
    }
}

/// Merges the next segment's partial result into a row's state: its largest score m, sum l and attended values.
///
/// # Safety
/// The processor has `L`.
#[inline(always)]
pub(super) unsafe fn merge_row<L: Lanes>(
    total: &mut [f32],
    sums: &mut [f32],
    (m, l): (f32, f32),
    attended: &[f32],
) {
    let (before, sum) = (sums[0], sums[1]);
    let larger = if m > before { m } else { before };
    // SAFETY: chunks of sixteen; the processor has `L` (this function's contract).
    unsafe {
        let new = exp2::<L>(L::splat(m - larger));
        let old = exp2::<L>(L::splat(before - larger));
        let mut lanes = [0.0; LANES];
        L::store(L::fma_lanes(L::splat(l), new, L::mul(L::splat(sum), old)), &mut lanes);
        sums[0] = larger;
        sums[1] = lanes[0];
        for (total, attended) in total.chunks_exact_mut(LANES).zip(attended.chunks_exact(LANES)) {
            let kept = L::mul(L::load_f32(total.as_ptr()), old);
            if let Some(total) = total.first_chunk_mut::<LANES>() {
                L::store(L::fma_lanes(L::load_f32(attended.as_ptr()), new, kept), total);
            }
        }
    }
}

/// Merges a state into the state of the keys before it.
pub(super) struct Merge<'a> {
    pub(super) head_dim: usize,
    pub(super) state: &'a mut [f32],
    pub(super) next: &'a [f32],
}

impl Kernel for Merge<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let width = padded(self.head_dim);
        let rows = self.state.len() / (width + 2);
        let (total, sums) = self.state.split_at_mut(rows * width);
        let (attended, next_sums) = self.next.split_at(rows * width);
        for row in 0..rows {
            let columns = row * width..(row + 1) * width;
            let next = (next_sums[2 * row], next_sums[2 * row + 1]);
            // SAFETY: the processor has `L` (the contract of `Kernel::run`).
            unsafe {
                merge_row::<L>(
                    &mut total[columns.clone()],
                    &mut sums[2 * row..][..2],
                    next,
                    &attended[columns],
                );
            }
        }
    }
}

/// Divides by the sums and writes the outputs of one KV head's rows.
pub(super) struct Outputs<'a> {
    pub(super) head_dim: usize,
    pub(super) queries: &'a Queries,
    pub(super) head: usize,
    pub(super) state: &'a [f32],
}

impl Kernel for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (head_dim, rows) = (self.head_dim, self.queries.rows());
        let width = padded(head_dim);
        let (total, sums) = self.state.split_at(rows * width);
        for row in 0..rows {
            let offset = self.queries.offset(self.head, row, self.queries.out_stride_elems, head_dim);
            // SAFETY: `out` holds head_dim f32 at each row's offset, which nothing else uses (the contract of
            // `super::write`, the only caller); the processor has `L`.
            unsafe {
                let out = std::slice::from_raw_parts_mut(self.queries.out.add(offset), head_dim);
                let sum = L::splat(sums[2 * row + 1]);
                for (out, total) in out.chunks_mut(LANES).zip(total[row * width..].chunks(LANES)) {
                    store_to::<L>(L::div(load_or::<L>(total, 0.0), sum), out);
                }
            }
        }
    }
}

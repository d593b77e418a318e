//! Storing a matmul's outputs: adds the bias, then replaces the row's values, adds to them, or applies SwiGLU.

use std::ops::Range;

use crate::cpu::{
    lanes::{Lanes, load_or, store_to},
    layout::PANEL,
    math,
    vector::VectorView,
};

/// How outputs combine with the values already in `out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// `out = y`.
    Replace,
    /// `out = out + y`: the residual stream.
    Add,
    /// `out = silu(out) * y`: SwiGLU, where `out` holds the gate projection and y is the up projection.
    Gate,
}

/// Where a matmul's outputs go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output<'a> {
    /// `[rows][stride]`, n columns used.
    pub(crate) data: *mut f32,
    pub(crate) stride_elems: usize,
    pub(crate) n: usize,
    /// `[n]`.
    pub(crate) bias: Option<VectorView<'a>>,
    pub(crate) store: Store,
}

impl Output<'_> {
    /// The output without its first `rows` rows.
    pub(super) fn skip_rows(self, rows: usize) -> Self {
        Output { data: self.data.wrapping_add(rows * self.stride_elems), ..self }
    }

    /// Some columns of the output, from a panel's first on.
    pub(super) fn only(self, columns: Range<usize>) -> Self {
        let bias = self.bias.map(|bias| bias.only(columns.clone()));
        Output { data: self.data.wrapping_add(columns.start), n: columns.len(), bias, ..self }
    }

    /// Stores the outputs of one panel for some rows, from row `first` on. Lanes beyond n are dropped.
    ///
    /// # Safety
    /// The rows are inside `data`, `panel` is below `ceil(n/16)`, no other thread uses these columns of the rows; the
    /// processor has `L`.
    #[inline(always)]
    pub(super) unsafe fn put<L: Lanes>(&self, first: usize, panel: usize, rows: &[L::Floats]) {
        // SAFETY: this function's contract.
        unsafe {
            if self.n - panel * PANEL >= PANEL {
                // The branch on `store` is outside of the loop over rows.
                return match self.store {
                    Store::Replace => self.put_whole::<L>(Store::Replace, first, panel, rows),
                    Store::Add => self.put_whole::<L>(Store::Add, first, panel, rows),
                    Store::Gate => self.put_whole::<L>(Store::Gate, first, panel, rows),
                };
            }
            for (row, y) in (first..).zip(rows) {
                let out = self.columns(row, panel);
                store_to::<L>(self.combined::<L>(self.store, panel, load_or::<L>(out, 0.0), *y), out);
            }
        }
    }

    /// [`Output::put`] of a panel whose lanes are all below n.
    ///
    /// # Safety
    /// As [`Output::put`]; the panel ends at n or before.
    #[inline(always)]
    unsafe fn put_whole<L: Lanes>(&self, store: Store, first: usize, panel: usize, rows: &[L::Floats]) {
        let mut out = self.data.wrapping_add(first * self.stride_elems + panel * PANEL);
        for y in rows {
            // SAFETY: this function's contract.
            unsafe { L::store(self.combined::<L>(store, panel, L::load_f32(out), *y), &mut *out.cast()) };
            out = out.wrapping_add(self.stride_elems);
        }
    }

    /// The value to store, from the old value `before` and the output `y`.
    ///
    /// # Safety
    /// The processor has `L`.
    #[inline(always)]
    unsafe fn combined<L: Lanes>(
        &self,
        store: Store,
        panel: usize,
        before: L::Floats,
        y: L::Floats,
    ) -> L::Floats {
        // SAFETY: this function's contract.
        unsafe {
            let y = self.biased::<L>(panel, y);
            match store {
                Store::Replace => y,
                Store::Add => L::add(before, y),
                Store::Gate => L::mul(math::silu::<L>(before), y),
            }
        }
    }

    /// [`Output::put`] with [`Store::Gate`] for one row, with the gate projection (bias added) in registers instead of
    /// in `out`.
    ///
    /// # Safety
    /// As [`Output::put`].
    #[inline(always)]
    pub(super) unsafe fn put_gated<L: Lanes>(&self, row: usize, panel: usize, gate: L::Floats, y: L::Floats) {
        // SAFETY: this function's contract.
        unsafe {
            store_to::<L>(self.combined::<L>(Store::Gate, panel, gate, y), self.columns(row, panel));
        }
    }

    /// Outputs of a panel with the bias added, where there is one.
    ///
    /// # Safety
    /// The processor has `L`.
    #[inline(always)]
    pub(super) unsafe fn biased<L: Lanes>(&self, panel: usize, y: L::Floats) -> L::Floats {
        match self.bias {
            None => y,
            // SAFETY: this function's contract.
            Some(bias) => unsafe { L::add(y, bias.lanes::<L>(panel * PANEL)) },
        }
    }

    /// A panel's columns in a row.
    ///
    /// # Safety
    /// As [`Output::put`].
    #[inline(always)]
    #[allow(clippy::mut_from_ref)] // outputs are shared memory; the caller has these columns
    unsafe fn columns(&self, row: usize, panel: usize) -> &mut [f32] {
        let first = panel * PANEL;
        let count = PANEL.min(self.n - first);
        // SAFETY: `count` columns from `first` on are inside the row, 4-byte aligned and initialised, and no other
        // thread uses them (this function's contract).
        unsafe { std::slice::from_raw_parts_mut(self.data.add(row * self.stride_elems + first), count) }
    }
}

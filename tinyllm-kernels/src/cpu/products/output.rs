//! What happens to sixteen outputs of a product: a bias, then into their row, onto it, or through the gate.

use crate::cpu::{
    lanes::{Lanes, load_or, store_to},
    layout::PANEL,
    math,
    vector::VectorView,
};

/// How outputs meet what is in their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// `out = y`.
    Replace,
    /// `out = out + y`: the residual stream.
    Add,
    /// `out = silu(out) * y`: the gate is there, y is what it opens for.
    Gate,
}

/// Where a product's outputs go.
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
    /// The outputs after the first `rows` rows.
    pub(super) fn skip_rows(self, rows: usize) -> Self {
        Output { data: self.data.wrapping_add(rows * self.stride_elems), ..self }
    }

    /// Takes the outputs of one row and panel. Lanes beyond n are dropped.
    ///
    /// # Safety
    /// The row lies in `data`, the panel in `ceil(n/16)`, nobody else uses these columns of the row; the processor has
    /// `L`.
    #[inline(always)]
    pub(super) unsafe fn put<L: Lanes>(&self, row: usize, panel: usize, y: L::Floats) {
        // SAFETY: the caller's promise.
        unsafe {
            let out = self.columns(row, panel);
            let y = self.biased::<L>(panel, y);
            let y = match self.store {
                Store::Replace => y,
                Store::Add => L::add(load_or::<L>(out, 0.0), y),
                Store::Gate => L::mul(math::silu::<L>(load_or::<L>(out, 0.0)), y),
            };
            store_to::<L>(y, out);
        }
    }

    /// As [`Output::put`] with [`Store::Gate`], where the gate, its bias added, is in registers.
    ///
    /// # Safety
    /// As [`Output::put`].
    #[inline(always)]
    pub(super) unsafe fn put_gated<L: Lanes>(&self, row: usize, panel: usize, gate: L::Floats, y: L::Floats) {
        // SAFETY: the caller's promise.
        unsafe {
            let y = L::mul(math::silu::<L>(gate), self.biased::<L>(panel, y));
            store_to::<L>(y, self.columns(row, panel));
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
            // SAFETY: the caller's promise.
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
        // SAFETY: the caller's promise; `count` columns from `first` on are inside the row.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(row * self.stride_elems + first), count) }
    }
}

//! Replicated rows: in a step with one row, each worker computes the norm or the rounding of that row for itself, which
//! takes less time than a barrier. The row is in the worker's scratch, as the activations that the next pass reads.
//! `compile` decides which passes are replicated.

use super::Executor;
use crate::{
    RegionFormat,
    cpu::{
        compile::Work,
        matmul::{round_row, round_row_in_place},
        norm,
    },
};

impl Executor<'_> {
    /// Whether every worker computes this pass's row for itself.
    pub(super) fn is_replicated(&self, pass: usize) -> bool {
        let pass = self.pass(pass);
        pass.replicated
            && match &pass.work {
                Work::RmsNorm { out, .. } | Work::Round { rows: out } => self.row_count(out) == 1,
                _ => false,
            }
    }

    /// This worker's copy of the replicated row.
    pub(super) fn replicated_row(&self) -> *mut u8 {
        self.scratch().cast()
    }

    /// Computes the pass's only row into this worker's scratch.
    pub(super) fn compute_replicated(&self, pass: usize) {
        let row = self.replicated_row();
        let finite = match &self.pass(pass).work {
            Work::RmsNorm { input, weight, eps, out } => {
                let RegionFormat::Activation16 { pieces } = out.format else { return };
                let source = self.row(input, self.source_row(input, out, 0));
                let weight = self.bound.weights.vector(*weight);
                // SAFETY: a worker's scratch is long enough for a row of any region, as f32 and as activations
                // (`compile::scratch_elems`), is 64-byte aligned, initialised (host memory is zeroed) and this worker's
                // alone; the one reference to it ends with the norm, and the rounding uses the pointer it was made
                // from. `Cpu::new` checked the instruction set.
                unsafe {
                    let normed = std::slice::from_raw_parts_mut(row.cast::<f32>(), out.columns);
                    norm::rms_norm(self.isa, source, weight, *eps, normed);
                    round_row_in_place(self.isa, row, out.columns, pieces)
                }
            }
            Work::Round { rows } => {
                let RegionFormat::Activation16 { pieces } = rows.format else { return };
                // SAFETY: as above; the region does not overlap scratch, which is live throughout (`compile`).
                unsafe { round_row(self.isa, self.row(rows, 0), pieces, row) }
            }
            _ => return,
        };
        self.note(finite, pass, 0);
    }
}

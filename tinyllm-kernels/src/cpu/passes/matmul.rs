//! The matmul passes: workers take panels of weights from the work-stealing queues.

use std::ops::Range;

use super::Executor;
use crate::cpu::{
    compile::Part,
    layout::PANEL,
    matmul::{self, InputView, Matrices, Output, Panels, Store, WeightView},
};

/// Chunk size in panels where weights are converted for many rows.
const CHUNK_PANELS: usize = 4;

/// Panels of the gate projection that are computed before those of the up projection: a prompt's outputs of so many
/// panels stay in L2.
const GATE_PANELS: usize = 12;

impl<'a> Executor<'a> {
    /// [`crate::Op::Linear`].
    pub(super) fn linear(&self, pass: usize, parts: &[Part]) {
        if let Some(matrices) = self.linear_matrices(parts) {
            return self.stream(pass, &matrices, self.input(pass, &parts[0]));
        }
        let total = parts.iter().map(panels).sum();
        self.share_out(total, CHUNK_PANELS, |taken| {
            let mut first = 0;
            for part in parts {
                let count = panels(part);
                let range = taken.start.max(first)..taken.end.min(first + count);
                if range.start < range.end {
                    self.matmul(pass, part, range.start - first..range.end - first, store(part));
                }
                first += count;
            }
        });
    }

    /// [`crate::Op::SwiGluLinear`].
    pub(super) fn swiglu_linear(&self, pass: usize, gate: &Part, up: &Part) {
        if let Some(matrices) = self.swiglu_matrices(gate, up) {
            return self.stream(pass, &matrices, self.input(pass, gate));
        }
        self.share_out(panels(gate), CHUNK_PANELS, |taken| {
            for first in taken.clone().step_by(GATE_PANELS) {
                let panels = first..taken.end.min(first + GATE_PANELS);
                // The gate's outputs stay in L2 until the up projection multiplies them.
                self.matmul(pass, gate, panels.clone(), Store::Replace);
                self.matmul(pass, up, panels, Store::Gate);
            }
        });
    }

    /// The parts as matrices for the streaming kernel; `None` where the rows are many, or a weight is not in panels.
    pub(super) fn linear_matrices(&self, parts: &[Part]) -> Option<Matrices<'a>> {
        Matrices::parts(parts.iter().map(|part| self.streamed(part, store(part))))
    }

    /// As [`Executor::linear_matrices`].
    pub(super) fn swiglu_matrices(&self, gate: &Part, up: &Part) -> Option<Matrices<'a>> {
        let gate = self.streamed(gate, Store::Replace)?;
        Matrices::gated(gate, self.streamed(up, Store::Gate)?)
    }

    fn streamed(&self, part: &Part, store: Store) -> Option<matmul::Part<'a>> {
        match self.bound.weights.view(part.weight) {
            WeightView::Panels(weight) if Panels::streams(self.row_count(&part.input)) => {
                Some(matmul::Part { weight, output: self.output(part, store) })
            }
            _ => None,
        }
    }

    /// Each worker reads its range of the panels in several streams, and then steals from the others.
    fn stream(&self, pass: usize, matrices: &Matrices<'_>, input: InputView) {
        let queues = &self.bound.queues;
        let streams = |owner| matrices.streams(queues.range(owner, matrices.panels()), input.rows);
        let columns = |owner| streams(owner).columns();
        self.prefetch_slots(pass);
        let epoch = self.next_epoch();
        while let Some((owner, taken)) = self.steal(epoch, columns, 1) {
            // SAFETY: `Cpu::new` checked the instruction set; the input holds `rows` rows in the weights' input format,
            // 4-byte aligned, and each output as many rows of n columns (`ProgramBuilder::finish` checked shapes,
            // formats and rows; or it is the replicated row, the only one, in the same format); no worker writes the
            // input during this pass, and the columns of these panels were taken by this worker alone. `SlabLayout`
            // made the panels' bytes; `streams` cuts the range of `owner`, below `panels()`, and `taken` is within its
            // columns.
            unsafe { matmul::multiply(self.isa, matrices, streams(owner), taken, input) };
        }
    }

    fn input(&self, pass: usize, part: &Part) -> InputView {
        let is_replicated = pass.checked_sub(1).is_some_and(|before| self.is_replicated(before));
        InputView {
            data: if is_replicated { self.replicated_row() } else { self.row_address(&part.input, 0) },
            row_stride_bytes: part.input.row_bytes,
            rows: self.row_count(&part.input),
            k: part.k,
        }
    }

    fn output(&self, part: &Part, store: Store) -> Output<'a> {
        Output {
            data: self.row_address(&part.out, 0).cast(),
            stride_elems: part.out.row_bytes / 4,
            n: part.n,
            bias: part.bias.map(|bias| self.bound.weights.vector(bias)),
            store,
        }
    }

    /// Computes the outputs of `panels`, which this worker has taken, adds the bias and stores them as `store` says.
    fn matmul(&self, pass: usize, part: &Part, panels: Range<usize>, store: Store) {
        let weight = self.bound.weights.view(part.weight);
        let input = self.input(pass, part);
        if panels.start == 0 && matches!(weight, WeightView::F16(_) | WeightView::F32(_)) {
            for row in 0..input.rows {
                self.note(self.row(&part.input, row).iter().all(|x| x.is_finite()), pass, row);
            }
        }
        let (output, first) = (self.output(part, store), panels.start);
        // SAFETY: as in `stream`; `panels` are below the weight's number of panels, and were taken by this worker
        // alone.
        let result = unsafe {
            matmul::matmul(self.isa, &weight, panels, input, &output, &mut self.quantized.borrow_mut())
        };
        self.check((pass, first), result);
    }
}

fn panels(part: &Part) -> usize {
    part.n.div_ceil(PANEL)
}

fn store(part: &Part) -> Store {
    if part.accumulate { Store::Add } else { Store::Replace }
}

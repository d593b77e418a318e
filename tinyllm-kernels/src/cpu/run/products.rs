//! The product operations: panels of weights shared out among threads.

use std::ops::Range;

use super::Worker;
use crate::{
    LinearPart, Product, RegionId,
    cpu::{
        layout::PANEL,
        products::{self, Factors, InputView, Output, Panels, Part, Store, WeightView},
    },
};

/// Panels that are claimed at a time where weights are widened for many rows.
const GRAIN: usize = 4;

/// Panels of gates that are computed before what they open for: for a prompt, outputs that stay in the second cache.
const GATES: usize = 12;

impl<'a> Worker<'a> {
    /// [`crate::Op::Linear`].
    pub(super) fn linear(&self, operation: usize, parts: &[LinearPart]) {
        if let Some(factors) = self.linear_factors(parts) {
            return self.stream(operation, &factors, self.input(operation, &parts[0].product));
        }
        let total = parts.iter().map(|part| self.panels(&part.product)).sum();
        self.shares(total, GRAIN, |claimed| {
            let mut first = 0;
            for part in parts {
                let count = self.panels(&part.product);
                let range = claimed.start.max(first)..claimed.end.min(first + count);
                if range.start < range.end {
                    let local = range.start - first..range.end - first;
                    self.product(operation, &part.product, local, part.out, store(part));
                }
                first += count;
            }
        });
    }

    /// [`crate::Op::GatedLinear`].
    pub(super) fn gated_linear(&self, operation: usize, gate: &Product, up: &Product, out: RegionId) {
        if let Some(factors) = self.gated_factors(gate, up, out) {
            return self.stream(operation, &factors, self.input(operation, gate));
        }
        self.shares(self.panels(gate), GRAIN, |claimed| {
            for first in claimed.clone().step_by(GATES) {
                let panels = first..claimed.end.min(first + GATES);
                // The gate's outputs wait in `out` for a moment, in this core's cache.
                self.product(operation, gate, panels.clone(), out, Store::Replace);
                self.product(operation, up, panels, out, Store::Gate);
            }
        });
    }

    /// The parts as weights that stream by, where they are and the rows are few.
    pub(super) fn linear_factors(&self, parts: &[LinearPart]) -> Option<Factors<'a>> {
        Factors::parts(parts.iter().map(|part| self.streamed(&part.product, part.out, store(part))))
    }

    /// As [`Worker::linear_factors`].
    pub(super) fn gated_factors(&self, gate: &Product, up: &Product, out: RegionId) -> Option<Factors<'a>> {
        let gate = self.streamed(gate, out, Store::Replace)?;
        Factors::gated(gate, self.streamed(up, out, Store::Gate)?)
    }

    fn streamed(&self, product: &Product, out: RegionId, store: Store) -> Option<Part<'a>> {
        match self.prepared.weights.view(product.weight) {
            WeightView::Panels(weight) if Panels::streams(self.row_count(product.input)) => {
                Some(Part { weight, output: self.output(product, out, store) })
            }
            _ => None,
        }
    }

    /// Each member reads a range of the panels in several streams, and then helps the others.
    fn stream(&self, operation: usize, factors: &Factors<'_>, input: InputView) {
        let shares = &self.prepared.shares;
        let streams = |owner| factors.streams(shares.range(owner, factors.panels()), input.rows);
        let columns = |owner| streams(owner).columns();
        self.fetch_slots(operation);
        let turn = self.next_turn();
        while let Some((owner, claimed)) = self.claim(turn, columns, 1) {
            // SAFETY: `Cpu::new` checked the instruction set; the input region holds `rows` rows in the format the
            // weights read and each output as many of n columns (`ProgramBuilder::finish` checked both); nobody writes
            // the input during this operation, and the outputs of these columns' panels are this member's.
            unsafe { products::multiply(self.isa, factors, streams(owner), claimed, input) };
        }
    }

    fn panels(&self, product: &Product) -> usize {
        self.prepared.program.weights()[product.weight.index()].n.div_ceil(PANEL)
    }

    fn input(&self, operation: usize, product: &Product) -> InputView {
        let own = operation.checked_sub(1).and_then(|before| self.own(before));
        InputView {
            data: if own.is_some() { self.own_row() } else { self.row_address(product.input, 0) },
            row_stride_bytes: self.prepared.regions[product.input.index()].1,
            rows: self.row_count(product.input),
            k: self.prepared.program.weights()[product.weight.index()].k,
        }
    }

    fn output(&self, product: &Product, out: RegionId, store: Store) -> Output<'a> {
        Output {
            data: self.row_address(out, 0).cast(),
            stride_elems: self.prepared.regions[out.index()].1 / 4,
            n: self.prepared.program.weights()[product.weight.index()].n,
            bias: product.bias.map(|bias| self.prepared.weights.vector(bias)),
            store,
        }
    }

    /// The product's outputs in `panels`, which this member has claimed, bias added, into `out` as `store` says.
    fn product(
        &self,
        operation: usize,
        product: &Product,
        panels: Range<usize>,
        out: RegionId,
        store: Store,
    ) {
        let weight = self.prepared.weights.view(product.weight);
        let input = self.input(operation, product);
        if panels.start == 0 && matches!(weight, WeightView::F16(_) | WeightView::F32(_)) {
            for row in 0..input.rows {
                self.note(self.row(product.input, row).iter().all(|x| x.is_finite()), operation, row);
            }
        }
        let output = self.output(product, out, store);
        let first = panels.start;
        // SAFETY: as in `stream`.
        let result = unsafe {
            products::product(self.isa, &weight, panels, input, &output, &mut self.quantized.borrow_mut())
        };
        self.check((operation, first), result);
    }
}

fn store(part: &LinearPart) -> Store {
    if part.accumulate { Store::Add } else { Store::Replace }
}

//! A single row's norm and conversion, which each member makes for itself: that takes less time than to meet.
//!
//! The row lies in the member's scratch, in the format that the product after it reads.

use super::Worker;
use crate::{
    InputFormat, Op, Pieces, Program, RegionId,
    cpu::{
        norm,
        products::{quantize_input_row, quantize_row_in_place},
    },
};

/// What an operation makes, where each member can make it for itself.
#[derive(Clone, Copy, Debug)]
pub(in crate::cpu) struct OwnRow {
    /// Where it would lie for all.
    region: RegionId,
    /// Which inputs share a scale.
    pieces: Pieces,
}

/// For each operation, what it makes for nobody but the product that comes next; `None` where others read it, or where
/// what it reads may be overwritten while another member still reads.
pub(in crate::cpu) fn own_rows(program: &Program) -> Vec<Option<OwnRow>> {
    let (ops, lifetimes) = (program.ops(), program.lifetimes());
    let of = |operation: usize| {
        let (out, format) = match &ops[operation] {
            Op::RmsNorm { out, .. } => (*out, program.regions()[out.index()].input_format?),
            // The region is f32 and stays so: the format is that of the row each member makes.
            Op::ConvertInPlace { region, format } => (*region, *format),
            _ => return None,
        };
        let InputFormat::Int16 { pieces } = format else { return None };
        let next = operation + 1;
        let read = ops[operation].regions();
        let reads = match ops.get(next)? {
            Op::Linear { parts } => {
                parts.iter().all(|part| part.product.input == out && !read.contains(&part.out))
            }
            Op::GatedLinear { gate, up, out: gated } => {
                gate.input == out && up.input == out && !read.contains(gated)
            }
            _ => false,
        };
        let is_last = lifetimes[out.index()].1 == next;
        let stays = read.iter().all(|region| lifetimes[region.index()].1 >= next);
        (reads && is_last && stays && next != program.head_start()).then_some(OwnRow { region: out, pieces })
    };
    (0..ops.len()).map(of).collect()
}

impl Worker<'_> {
    /// What the operation makes, where it is a single row that every member makes for itself.
    pub(super) fn own(&self, operation: usize) -> Option<OwnRow> {
        self.prepared.own_rows[operation].filter(|own| self.row_count(own.region) == 1)
    }

    /// The row that this member made, in its product's format.
    pub(super) fn own_row(&self) -> *mut u8 {
        self.scratch().cast()
    }

    /// Makes the operation's only row.
    pub(super) fn make_own(&self, operation: usize, OwnRow { region: out, pieces }: OwnRow) {
        let (row, k) = (self.own_row(), self.spec(out).columns);
        let finite = match &self.prepared.program.ops()[operation] {
            Op::RmsNorm { input, weight, eps, .. } => {
                let source = self.row(*input, self.source_row(*input, out, 0));
                let weight = self.prepared.weights.vector(*weight);
                // SAFETY: a worker's scratch holds a row of any region, as f32 and in a product's format
                // (`requirements::scratch_elems`), 64-byte aligned, and is this worker's alone; the one reference to it
                // ends with the norm, and the conversion goes through the pointer it was made from.
                unsafe {
                    let normed = std::slice::from_raw_parts_mut(row.cast::<f32>(), k);
                    norm::rms_norm(self.isa, source, weight, *eps, normed);
                    quantize_row_in_place(self.isa, row, k, pieces)
                }
            }
            // SAFETY: as above; the region's row lies in the arena's regions, scratch in its workspace.
            _ => unsafe { quantize_input_row(self.isa, self.row(out, 0), pieces, row) },
        };
        self.note(finite, operation, 0);
    }
}

//! A session of the CPU backend: a compiled program with its memory.

use std::ops::Range;

use super::{bound::Bound, compile::CpuCompiled, matmul::round_row, passes};
use crate::{
    BlockCopy, Compiled, EntryId, KernelError, Outputs, RegionFormat, RegionId, Requirements, Session,
    Source, Step, TensorId, Ticket, backend::Submissions, quantize::VanishedGroups,
};

/// The smallest page size of any supported system.
const SMALLEST_PAGE_BYTES: usize = 4096;

impl Compiled for CpuCompiled {
    fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    fn bind(self: Box<Self>) -> Result<Box<dyn Session>, KernelError> {
        let CpuCompiled { cpu, lowered, slab, requirements } = *self;
        Ok(Box::new(CpuSession {
            bound: Bound::new(cpu, lowered, slab, &requirements)?,
            submissions: Submissions::new(),
            failure: None,
            prefaulted: false,
        }))
    }
}

/// A program bound to its memory, and what was submitted to it.
struct CpuSession {
    bound: Bound,
    submissions: Submissions,
    /// The error that the last submission ended with, until it is told.
    failure: Option<(Ticket, KernelError)>,
    /// Whether the pages of the cache's first block are resident.
    prefaulted: bool,
}

impl CpuSession {
    /// The passes of some operations.
    fn passes(&self, operations: &Range<usize>) -> Range<usize> {
        let first =
            |operation: usize| self.bound.lowered.passes.partition_point(|pass| pass.operation < operation);
        first(operations.start)..first(operations.end)
    }

    /// Makes the pages of the cache's first block resident, without changing their contents.
    fn prefault(&mut self) {
        let Some(layout) = self.bound.lowered.kv.filter(|layout| layout.blocks() > 0 && !self.prefaulted)
        else {
            return;
        };
        for extent in layout.block_ranges(0) {
            for byte in self.bound.kv.as_mut_slice()[extent].iter_mut().step_by(SMALLEST_PAGE_BYTES) {
                // A write that changes nothing: the page is needed, not the byte.
                *byte = std::hint::black_box(*byte);
            }
        }
        self.prefaulted = true;
    }
}

impl Session for CpuSession {
    fn upload(&mut self, tensor: TensorId, source: Source<'_>) -> Result<(), KernelError> {
        self.bound.lowered.program.check_upload(tensor, source.shape())?;
        match tensor {
            TensorId::Weight(weight) => {
                self.bound.weights.upload(self.bound.cpu.pool(), self.bound.cpu.isa(), weight, source)
            }
            TensorId::Vector(vector) => self.bound.weights.upload_vector(vector, source),
        }
    }

    fn vanished_groups(&self) -> Vec<VanishedGroups> {
        self.bound.weights.vanished_groups()
    }

    /// Makes the pages of the cache's first block resident, then fills the slab with weights still read at their
    /// sources, in the program's order.
    fn warm_up(&mut self, max_bytes: usize) -> Result<usize, KernelError> {
        self.prefault();
        self.bound.weights.warm_up(self.bound.cpu.pool(), self.bound.cpu.isa(), max_bytes)
    }

    fn copy_blocks(&mut self, copies: &[BlockCopy]) -> Result<(), KernelError> {
        self.bound.lowered.program.check_copies(copies)?;
        let Some(layout) = self.bound.lowered.kv else { return Ok(()) };
        for copy in copies {
            let targets = layout.block_ranges(copy.to as usize);
            for (source, target) in layout.block_ranges(copy.from as usize).zip(targets) {
                self.bound.kv.as_mut_slice().copy_within(source, target.start);
            }
        }
        Ok(())
    }

    fn write_region(&mut self, region: RegionId, rows: &[f32]) -> Result<(), KernelError> {
        self.bound.lowered.program.check_input(region, rows.len())?;
        self.submissions.forget();
        let place = self.bound.lowered.places[region.index()];
        let arena = &mut self.bound.arena.as_mut_slice()[place.offset..];
        for (row, values) in rows.chunks_exact(place.columns.max(1)).enumerate() {
            let bytes = &mut arena[row * place.row_bytes..][..place.row_bytes];
            let RegionFormat::Activation16 { pieces } = place.format else {
                bytemuck::cast_slice_mut(bytes).copy_from_slice(values);
                continue;
            };
            // SAFETY: the row is as long as the layout of its columns and pieces says (`compile::row_bytes`), 4-byte aligned
            // (places are 64-byte aligned, rows whole words), and borrowed exclusively; `Cpu::new` checked the
            // instruction set.
            if !unsafe { round_row(self.bound.cpu.isa(), values, pieces, bytes.as_mut_ptr()) } {
                let operation = self.bound.lowered.program.region(region).name.clone();
                return Err(KernelError::NonFiniteInput { operation, row });
            }
        }
        Ok(())
    }

    /// Runs the entry before it returns; an error is returned by [`Session::wait`].
    fn submit(&mut self, entry: EntryId, step: &Step<'_>) -> Result<Ticket, KernelError> {
        if let Some(name) = self.bound.weights.missing(&self.bound.lowered.program) {
            return Err(KernelError::NotUploaded { name: name.into() });
        }
        let submission = self.submissions.begin(&self.bound.lowered.program, entry, step)?;
        let passes = self.passes(&submission.operations);
        self.failure = None;
        match passes::run(&mut self.bound, step, passes) {
            Ok(()) => self.submissions.succeeded(&self.bound.lowered.program, &submission, step),
            Err(error) => self.failure = Some((submission.ticket, error)),
        }
        Ok(submission.ticket)
    }

    fn wait(&mut self, ticket: Ticket) -> Result<Outputs<'_>, KernelError> {
        if let Some((_, error)) = self.failure.take_if(|(failed, _)| *failed == ticket) {
            return Err(error);
        }
        let rows = self.submissions.rows(ticket)?;
        let place = self.bound.lowered.places[self.bound.lowered.program.output().index()];
        let values = bytemuck::cast_slice_mut(&mut self.bound.arena.as_mut_slice()[place.offset..]);
        Outputs::new(values, rows, place.columns, place.row_bytes / 4)
    }
}

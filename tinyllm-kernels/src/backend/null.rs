//! The null backend: it runs nothing. For tests of plans and schedulers without weights or arithmetic.

use std::sync::Arc;

use tinyllm_mem::{Buffer, HostMemory, Plan, Region, Request};

use super::{
    Backend, BlockCopy, Capabilities, Compiled, Outputs, Requirements, Session, Source, Submissions,
    TensorId, Ticket,
};
use crate::{EntryId, KernelError, Program, RegionId, Step, quantize::VanishedGroups};

/// Alignment of its allocation: that of f32.
const ALIGN_BYTES: usize = 4;

/// Compiles and binds every program and checks every step, but runs none: outputs are 0. Only the output region is
/// allocated.
#[derive(Debug)]
pub struct Null {
    memory: HostMemory,
}

impl Null {
    /// A null backend that allocates outputs from this resource.
    pub fn new(memory: HostMemory) -> Self {
        Null { memory }
    }
}

impl Backend for Null {
    fn name(&self) -> &str {
        "null"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_mapped_weights(true)
    }

    fn compile(&self, program: Arc<Program>) -> Result<Box<dyn Compiled>, KernelError> {
        let spec = program.region(program.output());
        let bytes = 4 * program.max_rows(spec) * spec.columns;
        let (name, category, align_bytes) = (spec.name.clone(), spec.category, ALIGN_BYTES);
        let arena = Plan::pack(vec![Region::new(name, category, bytes, align_bytes, (0, 0))])?;
        let requirements = Requirements::new(Vec::new(), 0, arena, ALIGN_BYTES);
        Ok(Box::new(NullCompiled { program, requirements, memory: Arc::clone(&self.memory) }))
    }
}

struct NullCompiled {
    program: Arc<Program>,
    requirements: Requirements,
    memory: HostMemory,
}

impl Compiled for NullCompiled {
    fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    fn bind(self: Box<Self>) -> Result<Box<dyn Session>, KernelError> {
        let request = Request::slab("activations", self.requirements.arena.parts(), ALIGN_BYTES);
        let arena: Buffer<u8> = Buffer::allocate(&self.memory, request)?;
        Ok(Box::new(NullSession { program: self.program, arena, submissions: Submissions::new() }))
    }
}

struct NullSession {
    program: Arc<Program>,
    arena: Buffer<u8>,
    submissions: Submissions,
}

impl Session for NullSession {
    fn upload(&mut self, tensor: TensorId, source: Source<'_>) -> Result<(), KernelError> {
        self.program.check_upload(tensor, source.shape())
    }

    fn vanished_groups(&self) -> Vec<VanishedGroups> {
        Vec::new()
    }

    fn warm_up(&mut self, _max_bytes: usize) -> Result<usize, KernelError> {
        Ok(0)
    }

    fn copy_blocks(&mut self, copies: &[BlockCopy]) -> Result<(), KernelError> {
        self.program.check_copies(copies)
    }

    fn write_region(&mut self, region: RegionId, rows: &[f32]) -> Result<(), KernelError> {
        self.program.check_input(region, rows.len())?;
        self.submissions.forget();
        Ok(())
    }

    fn submit(&mut self, entry: EntryId, step: &Step<'_>) -> Result<Ticket, KernelError> {
        let submission = self.submissions.begin(&self.program, entry, step)?;
        self.submissions.succeeded(&self.program, &submission, step);
        Ok(submission.ticket)
    }

    fn wait(&mut self, ticket: Ticket) -> Result<Outputs<'_>, KernelError> {
        let rows = self.submissions.rows(ticket)?;
        let columns = self.program.region(self.program.output()).columns;
        let values = bytemuck::cast_slice_mut(self.arena.as_mut_slice());
        Outputs::new(values, rows, columns, columns)
    }
}

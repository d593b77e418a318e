//! A session of the CUDA backend: a compiled program with its memory on the device.

use std::ops::Range;

use tinyllm_mem::{Buffer, Category, Device, Event, Request, Stream};
use tinyllm_sys::{DevicePointer, EventTiming, StreamFlags};

use super::{
    compile::{CudaCompiled, Lowered, Place},
    graphs::Graphs,
    kernels::{Kernels, Queue},
    layout::{ALIGN_BYTES, Planes, ROW_TILE},
    passes::{self, Addresses},
    planes::round_rows,
    slab::SlabLayout,
    step_data::{NO_FAULT, StepLayout, StepShape},
    upload::{CHUNKS, Route, Uploads},
};
use crate::{
    BlockCopy, Compiled, EntryId, KernelError, Outputs, RegionFormat, RegionId, Requirements, Session,
    Source, Step, TensorId, Ticket,
    backend::Submissions,
    quantize::{VanishedGroups, merged},
};

impl Compiled for CudaCompiled {
    fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    fn bind(self: Box<Self>) -> Result<Box<dyn Session>, KernelError> {
        Ok(Box::new(CudaSession::new(*self)?))
    }
}

/// A program bound to its memory, and what was submitted to it.
struct CudaSession {
    lowered: Lowered,
    layout: SlabLayout,
    kernels: Kernels,
    /// `None` while a step is queued.
    graphs: Option<Graphs>,
    stream: Stream,
    weights: Buffer<u8, Device>,
    kv: Buffer<u8, Device>,
    arena: Buffer<u8, Device>,
    pinned: Buffer<u8>,
    uploads: Uploads,
    /// Which weights, then which vectors, have been uploaded; `None` once all are.
    uploaded: Option<Vec<bool>>,
    vanished: Vec<VanishedGroups>,
    /// The end of the last submission.
    done: Event,
    submissions: Submissions,
    /// The submission that the device may still run.
    running: Option<Ticket>,
    /// The error that the last submission ended with, until it is returned.
    failure: Option<(Ticket, KernelError)>,
}

impl CudaSession {
    fn new(compiled: CudaCompiled) -> Result<Self, KernelError> {
        let CudaCompiled { cuda, lowered, slab, requirements } = compiled;
        let context = &cuda.context;
        let stream = Stream::new(context, StreamFlags::NonBlocking)?;
        let allocate = |request: Request| Buffer::<u8, Device>::allocate(&cuda.memory, request);
        let weights = allocate(Request::slab("weights", requirements.weights.clone(), ALIGN_BYTES))?;
        let kv = allocate(Request::new(Category::Kv, "kv", requirements.kv_bytes, ALIGN_BYTES))?;
        let arena = allocate(Request::slab("activations", requirements.arena.parts(), ALIGN_BYTES))?;
        let pinned = Request::slab("pinned", requirements.staging.clone(), ALIGN_BYTES);
        let pinned = Buffer::allocate(&cuda.pinned, pinned)?;
        let program = &lowered.program;
        let session = CudaSession {
            uploaded: Some(vec![false; program.weights().len() + program.vectors().len()]),
            uploads: Uploads::new(context, lowered.pinned.chunk_bytes)?,
            done: Event::new(context, EventTiming::Disabled)?,
            kernels: Kernels::new(context),
            graphs: Some(Graphs::new(context)),
            layout: slab,
            vanished: Vec::new(),
            submissions: Submissions::new(),
            running: None,
            failure: None,
            lowered,
            stream,
            weights,
            kv,
            arena,
            pinned,
        };
        // Padding of tiles is 0; so is the cache, whose blocks are read in whole tiles.
        for (buffer, bytes) in [(&session.weights, session.weights.len()), (&session.kv, session.kv.len())] {
            let to = DevicePointer(buffer.address().addr() as u64);
            if bytes > 0 {
                session.queue().run("memset", |driver, stream| {
                    // SAFETY: the buffer's own bytes; the session's work on them is on the same stream.
                    unsafe { driver.memset_d8_async(to, 0, bytes, stream) }
                })?;
            }
        }
        Ok(session)
    }

    fn queue(&self) -> Queue<'_> {
        Queue::new(&self.stream, &self.kernels)
    }

    fn addresses(&self) -> Addresses {
        let address = |buffer: &Buffer<u8, Device>| buffer.address().addr() as u64;
        Addresses { weights: address(&self.weights), kv: address(&self.kv), arena: address(&self.arena) }
    }

    /// The passes of some operations.
    fn passes(&self, operations: &Range<usize>) -> Range<usize> {
        let first = |operation: usize| self.lowered.passes.partition_point(|pass| pass.operation < operation);
        first(operations.start)..first(operations.end)
    }

    /// The first weight or vector that was not uploaded.
    fn missing(&self) -> Option<&str> {
        let missing = self.uploaded.as_ref()?.iter().position(|is_uploaded| !is_uploaded)?;
        let program = &self.lowered.program;
        match program.weights().get(missing) {
            Some(spec) => Some(&spec.name),
            None => Some(&program.vectors()[missing - program.weights().len()].name),
        }
    }

    /// Waits for the submission that the device may still run, and keeps its error.
    fn settle(&mut self) -> Result<(), KernelError> {
        let Some(ticket) = self.running.take() else { return Ok(()) };
        if let Err(error) = self.done.synchronize() {
            self.submissions.forget();
            return Err(error.into());
        }
        let at = self.lowered.pinned.fault;
        let word =
            self.pinned.as_slice()[at..].first_chunk().map_or(NO_FAULT, |word| u64::from_ne_bytes(*word));
        if word != NO_FAULT {
            let (pass, row) = ((word >> 32) as usize, (word & 0xffff_ffff) as usize);
            let operation = passes::name(&self.lowered, pass);
            self.failure = Some((ticket, KernelError::NonFiniteInput { operation, row }));
            self.submissions.forget();
        }
        Ok(())
    }

    /// Queues a step: its data, its passes, and the copies of what it gives. Decoding steps of one shape are a graph.
    fn run(&mut self, step: &Step<'_>, passes: Range<usize>, output_rows: usize) -> Result<(), KernelError> {
        let program = &self.lowered.program;
        let decoding = StepShape::of_decoding(program, step);
        let shape = decoding.unwrap_or_else(|| StepShape::of_step(step));
        let layout = StepLayout::new(program, shape.counts)?;
        let at = self.lowered.pinned.step;
        layout.write(program, step, &mut self.pinned.as_mut_slice()[at..at + layout.bytes]);
        let mut graphs = std::mem::take(&mut self.graphs);
        let enqueue = || self.enqueue(&layout, shape, passes.clone());
        let queued = match (decoding, &mut graphs) {
            // SAFETY: the layout follows from the shape, and all else from the passes; the memory is this session's.
            (Some(_), Some(graphs)) => unsafe { graphs.run(&self.stream, shape, passes.clone(), enqueue) },
            _ => enqueue(),
        };
        self.graphs = graphs;
        queued?;
        let lowered = &self.lowered;
        if let Place::Floats(place) = lowered.places[lowered.program.output().index()] {
            let from = self.addresses().arena + place.offset as u64;
            self.copy_back(from, lowered.pinned.outputs, 4 * output_rows * place.columns)?;
        }
        Ok(self.done.record(&self.stream)?)
    }

    /// Queues the work of a step of this shape, whose data lies in page-locked memory.
    fn enqueue(
        &self,
        layout: &StepLayout,
        shape: StepShape,
        passes: Range<usize>,
    ) -> Result<(), KernelError> {
        let lowered = &self.lowered;
        let source = self.pinned.as_slice()[lowered.pinned.step..].as_ptr();
        let (addresses, queue) = (self.addresses(), self.queue());
        let to = DevicePointer(addresses.arena + lowered.own.step as u64);
        queue.run("step", |driver, stream| {
            // SAFETY: page-locked memory that is not written before `settle` has waited for the step; the arena has as many
            // bytes there, because a shape has at most the program's limits.
            unsafe { driver.memcpy_htod_async(to, source, layout.bytes, stream) }
        })?;
        passes::run(&queue, lowered, &self.layout, &addresses, layout, shape, passes)?;
        let fault = to.0 + StepLayout::fault() as u64;
        self.copy_back(fault, lowered.pinned.fault, size_of::<u64>())
    }

    /// Queues a copy to page-locked memory.
    fn copy_back(&self, from: u64, at: usize, bytes: usize) -> Result<(), KernelError> {
        if bytes == 0 {
            return Ok(());
        }
        let to = self.pinned.address().wrapping_add(at);
        self.queue().run("outputs", |driver, stream| {
            // SAFETY: `bytes` bytes of the page-locked slab (`PinnedLayout`), which are not read or written before `settle` has
            // waited for the step; the arena has as many at `from`.
            unsafe { driver.memcpy_dtoh_async(to, DevicePointer(from), bytes, stream) }
        })
    }

    /// Copies bytes of the first chunk to the arena, and waits.
    fn write_arena(&mut self, offset: usize, at: usize, bytes: usize) -> Result<(), KernelError> {
        let to = DevicePointer(self.arena.address().addr() as u64 + offset as u64);
        let source = self.pinned.as_slice()[at..at + bytes].as_ptr();
        self.queue().run("input", |driver, stream| {
            // SAFETY: page-locked memory that is not written before the stream has been waited for, below; the region has as
            // many bytes (`Program::check_input`).
            unsafe { driver.memcpy_htod_async(to, source, bytes, stream) }
        })?;
        Ok(self.stream.synchronize()?)
    }
}

impl Session for CudaSession {
    fn upload(&mut self, tensor: TensorId, source: Source<'_>) -> Result<(), KernelError> {
        self.lowered.program.check_upload(tensor, source.shape())?;
        self.settle()?;
        // The chunks lie where regions of the last step may.
        self.submissions.forget();
        let (arena, slab) = (self.arena.address().addr() as u64, self.weights.address().addr() as u64);
        let mut route = Route {
            pinned: &mut self.pinned.as_mut_slice()[..CHUNKS * self.lowered.pinned.chunk_bytes],
            device: arena + self.lowered.own.upload as u64,
            slab,
            layout: &self.layout,
            kernels: &self.kernels,
            stream: &self.stream,
        };
        let program = &self.lowered.program;
        let index = match tensor {
            TensorId::Weight(weight) => {
                let spec = &program.weights()[weight.index()];
                let vanished = self.uploads.weight(&mut route, spec, weight, &source)?;
                self.vanished.retain(|vanished| vanished.weight != spec.name);
                self.vanished.extend(vanished);
                weight.index()
            }
            TensorId::Vector(vector) => {
                let spec = &program.vectors()[vector.index()];
                self.uploads.vector(&mut route, spec, vector, &source)?;
                program.weights().len() + vector.index()
            }
        };
        if let Some(uploaded) = &mut self.uploaded {
            uploaded[index] = true;
            if uploaded.iter().all(|is_uploaded| *is_uploaded) {
                self.uploaded = None;
            }
        }
        Ok(())
    }

    fn vanished_groups(&self) -> Vec<VanishedGroups> {
        merged(&self.vanished)
    }

    /// Weights are copied by their upload, so nothing is left.
    fn warm_up(&mut self, _max_bytes: usize) -> Result<usize, KernelError> {
        Ok(0)
    }

    fn copy_blocks(&mut self, copies: &[BlockCopy]) -> Result<(), KernelError> {
        self.lowered.program.check_copies(copies)?;
        let Some(kv) = self.lowered.program.kv() else { return Ok(()) };
        let (bytes, base) = (kv.block_bytes(), self.kv.address().addr() as u64);
        let block = |index: u32| DevicePointer(base + u64::from(index) * bytes as u64);
        for copy in copies.iter().filter(|copy| copy.from != copy.to) {
            self.queue().run("block copy", |driver, stream| {
                // SAFETY: two blocks of the cache (`check_copies`), which do not overlap; all work on it is on this stream.
                unsafe { driver.memcpy_dtod_async(block(copy.to), block(copy.from), bytes, stream) }
            })?;
        }
        Ok(())
    }

    fn write_region(&mut self, region: RegionId, rows: &[f32]) -> Result<(), KernelError> {
        self.lowered.program.check_input(region, rows.len())?;
        self.settle()?;
        self.submissions.forget();
        let spec = self.lowered.program.region(region).clone();
        // Uploads may still use the chunks.
        self.stream.synchronize()?;
        let chunk_bytes = CHUNKS * self.lowered.pinned.chunk_bytes;
        match (self.lowered.places[region.index()], spec.format) {
            (Place::Activations(place), RegionFormat::Activation16 { pieces }) => {
                let tile = Planes::new(ROW_TILE, place.planes.cut).map_or(0, |planes| planes.bytes);
                let tile_scales =
                    tile - Planes::new(ROW_TILE, place.planes.cut).map_or(0, |planes| planes.scales_offset);
                for (index, rows) in rows.chunks(ROW_TILE * spec.columns).enumerate() {
                    let Some(planes) =
                        Planes::new(ROW_TILE, place.planes.cut).filter(|planes| planes.bytes <= chunk_bytes)
                    else {
                        let problem = format!("a row of {} columns", spec.columns);
                        return Err(KernelError::Invalid { what: "input", problem });
                    };
                    let out = &mut self.pinned.as_mut_slice()[..planes.bytes];
                    if let Err(row) = round_rows(rows, spec.columns, pieces, &planes, out) {
                        let (operation, row) = (spec.name, index * ROW_TILE + row);
                        return Err(KernelError::NonFiniteInput { operation, row });
                    }
                    let values = planes.scales_offset;
                    self.write_arena(place.offset + index * values, 0, values)?;
                    let scales = place.offset + place.planes.scales_offset + index * tile_scales;
                    self.write_arena(scales, values, tile_scales)?;
                }
                Ok(())
            }
            (Place::Floats(place), _) => {
                let row_bytes = 4 * spec.columns;
                let count = (chunk_bytes / row_bytes.max(1)).max(1);
                for (index, rows) in rows.chunks(count * spec.columns.max(1)).enumerate() {
                    let bytes: &[u8] = bytemuck::cast_slice(rows);
                    self.pinned.as_mut_slice()[..bytes.len()].copy_from_slice(bytes);
                    self.write_arena(place.offset + index * count * row_bytes, 0, bytes.len())?;
                }
                Ok(())
            }
            _ => Err(KernelError::Invalid { what: "input", problem: "the region is a table".into() }),
        }
    }

    fn submit(&mut self, entry: EntryId, step: &Step<'_>) -> Result<Ticket, KernelError> {
        if let Some(name) = self.missing() {
            return Err(KernelError::NotUploaded { name: name.into() });
        }
        self.settle()?;
        let submission = self.submissions.begin(&self.lowered.program, entry, step)?;
        self.failure = None;
        let passes = self.passes(&submission.operations);
        self.submissions.succeeded(&self.lowered.program, &submission, step);
        let rows = self.submissions.rows(submission.ticket)?;
        if let Err(error) = self.run(step, passes, rows) {
            self.submissions.forget();
            return Err(error);
        }
        self.running = Some(submission.ticket);
        Ok(submission.ticket)
    }

    fn wait(&mut self, ticket: Ticket) -> Result<Outputs<'_>, KernelError> {
        self.settle()?;
        if let Some((_, error)) = self.failure.take_if(|(failed, _)| *failed == ticket) {
            return Err(error);
        }
        let rows = self.submissions.rows(ticket)?;
        let columns = self.lowered.program.region(self.lowered.program.output()).columns;
        let outputs = &mut self.pinned.as_mut_slice()[self.lowered.pinned.outputs..];
        let whole = outputs.len() / 4 * 4;
        Outputs::new(bytemuck::cast_slice_mut(&mut outputs[..whole]), rows, columns, columns)
    }
}

impl Drop for CudaSession {
    fn drop(&mut self) {
        // Work may still use what is freed next. An error is the context's, and its next call returns it.
        let _ = self.stream.synchronize();
        // Graphs name kernels.
        self.graphs = None;
    }
}

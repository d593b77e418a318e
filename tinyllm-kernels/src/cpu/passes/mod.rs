//! Runs passes: every worker executes its part of every pass, with a barrier between passes. While a worker waits at a
//! barrier it prefetches what it reads next.

mod attention;
mod matmul;
mod prefetch;
mod queries;
mod replicated;
mod rope;

use std::{
    cell::{Cell, RefCell},
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    bound::Bound,
    compile::{Pass, Place, Work},
    matmul::{Quantized, round_row, round_row_in_place, unpack_row},
    norm,
    threads::Worker,
};
use crate::{Isa, KernelError, RegionFormat, RowSet, Step, VectorId, rotary::table_row};

/// No non-finite input: larger than every packed (pass, row).
const NO_FAULT: u64 = u64::MAX;

/// Runs some passes of a step that was validated.
///
/// # Errors
/// [`KernelError::NonFiniteInput`]; errors of reading weights at their source.
pub(super) fn run(bound: &mut Bound, step: &Step<'_>, passes: Range<usize>) -> Result<(), KernelError> {
    bound.queues.reset();
    let fault = AtomicU64::new(NO_FAULT);
    let failure = Mutex::new(None);
    let arena = Memory { base: bound.arena.address() };
    let cache = Memory { base: bound.kv.address() };
    let shared: &Bound = bound;
    let work = |worker: &Worker<'_>| {
        let executor = Executor {
            isa: shared.cpu.isa(),
            worker,
            bound: shared,
            arena,
            cache,
            step,
            fault: &fault,
            failure: &failure,
            quantized: RefCell::default(),
            epoch: Cell::new(0),
            next: Cell::new(prefetch::Next::NOTHING),
        };
        for pass in passes.clone() {
            if executor.is_replicated(pass) {
                executor.compute_replicated(pass);
            } else {
                executor.execute(pass);
                worker.wait_while(|| executor.prefetch(pass));
            }
        }
    };
    match step.tokens() {
        1 => shared.cpu.pool().run_token(shared.cpu.decode_threads(), work),
        _ => shared.cpu.pool().run_prompt(work),
    }
    // A poisoned lock means that a worker unwound, and this thread with it.
    if let Ok(Some(failure)) = failure.into_inner() {
        return Err(failure.error);
    }
    match fault.into_inner() {
        NO_FAULT => Ok(()),
        fault => {
            let (pass, row) = ((fault >> 32) as usize, (fault & 0xffff_ffff) as usize);
            Err(KernelError::NonFiniteInput { operation: name(shared, pass), row })
        }
    }
}

/// An error of reading weights at their source.
struct Failure {
    /// The pass that read the weights, and the first of its panels or rows that needed them.
    place: (usize, usize),
    error: KernelError,
}

/// The name of a pass in errors: its first weight, or its region.
fn name(bound: &Bound, pass: usize) -> String {
    let program = &bound.lowered.program;
    match &bound.lowered.passes[pass].work {
        Work::Linear { parts } => {
            parts.first().map_or_else(String::new, |part| program.weights()[part.weight.index()].name.clone())
        }
        Work::SwiGluLinear { gate, .. } => program.weights()[gate.weight.index()].name.clone(),
        Work::RmsNorm { weight, .. } => program.vectors()[weight.index()].name.clone(),
        Work::Round { rows } => program.regions()[rows.region.index()].name.clone(),
        _ => format!("operation {}", bound.lowered.passes[pass].operation),
    }
}

/// The address of a buffer that all workers write to, each its own part.
#[derive(Clone, Copy)]
struct Memory {
    base: *mut u8,
}

// SAFETY: the address of a buffer of the session, which `run` borrows exclusively for the whole run; between two
// barriers workers write disjoint parts of it, and no worker reads a part that another one writes (see `Executor`).
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

/// One worker's view of a run.
///
/// # How workers share the arena and the cache
/// Between two barriers one pass runs, and before it perhaps one whose only row each worker computes in its own scratch
/// (see `replicated`): no worker writes what that one reads. In a pass a worker writes the rows (or panels of columns)
/// that it has taken from the work-stealing queues, which give each to one worker; it reads regions that no worker
/// writes in that pass, or only elements that it writes itself. Each SAFETY comment below relies on this, and on what
/// was checked before:
/// - shapes, formats and rows fit, an operation writes a region once and does not also read it, ids are the program's,
///   sizes do not overflow: `ProgramBuilder::finish` (`program/check.rs`), which is the only constructor of a program;
/// - places lie in the arena, are large enough for their rows in either format, and do not overlap while both are live:
///   `compile` packs them and `Bound::new` allocates what it packed; a session owns its program, weights and
///   memory, and code outside of `cpu` cannot change its fields;
/// - the step has at most the program's rows, its tokens, rows and blocks exist, and it writes no block twice:
///   `Step::validate`, which `Submissions::begin` calls before every run;
/// - the processor has the instruction set: `Cpu::new`, which is the only constructor of a `Cpu`.
///
/// A worker that runs alone takes all the work, and no other thread runs.
struct Executor<'a> {
    isa: Isa,
    worker: &'a Worker<'a>,
    bound: &'a Bound,
    arena: Memory,
    cache: Memory,
    step: &'a Step<'a>,
    fault: &'a AtomicU64,
    failure: &'a Mutex<Option<Failure>>,
    /// Buffers for weights that are quantised while they are read.
    quantized: RefCell<Quantized>,
    /// The number of the queues' next epoch.
    epoch: Cell<usize>,
    /// What it prefetches.
    next: Cell<prefetch::Next<'a>>,
}

impl<'a> Executor<'a> {
    fn pass(&self, pass: usize) -> &'a Pass {
        &self.bound.lowered.passes[pass]
    }

    fn execute(&self, pass: usize) {
        match &self.pass(pass).work {
            Work::RotaryTable { inverse_frequencies, scale, out } => {
                self.rows(out, |row| {
                    let out = self.row_mut(out, row);
                    table_row(inverse_frequencies, *scale, self.position(row), out);
                });
            }
            Work::Embed { table, out } => {
                let table = self.bound.weights.view(*table);
                self.rows(out, |row| {
                    let token = self.step.token_id(row) as usize;
                    self.check((pass, row), unpack_row(&table, token, self.row_mut(out, row)));
                });
            }
            Work::Gather { input, out } => {
                self.rows(out, |row| {
                    let source = self.source_row(input, out, row);
                    self.row_mut(out, row).copy_from_slice(self.row(input, source));
                });
            }
            Work::RmsNorm { input, weight, eps, out } => {
                self.rows(out, |row| self.rms_norm(pass, input, *weight, *eps, out, row));
            }
            Work::Round { rows } => self.rows(rows, |row| self.round(pass, row, rows)),
            Work::Linear { parts } => self.linear(pass, parts),
            Work::SwiGluLinear { gate, up } => self.swiglu_linear(pass, gate, up),
            Work::RopeAndCacheWrite(operands) => self.rope_and_cache_write(operands),
            Work::Attention(operands) => self.attention(operands),
        }
    }

    // ---- sharing out work ----

    /// Runs `work` on chunks of `0..count`, multiples of `chunk_size`, until all of it is taken.
    fn share_out(&self, count: usize, chunk_size: usize, mut work: impl FnMut(Range<usize>)) {
        let (queues, epoch) = (&self.bound.queues, self.next_epoch());
        let len = |worker| queues.range(worker, count).len();
        while let Some((owner, chunk)) = self.steal(epoch, len, chunk_size) {
            let start = queues.range(owner, count).start;
            work(start + chunk.start..start + chunk.end);
        }
    }

    /// Begins a new epoch of the work-stealing queues, for work between two barriers.
    fn next_epoch(&self) -> usize {
        let epoch = self.epoch.get();
        self.epoch.set(epoch + 1);
        self.bound.queues.begin(epoch, self.worker.index);
        if self.worker.is_alone() {
            (0..self.worker.workers).for_each(|other| self.bound.queues.begin(epoch, other));
        }
        epoch
    }

    /// The next chunk that this worker takes in an epoch: see `StealQueues::steal`.
    fn steal(
        &self,
        epoch: usize,
        len: impl Fn(usize) -> usize,
        chunk_size: usize,
    ) -> Option<(usize, Range<usize>)> {
        // No other worker takes chunks, so a whole range is one chunk.
        let chunk_size = if self.worker.is_alone() { usize::MAX } else { chunk_size };
        self.bound.queues.steal(epoch, self.worker.index, len, chunk_size)
    }

    /// Runs `work` on the rows of a place that this worker takes.
    fn rows(&self, place: &Place, mut work: impl FnMut(usize)) {
        self.share_out(self.row_count(place), 1, |rows| rows.for_each(&mut work));
    }

    fn row_count(&self, place: &Place) -> usize {
        match place.rows {
            RowSet::Tokens => self.step.tokens(),
            RowSet::Sampled => self.step.sampled_rows.len(),
        }
    }

    // ---- memory ----

    /// The first byte of a row of a place.
    fn row_address(&self, place: &Place, row: usize) -> *mut u8 {
        debug_assert!(row < place.max_rows);
        // SAFETY: the place lies in the arena with `max_rows` rows (`compile` packed it), and `row` is below that: a
        // row of the step, which has at most the program's limits (`Step::validate`).
        unsafe { self.arena.base.add(place.offset + row * place.row_bytes) }
    }

    /// A row of f32: `[columns]`.
    fn row(&self, place: &Place, row: usize) -> &[f32] {
        // SAFETY: `columns` f32 are inside the arena (`row_address`; a row is at least that long), 4-byte aligned
        // (places are 64-byte aligned, rows are multiples of 4 bytes), initialised (host memory is zeroed), and no
        // other worker writes them during this pass (see `Executor`).
        unsafe { std::slice::from_raw_parts(self.row_address(place, row).cast(), place.columns) }
    }

    /// A row of f32 that this worker has taken.
    #[allow(clippy::mut_from_ref)] // the arena is shared memory; disjointness is argued at `Executor`
    fn row_mut(&self, place: &Place, row: usize) -> &mut [f32] {
        // SAFETY: as `row`; the worker that took the row is its only user until the next barrier.
        unsafe { std::slice::from_raw_parts_mut(self.row_address(place, row).cast(), place.columns) }
    }

    /// This worker's scratch, `[scratch_elems]`. No other worker uses it, and no reference to it outlives the call that
    /// makes it.
    fn scratch(&self) -> *mut f32 {
        let workspace = self.bound.lowered.workspace;
        // SAFETY: the workspace holds `scratch_elems` for each worker, and `compile` packed it into the arena.
        unsafe {
            let base = self.arena.base.add(workspace.offset).cast::<f32>();
            base.add(self.worker.index * workspace.scratch_elems)
        }
    }

    /// Runs `work` with the first `elems` of this worker's scratch.
    fn with_scratch<T>(&self, elems: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
        debug_assert!(elems <= self.bound.lowered.workspace.scratch_elems);
        // SAFETY: scratch is at least `elems` long (`compile::scratch_elems`), 64-byte aligned, initialised (host
        // memory is zeroed) and this worker's alone; `work` does not call `with_scratch`, and the replicated row, which
        // is in scratch too, is read by matmul passes only, which do not call it.
        work(unsafe { std::slice::from_raw_parts_mut(self.scratch(), elems) })
    }

    // ---- passes ----

    /// A token row's position in its sequence.
    fn position(&self, row: usize) -> u32 {
        let sequence = self.step.sequence_of(row);
        let (first_row, first_position, _) = self.step.span(sequence);
        (first_position + row - first_row) as u32
    }

    /// The row of `input` that becomes a row of `out`: a sampled row is gathered.
    fn source_row(&self, input: &Place, out: &Place, row: usize) -> usize {
        let gathers = input.rows == RowSet::Tokens && out.rows == RowSet::Sampled;
        if gathers { self.step.sampled_rows[row] as usize } else { row }
    }

    fn rms_norm(&self, pass: usize, input: &Place, weight: VectorId, eps: f32, out: &Place, row: usize) {
        let weight = self.bound.weights.vector(weight);
        let input = self.row(input, self.source_row(input, out, row));
        match out.format {
            RegionFormat::F32 => norm::rms_norm(self.isa, input, weight, eps, self.row_mut(out, row)),
            RegionFormat::Activation16 { pieces } => self.with_scratch(input.len(), |normed| {
                norm::rms_norm(self.isa, input, weight, eps, normed);
                // SAFETY: this worker took the row; it is as long as the layout of its columns and pieces
                // (`compile::row_bytes`) and 4-byte aligned; `normed` is scratch, which does not overlap regions.
                // `Cpu::new` checked the instruction set.
                let finite = unsafe { round_row(self.isa, normed, pieces, self.row_address(out, row)) };
                self.note(finite, pass, row);
            }),
        }
    }

    /// Quantises a row of f32 to int16 activations, in place.
    fn round(&self, pass: usize, row: usize, rows: &Place) {
        if let RegionFormat::Activation16 { pieces } = rows.format {
            let address = self.row_address(rows, row);
            // SAFETY: this worker took the row; it is as long as the longer of its two forms (`compile::row_bytes`) and
            // 4-byte aligned. `Cpu::new` checked the instruction set.
            let finite = unsafe { round_row_in_place(self.isa, address, rows.columns, pieces) };
            self.note(finite, pass, row);
        }
    }

    /// Records a non-finite input: the first pass, and in it the first row, that has one.
    fn note(&self, finite: bool, pass: usize, row: usize) {
        if !finite {
            self.fault.fetch_min((pass as u64) << 32 | row as u64, Ordering::Relaxed);
        }
    }

    /// Records an error of reading weights: the first in the order of passes and places.
    fn check(&self, place: (usize, usize), result: Result<(), KernelError>) {
        if let Err(error) = result
            && let Ok(mut failure) = self.failure.lock()
            && failure.as_ref().is_none_or(|earlier| place < earlier.place)
        {
            *failure = Some(Failure { place, error });
        }
    }
}

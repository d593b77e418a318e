//! Runs a prepared program: every thread executes every operation on the shares it claims, and all meet in between.
//!
//! While a thread waits it fetches what it reads next.

mod ahead;
mod attention;
mod own;
mod products;
mod queries;
mod shares;

use std::{
    cell::{Cell, RefCell},
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

pub(super) use self::{
    own::{OwnRow, own_rows},
    shares::{Shares, share},
};

use self::attention::Operands;
use super::{
    Cpu, Prepared, kv, norm,
    products::{Quantized, quantize_input_row, quantize_row_in_place, unpack_row},
    rope,
    team::Member,
};
use crate::{
    InputFormat, Isa, KernelError, Op, Product, RegionId, Rows, Step, VectorId, kv_layout::TilePlace,
};

/// No fault: larger than any.
const NO_FAULT: u64 = u64::MAX;

pub(super) fn run(
    cpu: &Cpu,
    prepared: &mut Prepared,
    step: &Step<'_>,
    operations: Range<usize>,
) -> Result<(), KernelError> {
    prepared.shares.reset();
    let fault = AtomicU64::new(NO_FAULT);
    let failure = Mutex::new(None);
    let arena = Memory { base: prepared.arena.address() };
    let cache = Memory { base: prepared.kv.address() };
    let shared: &Prepared = prepared;
    let work = |member: &Member<'_>| {
        let worker = Worker {
            isa: cpu.isa,
            member,
            prepared: shared,
            arena,
            cache,
            step,
            fault: &fault,
            failure: &failure,
            quantized: RefCell::default(),
            turn: Cell::new(0),
            next: Cell::new(ahead::Next::NOTHING),
        };
        for operation in operations.clone() {
            match worker.own(operation) {
                Some(own) => worker.make_own(operation, own),
                None => {
                    worker.execute(operation);
                    member.meet_while(|| worker.ahead(operation));
                }
            }
        }
    };
    match step.token_ids {
        [_] => cpu.team.run_some(work),
        _ => cpu.team.run_prompt(work),
    }
    // A poisoned lock means that a member unwound, and this thread with it.
    if let Ok(Some(failure)) = failure.into_inner() {
        return Err(failure.error);
    }
    match fault.into_inner() {
        NO_FAULT => Ok(()),
        fault => {
            let (operation, row) = ((fault >> 32) as usize, (fault & 0xffff_ffff) as usize);
            Err(KernelError::NonFiniteInput { operation: name(shared, operation), row })
        }
    }
}

/// Weights that could not be read.
struct Failure {
    /// The operation that read them, and the first output they were for.
    place: (usize, usize),
    error: KernelError,
}

/// What an error calls an operation: its first weight.
fn name(prepared: &Prepared, operation: usize) -> String {
    let program = &prepared.program;
    let weight = |product: &Product| program.weights()[product.weight.index()].name.clone();
    match &program.ops()[operation] {
        Op::Linear { parts } => parts.first().map_or_else(String::new, |part| weight(&part.product)),
        Op::GatedLinear { gate, .. } => weight(gate),
        Op::RmsNorm { weight, .. } => program.vectors()[weight.index()].name.clone(),
        Op::ConvertInput { input, .. } | Op::ConvertInPlace { region: input, .. } => {
            program.regions()[input.index()].name.clone()
        }
        _ => format!("operation {operation}"),
    }
}

/// The first byte of a buffer that all members write to, each its own part.
#[derive(Clone, Copy)]
struct Memory {
    base: *mut u8,
}

// SAFETY: the address of a buffer that is borrowed exclusively for the whole run; members touch disjoint parts of it
// between two meetings (see `Worker`).
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

/// One member's view of a run.
///
/// # How members share the arena and the cache
/// Between two meetings one operation runs, and before it perhaps one whose only row each member makes in its own
/// scratch (see `own`): what that reads nobody writes in either. An operation writes rows (or panels of columns) that
/// it claims, each claimed by one member, and reads regions that no member writes in that operation, or only the
/// elements it writes itself. Each SAFETY comment below leans on this, and on what is checked before:
/// - shapes, formats and rows fit, what an operation writes it writes once and does not also read, ids are the program's,
///   sizes do not overflow: `ProgramBuilder::finish` (`program/check.rs`), the only way to a program;
/// - regions lie in the arena, as long as their rows in every format take, and apart while they live; weights are this
///   program's, in the layout of this many threads: `Backend::prepare` (`cpu/bind.rs`), the only way to a `Prepared`, whose
///   fields nothing outside this module changes;
/// - the step has at most the program's rows, names tokens, rows and blocks that exist, and writes no block twice; the
///   threads are those that it was prepared for: `Prepared::check`, before every run;
/// - the processor has the instruction set: `Cpu::new`, the only way to a [`Cpu`].
///
/// A member that is alone claims everything, and is the only one that touches anything.
struct Worker<'a> {
    isa: Isa,
    member: &'a Member<'a>,
    prepared: &'a Prepared,
    arena: Memory,
    cache: Memory,
    step: &'a Step<'a>,
    fault: &'a AtomicU64,
    failure: &'a Mutex<Option<Failure>>,
    /// Weights that it quantised just now.
    quantized: RefCell<Quantized>,
    /// Turns of sharing out that it has come to.
    turn: Cell<usize>,
    /// What it fetches ahead.
    next: Cell<ahead::Next<'a>>,
}

impl Worker<'_> {
    fn execute(&self, operation: usize) {
        match &self.prepared.program.ops()[operation] {
            Op::RotaryTable { inverse_frequencies, scale, out } => {
                self.rows(*out, |row| {
                    let out = self.row_mut(*out, row);
                    rope::rope_row(inverse_frequencies, *scale, self.position(row), out);
                });
            }
            Op::Embed { table, out } => {
                let table = self.prepared.weights.view(*table);
                self.rows(*out, |row| {
                    let token = self.step.token_ids[row] as usize;
                    self.check((operation, row), unpack_row(&table, token, self.row_mut(*out, row)));
                });
            }
            Op::Gather { input, out } => {
                self.rows(*out, |row| {
                    let source = self.source_row(*input, *out, row);
                    self.row_mut(*out, row).copy_from_slice(self.row(*input, source));
                });
            }
            Op::RmsNorm { input, weight, eps, out } => {
                self.rows(*out, |row| {
                    let source = self.source_row(*input, *out, row);
                    self.rms_norm(operation, *input, source, *weight, *eps, *out, row);
                });
            }
            Op::ConvertInput { input, out } => {
                self.rows(*out, |row| {
                    self.write_input(operation, row, self.row(*input, row), *out);
                });
            }
            Op::ConvertInPlace { region, format } => {
                self.rows(*region, |row| self.convert_in_place(operation, row, *region, *format));
            }
            Op::Linear { parts } => self.linear(operation, parts),
            Op::GatedLinear { gate, up, out } => self.gated_linear(operation, gate, up, *out),
            Op::RotateAndStore { q, k, v, table, qk_norm, eps, layer } => {
                let heads = self.rotated_heads();
                let regions = (*q, *k, *v, *table);
                let work = |claimed: Range<usize>| {
                    for item in claimed {
                        self.rotate_and_store(item / heads, item % heads, regions, *qk_norm, *eps, *layer);
                    }
                };
                match self.step.token_ids.len() {
                    1 if self.member.is_alone() => work(0..heads),
                    // Shorter than it takes to look what others have left.
                    1 => work(self.prepared.shares.range(self.member.index, heads)),
                    tokens => self.shares(tokens * heads, 1, work),
                }
            }
            Op::Attention { q, layer, scale, window, out } => {
                let operands = Operands { q: *q, layer: *layer, scale: *scale, window: *window, out: *out };
                self.attention(&operands);
            }
        }
    }

    // ---- sharing out work ----

    /// Claims parts of `0..count`, in multiples of `grain`, until nothing is left.
    fn shares(&self, count: usize, grain: usize, mut work: impl FnMut(Range<usize>)) {
        let (shares, turn) = (&self.prepared.shares, self.next_turn());
        let len = |member| shares.range(member, count).len();
        while let Some((owner, part)) = self.claim(turn, len, grain) {
            let start = shares.range(owner, count).start;
            work(start + part.start..start + part.end);
        }
    }

    /// The turn at which members share out what they execute before they meet again.
    fn next_turn(&self) -> usize {
        let turn = self.turn.get();
        self.turn.set(turn + 1);
        self.prepared.shares.begin(turn, self.member.index);
        if self.member.is_alone() {
            (0..self.member.members).for_each(|other| self.prepared.shares.begin(turn, other));
        }
        turn
    }

    /// The next part that this member claims at a turn: see [`Shares::claim`].
    fn claim(
        &self,
        turn: usize,
        len: impl Fn(usize) -> usize,
        grain: usize,
    ) -> Option<(usize, Range<usize>)> {
        // Nobody else takes a part: all of a range is one.
        let grain = if self.member.is_alone() { usize::MAX } else { grain };
        self.prepared.shares.claim(turn, self.member.index, len, grain)
    }

    /// Claims rows of `region`.
    fn rows(&self, region: RegionId, mut work: impl FnMut(usize)) {
        self.shares(self.row_count(region), 1, |claimed| claimed.for_each(&mut work));
    }

    fn row_count(&self, region: RegionId) -> usize {
        match self.spec(region).rows {
            Rows::Tokens => self.step.token_ids.len(),
            Rows::Sampled => self.step.sampled_rows.len(),
        }
    }

    /// Heads of a token that are rotated: query heads, then key/value heads.
    fn rotated_heads(&self) -> usize {
        self.prepared.program.query_heads() + self.prepared.program.kv().kv_heads()
    }

    // ---- memory ----

    fn spec(&self, region: RegionId) -> &crate::RegionSpec {
        &self.prepared.program.regions()[region.index()]
    }

    /// The first byte of a row of a region.
    fn row_address(&self, region: RegionId, row: usize) -> *mut u8 {
        let (offset, row_bytes) = self.prepared.regions[region.index()];
        debug_assert!(row < self.prepared.program.max_rows(self.spec(region)));
        // SAFETY: `prepare` checked that the region's rows lie inside the arena, and the step that it has no more.
        unsafe { self.arena.base.add(offset + row * row_bytes) }
    }

    /// A row of f32: `[columns]`.
    fn row(&self, region: RegionId, row: usize) -> &[f32] {
        // SAFETY: inside the arena (above), 4-byte aligned (regions are 64-byte aligned, rows whole f32), initialised
        // (host memory is zeroed), and nobody writes it during this operation, or only its reader (see `Worker`).
        unsafe { std::slice::from_raw_parts(self.row_address(region, row).cast(), self.spec(region).columns) }
    }

    /// A row of f32 that this member has claimed.
    #[allow(clippy::mut_from_ref)] // the arena is shared memory; disjointness is argued at `Worker`
    fn row_mut(&self, region: RegionId, row: usize) -> &mut [f32] {
        // SAFETY: as `row`; the claim makes this member its only user until the next meeting.
        unsafe {
            std::slice::from_raw_parts_mut(self.row_address(region, row).cast(), self.spec(region).columns)
        }
    }

    /// This member's scratch, `[scratch_elems]`. Nobody else uses it; whoever makes a reference to it ends it before the
    /// next is made.
    fn scratch(&self) -> *mut f32 {
        // SAFETY: the workspace region holds `scratch_elems` for each member (`requirements`), and `prepare` checked that
        // it lies in the arena.
        unsafe {
            let base = self.arena.base.add(self.prepared.workspace).cast::<f32>();
            base.add(self.member.index * self.prepared.scratch_elems)
        }
    }

    /// Runs `work` with the first `elems` of this member's scratch.
    fn with_scratch<T>(&self, elems: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
        debug_assert!(elems <= self.prepared.scratch_elems);
        // SAFETY: `scratch` is this long, 64-byte aligned, initialised (host memory is zeroed) and this member's alone; no
        // operation takes scratch while it has it, nor multiplies its own row meanwhile.
        work(unsafe { std::slice::from_raw_parts_mut(self.scratch(), elems) })
    }

    // ---- operations ----

    /// Where a token row is: its position.
    fn position(&self, row: usize) -> u32 {
        let sequence = self.step.sequence_of(row);
        let (first_row, first_position, _) = self.step.span(sequence);
        (first_position + row - first_row) as u32
    }

    /// The row of `input` that becomes a row of `out`: a sampled row is gathered.
    fn source_row(&self, input: RegionId, out: RegionId, row: usize) -> usize {
        let gathers = self.spec(input).rows == Rows::Tokens && self.spec(out).rows == Rows::Sampled;
        if gathers { self.step.sampled_rows[row] as usize } else { row }
    }

    #[allow(clippy::too_many_arguments)] // the operation's own fields
    fn rms_norm(
        &self,
        operation: usize,
        input: RegionId,
        source: usize,
        weight: VectorId,
        eps: f32,
        out: RegionId,
        row: usize,
    ) {
        let weight = self.prepared.weights.vector(weight);
        let input = self.row(input, source);
        match self.spec(out).input_format {
            None | Some(InputFormat::Float) => {
                norm::rms_norm(self.isa, input, weight, eps, self.row_mut(out, row))
            }
            Some(InputFormat::Int16 { .. }) => {
                self.with_scratch(input.len(), |normed| {
                    norm::rms_norm(self.isa, input, weight, eps, normed);
                    self.write_input(operation, row, normed, out);
                });
            }
        }
    }

    /// Writes a row of a product's input.
    fn write_input(&self, operation: usize, row: usize, values: &[f32], out: RegionId) {
        match self.spec(out).input_format {
            Some(InputFormat::Int16 { pieces }) => {
                // SAFETY: the row is this member's, and as long as the layout of its columns and pieces says
                // (`requirements::row_bytes`); `values` are another region's or scratch.
                let finite =
                    unsafe { quantize_input_row(self.isa, values, pieces, self.row_address(out, row)) };
                self.note(finite, operation, row);
            }
            None | Some(InputFormat::Float) => self.row_mut(out, row).copy_from_slice(values),
        }
    }

    fn convert_in_place(&self, operation: usize, row: usize, region: RegionId, format: InputFormat) {
        if let InputFormat::Int16 { pieces } = format {
            let k = self.spec(region).columns;
            // SAFETY: the row is this member's; rows lie as far apart as the longer of both forms takes
            // (`requirements::row_bytes`).
            let finite = unsafe { quantize_row_in_place(self.isa, self.row_address(region, row), k, pieces) };
            self.note(finite, operation, row);
        }
    }

    /// Records the first operation, and in it the first row, with an input that is not finite.
    fn note(&self, finite: bool, operation: usize, row: usize) {
        if !finite {
            self.fault.fetch_min((operation as u64) << 32 | row as u64, Ordering::Relaxed);
        }
    }

    /// Records what could not be read, the first of it.
    fn check(&self, place: (usize, usize), result: Result<(), KernelError>) {
        if let Err(error) = result
            && let Ok(mut failure) = self.failure.lock()
            && failure.as_ref().is_none_or(|earlier| place < earlier.place)
        {
            *failure = Some(Failure { place, error });
        }
    }

    /// Columns of a row that this member has claimed by their panel.
    #[allow(clippy::mut_from_ref)] // as `row_mut`
    fn outputs(&self, out: RegionId, row: usize, first: usize, count: usize) -> &mut [f32] {
        debug_assert!(first + count <= self.spec(out).columns);
        // SAFETY: as `row_mut`, for these columns only: other members hold other columns of the same row.
        unsafe { std::slice::from_raw_parts_mut(self.row_address(out, row).cast::<f32>().add(first), count) }
    }

    /// A token's position, and where the tile lies that keeps its keys and values of one head.
    fn slot(&self, row: usize, layer: usize, kv_head: usize) -> (usize, TilePlace) {
        let (layout, position) = (self.prepared.program.kv(), self.position(row) as usize);
        let table = self.step.block_table(self.step.sequence_of(row));
        let block = table[position / layout.block_tokens()] as usize;
        (position, layout.place(self.prepared.cache_blocks, layer, block, kv_head, position))
    }

    /// One head of one token: query heads come first, then key/value heads.
    fn rotate_and_store(
        &self,
        row: usize,
        head: usize,
        (q, k, v, table): (RegionId, RegionId, RegionId, RegionId),
        qk_norm: Option<(VectorId, VectorId)>,
        eps: f32,
        layer: usize,
    ) {
        let layout = self.prepared.program.kv();
        let head_dim = layout.head_dim();
        let query_heads = self.prepared.program.query_heads();
        let is_query = head < query_heads;
        let (region, index) = if is_query { (q, head) } else { (k, head - query_heads) };
        let values = self.outputs(region, row, index * head_dim, head_dim);
        if let Some((q_norm, k_norm)) = qk_norm {
            let weight = self.prepared.weights.vector(if is_query { q_norm } else { k_norm });
            self.with_scratch(head_dim, |normed| {
                norm::rms_norm(self.isa, values, weight, eps, normed);
                values.copy_from_slice(normed);
            });
        }
        rope::apply(self.isa, values, self.row(table, row));
        if !is_query {
            let (position, place) = self.slot(row, layer, index);
            let value = &self.row(v, row)[index * head_dim..][..head_dim];
            // SAFETY: the step was validated: the block is inside the cache, and no other token of the step has this slot,
            // so that the member that claimed this (token, head) is its only user.
            unsafe { kv::store(layout.format(), self.cache.base, place, position, values, value) };
        }
    }
}

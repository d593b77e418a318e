//! Lowering a program: operations become passes over places in the arena, and every byte is planned. A pass that writes
//! f32 to a region of int16 activations is followed by a pass that quantises its rows in place, which takes 4 bytes a
//! value instead of 6 for two regions; an RMS norm quantises its output itself.

use std::sync::Arc;

use tinyllm_mem::{Category, Plan, Region};

use super::{
    Cpu, attention,
    kv::KvLayout,
    layout::{ALIGN_BYTES, SlabLayout},
    matmul::ActivationLayout,
};
use crate::{
    KernelError, Matmul, Op, Program, RegionFormat, RegionId, RegionSpec, Requirements, RowSet, VectorId,
    WeightId,
};

/// A region's place in the arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) region: RegionId,
    pub(super) offset: usize,
    /// Bytes from one row to the next.
    pub(super) row_bytes: usize,
    pub(super) columns: usize,
    pub(super) rows: RowSet,
    pub(super) max_rows: usize,
    pub(super) format: RegionFormat,
}

/// A matmul and where its outputs go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) input: Place,
    pub(super) weight: WeightId,
    pub(super) bias: Option<VectorId>,
    /// Outputs and inputs: the weight is `[n, k]`.
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) out: Place,
    pub(super) accumulate: bool,
}

/// The work of all workers between two barriers.
#[derive(Debug)]
pub(super) struct Pass {
    /// Index of the operation that the pass belongs to.
    pub(super) operation: usize,
    pub(super) work: Work,
    /// Whether, in a step with one row, every worker computes that row for itself (a replicated row): the activations
    /// that the next pass reads.
    pub(super) replicated: bool,
}

/// An operation with its regions placed; fields as in [`Op`].
#[derive(Debug)]
pub(super) enum Work {
    RotaryTable {
        inverse_frequencies: Arc<[f64]>,
        scale: f64,
        out: Place,
    },
    Embed {
        table: WeightId,
        out: Place,
    },
    Gather {
        input: Place,
        out: Place,
    },
    RmsNorm {
        input: Place,
        weight: VectorId,
        eps: f32,
        out: Place,
    },
    /// Quantises f32 rows to int16 activations, in place.
    Round {
        rows: Place,
    },
    Linear {
        parts: Vec<Part>,
    },
    SwiGluLinear {
        gate: Part,
        up: Part,
    },
    RopeAndCacheWrite(RopeAndCacheWrite),
    Attention(Attention),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct RopeAndCacheWrite {
    pub(super) q: Place,
    pub(super) k: Place,
    pub(super) v: Place,
    pub(super) table: Place,
    pub(super) qk_norm: Option<(VectorId, VectorId)>,
    pub(super) eps: f32,
    pub(super) layer: usize,
    pub(super) layout: KvLayout,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Attention {
    pub(super) q: Place,
    pub(super) layer: usize,
    pub(super) scale: f32,
    pub(super) window: Option<usize>,
    pub(super) out: Place,
    pub(super) layout: KvLayout,
}

/// The workspace: each thread's scratch, then with several threads the softmax states of splits and of KV heads
/// (split-KV).
#[derive(Clone, Copy, Debug)]
pub(super) struct Workspace {
    pub(super) offset: usize,
    /// f32 of one thread's scratch: enough for a row of any region in either format, and for attention's kernel.
    pub(super) scratch_elems: usize,
    /// f32 of one state: that of one query's heads that share a KV head.
    pub(super) split_elems: usize,
}

/// A program lowered for a number of threads.
#[derive(Debug)]
pub(super) struct Lowered {
    pub(super) program: Arc<Program>,
    pub(super) passes: Vec<Pass>,
    /// By [`RegionId::index`].
    pub(super) places: Vec<Place>,
    pub(super) workspace: Workspace,
    /// The cache's layout; `None` for a program without a cache.
    pub(super) kv: Option<KvLayout>,
    /// Query heads per KV head.
    pub(super) group: usize,
}

/// A program compiled for [`Cpu`].
pub(super) struct CpuCompiled {
    pub(super) cpu: Cpu,
    pub(super) lowered: Lowered,
    pub(super) slab: SlabLayout,
    pub(super) requirements: Requirements,
}

/// Lowers a program.
///
/// # Errors
/// [`KernelError::Invalid`] if a step may have more work items than the queues can count, [`KernelError::Memory`] if
/// sizes overflow.
pub(super) fn compile(cpu: Cpu, program: Arc<Program>) -> Result<CpuCompiled, KernelError> {
    let threads = cpu.threads();
    // The work-stealing queues count items in 32 bits.
    let heads = program.query_heads() + program.kv().map_or(0, |kv| kv.kv_heads());
    if program.limits().max_tokens.saturating_mul(heads.max(1)) > u32::MAX as usize {
        let problem = format!("{} tokens of {heads} heads", program.limits().max_tokens);
        return Err(KernelError::Invalid { what: "step", problem });
    }
    let slab = SlabLayout::of(&program, threads);
    let row_bytes: Vec<usize> =
        (0..program.regions().len()).map(|index| row_bytes(&program, index)).collect();
    let scratch_elems = scratch_elems(&program, &row_bytes);
    let arena = Plan::pack(regions(&program, &row_bytes, threads, scratch_elems))?;
    let places: Vec<Place> = (0..row_bytes.len())
        .map(|index| place(&program, index, arena.offsets()[index], row_bytes[index]))
        .collect();
    let workspace = Workspace {
        offset: arena.offsets()[places.len()],
        scratch_elems,
        split_elems: split_elems(&program),
    };
    let kv = program.kv().map(|kv| KvLayout::new(*kv, program.limits().cache_blocks));
    let passes = Lowering { program: &program, places: &places, kv }.passes()?;
    let requirements = Requirements::new(slab.parts.clone(), program.kv_bytes(), arena, ALIGN_BYTES);
    requirements.weights_bytes()?;
    let group = group(&program);
    let lowered = Lowered { program, passes, places, workspace, kv, group };
    Ok(CpuCompiled { cpu, lowered, slab, requirements })
}

/// Query heads per KV head.
fn group(program: &Program) -> usize {
    program.kv().map_or(0, |kv| program.query_heads() / kv.kv_heads())
}

/// Bytes from one row of a region to the next: int16 activations that are written as f32 first have room for either
/// form.
fn row_bytes(program: &Program, index: usize) -> usize {
    let spec: &RegionSpec = &program.regions()[index];
    let float_bytes = 4 * spec.columns;
    match spec.format {
        RegionFormat::F32 => float_bytes,
        RegionFormat::Activation16 { pieces } => {
            let rounded_bytes = ActivationLayout { k: spec.columns, pieces }.row_bytes();
            let is_float_first = program.ops().iter().any(|op| {
                !matches!(op, Op::RmsNorm { .. }) && op.writes().iter().any(|out| out.index() == index)
            });
            if is_float_first { float_bytes.max(rounded_bytes) } else { rounded_bytes }
        }
    }
}

/// With fewer KV heads than this in a decode step, `threads` threads share the segments of the keys (split-KV) instead
/// of whole heads.
pub(super) fn split_heads(threads: usize) -> usize {
    4 * threads
}

/// Splits (segments of one KV head's keys) whose partial results are kept before they are merged: with two threads and
/// three KV heads those of 10,000 keys.
pub(super) fn splits(threads: usize) -> usize {
    64 * threads
}

fn scratch_elems(program: &Program, row_bytes: &[usize]) -> usize {
    let columns = program.regions().iter().map(|region| region.columns);
    let rows = row_bytes.iter().map(|bytes| bytes.div_ceil(4));
    let widest = columns.chain(rows).max().unwrap_or(0);
    let attention = program.kv().map_or(0, |kv| attention::scratch_elems(kv.head_dim(), group(program)));
    widest.max(attention).next_multiple_of(ALIGN_BYTES / 4)
}

fn split_elems(program: &Program) -> usize {
    program.kv().map_or(0, |kv| attention::state_elems(kv.head_dim(), group(program)))
}

/// The arena's regions, by [`RegionId::index`], then the workspace, which is live throughout.
fn regions(program: &Program, row_bytes: &[usize], threads: usize, scratch_elems: usize) -> Vec<Region> {
    let region = |((spec, lifetime), row_bytes): ((&RegionSpec, _), &usize)| {
        let bytes = (row_bytes * program.max_rows(spec)).next_multiple_of(ALIGN_BYTES);
        Region::new(spec.name.clone(), spec.category, bytes, ALIGN_BYTES, lifetime)
    };
    let mut regions: Vec<Region> =
        program.regions().iter().zip(program.lifetimes()).zip(row_bytes).map(region).collect();
    let slots = if threads > 1 { splits(threads) + split_heads(threads) } else { 0 };
    let bytes = 4 * (scratch_elems * threads + split_elems(program) * slots);
    let lifetime = (0, program.ops().len().saturating_sub(1));
    regions.push(Region::new("workspace", Category::Workspace, bytes, ALIGN_BYTES, lifetime));
    regions
}

fn place(program: &Program, index: usize, offset: usize, row_bytes: usize) -> Place {
    let spec = &program.regions()[index];
    Place {
        region: RegionId::new(program.id, index),
        offset,
        row_bytes,
        columns: spec.columns,
        rows: spec.rows,
        max_rows: program.max_rows(spec),
        format: spec.format,
    }
}

struct Lowering<'a> {
    program: &'a Program,
    places: &'a [Place],
    kv: Option<KvLayout>,
}

impl Lowering<'_> {
    fn passes(&self) -> Result<Vec<Pass>, KernelError> {
        let mut passes = Vec::new();
        for (operation, op) in self.program.ops().iter().enumerate() {
            passes.push(Pass { operation, work: self.work(op)?, replicated: false });
            if matches!(op, Op::RmsNorm { .. }) {
                continue;
            }
            let is_rounded = |place: &Place| matches!(place.format, RegionFormat::Activation16 { .. });
            for rows in op.writes().into_iter().map(|out| self.place(out)).filter(is_rounded) {
                passes.push(Pass { operation, work: Work::Round { rows }, replicated: false });
            }
        }
        let lifetimes = self.program.lifetimes();
        for index in 1..passes.len() {
            let replicated = self.is_replicated(&passes[index - 1], &passes[index], &lifetimes);
            passes[index - 1].replicated = replicated;
        }
        Ok(passes)
    }

    fn place(&self, region: RegionId) -> Place {
        self.places[region.index()]
    }

    fn part(&self, matmul: &Matmul, out: RegionId, accumulate: bool) -> Part {
        let spec = &self.program.weights()[matmul.weight.index()];
        Part {
            input: self.place(matmul.input),
            weight: matmul.weight,
            bias: matmul.bias,
            n: spec.n,
            k: spec.k,
            out: self.place(out),
            accumulate,
        }
    }

    fn work(&self, op: &Op) -> Result<Work, KernelError> {
        // `program/check.rs` refuses these operations in a program without a cache.
        let layout =
            || self.kv.ok_or(KernelError::Invalid { what: "program", problem: "no KV cache".into() });
        Ok(match op {
            Op::RotaryTable { inverse_frequencies, scale, out } => Work::RotaryTable {
                inverse_frequencies: Arc::clone(inverse_frequencies),
                scale: *scale,
                out: self.place(*out),
            },
            Op::Embed { table, out } => Work::Embed { table: *table, out: self.place(*out) },
            Op::Gather { input, out } => Work::Gather { input: self.place(*input), out: self.place(*out) },
            Op::RmsNorm { input, weight, eps, out } => {
                Work::RmsNorm { input: self.place(*input), weight: *weight, eps: *eps, out: self.place(*out) }
            }
            Op::Linear { parts } => {
                let part = |part: &crate::LinearPart| self.part(&part.matmul, part.out, part.accumulate);
                Work::Linear { parts: parts.iter().map(part).collect() }
            }
            Op::SwiGluLinear { gate, up, out } => {
                Work::SwiGluLinear { gate: self.part(gate, *out, false), up: self.part(up, *out, false) }
            }
            Op::RopeAndCacheWrite { q, k, v, table, qk_norm, eps, layer } => {
                Work::RopeAndCacheWrite(RopeAndCacheWrite {
                    q: self.place(*q),
                    k: self.place(*k),
                    v: self.place(*v),
                    table: self.place(*table),
                    qk_norm: *qk_norm,
                    eps: *eps,
                    layer: *layer,
                    layout: layout()?,
                })
            }
            Op::Attention { q, layer, scale, window, out } => Work::Attention(Attention {
                q: self.place(*q),
                layer: *layer,
                scale: *scale,
                window: *window,
                out: self.place(*out),
                layout: layout()?,
            }),
        })
    }

    /// Whether a pass's row can be replicated: only the next pass reads its activations, and that pass does not write
    /// what this one reads or writes. Each worker can then compute the row for itself, without a barrier.
    fn is_replicated(&self, pass: &Pass, next: &Pass, lifetimes: &[(usize, usize)]) -> bool {
        let (out, touched) = match &pass.work {
            Work::RmsNorm { input, out, .. } => (*out, vec![input.region, out.region]),
            Work::Round { rows } => (*rows, vec![rows.region]),
            _ => return false,
        };
        let parts: Vec<&Part> = match &next.work {
            Work::Linear { parts } => parts.iter().collect(),
            Work::SwiGluLinear { gate, up } => vec![gate, up],
            _ => return false,
        };
        let is_activation = matches!(out.format, RegionFormat::Activation16 { .. });
        let is_read = parts.iter().all(|part| part.input.region == out.region);
        let is_written = parts.iter().any(|part| touched.contains(&part.out.region));
        let is_last = lifetimes[out.region.index()].1 == next.operation;
        let stays = touched.iter().all(|region| lifetimes[region.index()].1 >= next.operation);
        let begins_an_entry =
            self.program.entries().iter().any(|entry| entry.operations.start == next.operation);
        is_activation && is_read && !is_written && is_last && stays && !begins_an_entry
    }
}

//! Lowering a program: operations become launches over places in the arena, and every byte is planned. What an operation
//! leaves as int16 activations it writes as f32 to a scratch region, which lives for that operation alone, and a second launch
//! rounds it; an RMS norm rounds as it writes.

use std::sync::Arc;

use tinyllm_mem::{Category, Plan, Region};

use super::{
    Cuda,
    layout::{ALIGN_BYTES, PieceSteps, Planes},
    slab::{Half, SlabLayout, WeightPlace},
    step_data::{Counts, StepLayout},
    upload,
};
use crate::{
    KernelError, Matmul, Op, Program, RegionFormat, RegionId, Requirements, RowSet, VectorId, WeightId,
};

/// Bytes of the partial results of attention's segments at most, unless one row has more.
const SEGMENT_STATE_BYTES: usize = 2 << 20;

/// Keys of a segment of attention.
pub(super) const SEGMENT: usize = 256;

/// Rows of f32, `[rows][columns]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Floats {
    /// From the arena's first byte.
    pub(super) offset: usize,
    pub(super) columns: usize,
    pub(super) rows: RowSet,
}

/// Rows of int16 activations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Activations {
    pub(super) offset: usize,
    pub(super) planes: Planes,
    pub(super) rows: RowSet,
}

/// A region's place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    Floats(Floats),
    Activations(Activations),
    /// In the step's data: which rotary table.
    RotaryTable(usize),
}

/// What a matmul does with its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Epilogue {
    /// `out = y`.
    Store,
    /// `out = out + y`.
    Add,
    /// `out = silu(out) * y`.
    SiluTimes,
}

/// A matmul of a launch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) weight: WeightId,
    pub(super) bias: Option<VectorId>,
    pub(super) n: usize,
    pub(super) out: Floats,
    pub(super) epilogue: Epilogue,
}

/// One launch, or a few of the same kernel.
#[derive(Debug)]
pub(super) struct Pass {
    /// Index of the operation that it belongs to.
    pub(super) operation: usize,
    pub(super) work: Work,
}

/// An operation with its regions placed; fields as in [`Op`].
#[derive(Debug)]
pub(super) enum Work {
    Embed {
        table: WeightId,
        out: Floats,
    },
    Gather {
        input: Floats,
        out: Floats,
    },
    RmsNorm {
        input: Floats,
        weight: VectorId,
        eps: f32,
        out: Place,
        gathers: bool,
    },
    /// Rounds f32 rows to int16 activations; errors name the region.
    Quantize {
        input: Floats,
        out: Activations,
        region: RegionId,
    },
    /// Matmuls of one input.
    Linear {
        input: Place,
        parts: Vec<Part>,
    },
    /// A SwiGLU of one launch: int8 matrices that share tiles, or floats of one format.
    SwiGlu {
        input: Place,
        gate: Part,
        up: Part,
    },
    RopeAndCacheWrite(RopeAndCacheWrite),
    Attention(Attention),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct RopeAndCacheWrite {
    pub(super) q: Floats,
    pub(super) k: Floats,
    pub(super) v: Floats,
    /// Which rotary table of the step's data.
    pub(super) table: usize,
    pub(super) qk_norm: Option<(VectorId, VectorId)>,
    pub(super) eps: f32,
    pub(super) layer: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Attention {
    pub(super) q: Floats,
    pub(super) layer: usize,
    pub(super) scale: f32,
    pub(super) window: Option<usize>,
    pub(super) out: Floats,
}

/// The backend's own regions of the arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnRegions {
    /// The step's data.
    pub(super) step: usize,
    /// The chunks of uploads.
    pub(super) upload: usize,
    /// Partial results of attention's segments, and how many fit.
    pub(super) states: usize,
    pub(super) state_count: usize,
}

/// Sections of the page-locked slab, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct PinnedLayout {
    pub(super) chunk_bytes: usize,
    /// After the chunks of uploads.
    pub(super) step: usize,
    /// The word that the device leaves where the first input that is not finite was met.
    pub(super) fault: usize,
    pub(super) outputs: usize,
}

/// A program lowered for a device.
#[derive(Debug)]
pub(super) struct Lowered {
    pub(super) program: Arc<Program>,
    pub(super) passes: Vec<Pass>,
    /// By [`RegionId::index`].
    pub(super) places: Vec<Place>,
    pub(super) own: OwnRegions,
    pub(super) pinned: PinnedLayout,
}

/// A program compiled for [`Cuda`].
pub(super) struct CudaCompiled {
    pub(super) cuda: Cuda,
    pub(super) lowered: Lowered,
    pub(super) slab: SlabLayout,
    pub(super) requirements: Requirements,
}

/// Lowers a program.
///
/// # Errors
/// [`KernelError::Invalid`] for a mapped weight, and for sizes that overflow or that kernels cannot count.
pub(super) fn compile(cuda: Cuda, program: Arc<Program>) -> Result<CudaCompiled, KernelError> {
    let slab = SlabLayout::of(&program)?;
    let mut lowering = Lowering::new(&program, &slab)?;
    for (operation, op) in program.ops().iter().enumerate() {
        lowering.operation(operation, op)?;
    }
    let Lowering { passes, regions, .. } = lowering;
    let step_bytes = StepLayout::new(&program, Counts::of_limits(&program.limits()))?.bytes;
    let chunk_bytes = upload::chunk_bytes(program.weights(), program.vectors());
    let last = program.ops().len().saturating_sub(1);
    let (state_bytes, state_count) = segment_states(&program);
    let mut regions = regions;
    let own = regions.len();
    let region = |name: &str, category, bytes: usize, lifetime| {
        Region::new(name, category, bytes.next_multiple_of(ALIGN_BYTES), ALIGN_BYTES, lifetime)
    };
    regions.push(region("step", Category::Workspace, step_bytes, (0, last)));
    // Uploads come between steps, where only what lives from the first operation on is kept.
    regions.push(region("upload", Category::Staging, upload::CHUNKS * chunk_bytes, (0, 0)));
    regions.push(region("attention.states", Category::Workspace, state_bytes, (0, last)));
    let arena = Plan::pack(regions)?;
    let offsets = arena.offsets();
    let own =
        OwnRegions { step: offsets[own], upload: offsets[own + 1], states: offsets[own + 2], state_count };
    let at = |place: Place| match place {
        Place::Floats(floats) => Place::Floats(Floats { offset: offsets[floats.offset], ..floats }),
        Place::Activations(rows) => Place::Activations(Activations { offset: offsets[rows.offset], ..rows }),
        Place::RotaryTable(_) => place,
    };
    let places = lowering.places.iter().map(|place| at(*place)).collect();
    let passes = passes.into_iter().map(|pass| Pass { work: pass.work.placed(&at), ..pass }).collect();

    let output = program.region(program.output());
    let output_bytes = 4 * program.max_rows(output) * output.columns;
    let pinned = PinnedLayout {
        chunk_bytes,
        step: upload::CHUNKS * chunk_bytes,
        fault: upload::CHUNKS * chunk_bytes + step_bytes,
        outputs: upload::CHUNKS * chunk_bytes + step_bytes + ALIGN_BYTES,
    };
    let staging = vec![
        tinyllm_mem::Part::new(Category::Staging, "upload.pinned", pinned.step),
        tinyllm_mem::Part::new(Category::Staging, "step.pinned", pinned.outputs - pinned.step),
        tinyllm_mem::Part::new(output.category, format!("{}.pinned", output.name), output_bytes),
    ];
    let requirements =
        Requirements::new(slab.parts.clone(), program.kv_bytes(), arena, ALIGN_BYTES).with_staging(staging);
    requirements.weights_bytes()?;
    let lowered = Lowered { program, passes, places, own, pinned };
    Ok(CudaCompiled { cuda, lowered, slab, requirements })
}

/// Bytes of attention's partial results, and how many of them there are: for rows of few sequences, whose keys several blocks
/// share.
fn segment_states(program: &Program) -> (usize, usize) {
    let Some(kv) = program.kv() else { return (0, 0) };
    let state = 4 * (kv.head_dim() + 2);
    let segments = (program.limits().max_sequence_blocks * kv.block_tokens()).div_ceil(SEGMENT).max(1);
    let row = segments.saturating_mul(program.query_heads());
    let most = row.saturating_mul(program.limits().max_tokens);
    let count = (SEGMENT_STATE_BYTES / state).max(row).min(most);
    (count * state, count)
}

struct Lowering<'a> {
    program: &'a Program,
    slab: &'a SlabLayout,
    /// Regions of the arena: the program's, then scratch.
    regions: Vec<Region>,
    /// By [`RegionId::index`]; offsets are indices of `regions` until these are packed.
    places: Vec<Place>,
    passes: Vec<Pass>,
}

impl<'a> Lowering<'a> {
    fn new(program: &'a Program, slab: &'a SlabLayout) -> Result<Self, KernelError> {
        let (mut regions, mut places, mut tables) = (Vec::new(), Vec::new(), 0);
        let is_table = |index: usize| {
            program.ops().iter().any(|op| matches!(op, Op::RotaryTable { out, .. } if out.index() == index))
        };
        for (index, (spec, lifetime)) in program.regions().iter().zip(program.lifetimes()).enumerate() {
            let rows = program.max_rows(spec);
            let (place, bytes) = match spec.format {
                RegionFormat::F32 if is_table(index) => {
                    tables += 1;
                    (Place::RotaryTable(tables - 1), Some(0))
                }
                RegionFormat::F32 => {
                    let floats = Floats { offset: index, columns: spec.columns, rows: spec.rows };
                    let bytes = rows.checked_mul(spec.columns).and_then(|values| values.checked_mul(4));
                    (Place::Floats(floats), bytes)
                }
                RegionFormat::Activation16 { pieces } => {
                    let planes = Planes::new(rows, PieceSteps::of_row(pieces, spec.columns)?);
                    let planes = planes.ok_or_else(too_large)?;
                    let rows = spec.rows;
                    (Place::Activations(Activations { offset: index, planes, rows }), Some(planes.bytes))
                }
            };
            let bytes =
                bytes.and_then(|bytes| bytes.checked_next_multiple_of(ALIGN_BYTES)).ok_or_else(too_large)?;
            places.push(place);
            regions.push(Region::new(spec.name.clone(), spec.category, bytes, ALIGN_BYTES, lifetime));
        }
        Ok(Lowering { program, slab, regions, places, passes: Vec::new() })
    }

    fn place(&self, region: RegionId) -> Place {
        self.places[region.index()]
    }

    /// A region that is read as f32.
    fn floats(&self, region: RegionId) -> Result<Floats, KernelError> {
        match self.place(region) {
            Place::Floats(floats) => Ok(floats),
            Place::Activations(_) | Place::RotaryTable(_) => self.wrong(region),
        }
    }

    /// `program/check.rs` refuses these programs before.
    fn wrong<T>(&self, region: RegionId) -> Result<T, KernelError> {
        let name = &self.program.region(region).name;
        Err(KernelError::Invalid { what: "program", problem: format!("{name} has another format") })
    }

    fn table(&self, region: RegionId) -> Result<usize, KernelError> {
        match self.place(region) {
            Place::RotaryTable(index) => Ok(index),
            Place::Floats(_) | Place::Activations(_) => self.wrong(region),
        }
    }

    /// Where an operation writes f32 for a region: there, or in scratch that is rounded afterwards.
    fn written(&mut self, operation: usize, region: RegionId) -> Result<Floats, KernelError> {
        match self.place(region) {
            Place::Floats(floats) => Ok(floats),
            Place::RotaryTable(_) => self.wrong(region),
            Place::Activations(_) => {
                let spec = self.program.region(region);
                let bytes = self.program.max_rows(spec).checked_mul(4 * spec.columns);
                let bytes = bytes.and_then(|bytes| bytes.checked_next_multiple_of(ALIGN_BYTES));
                let lifetime = (operation, operation);
                let name = format!("{}.f32", spec.name);
                let bytes = bytes.ok_or_else(too_large)?;
                self.regions.push(Region::new(name, Category::Workspace, bytes, ALIGN_BYTES, lifetime));
                Ok(Floats { offset: self.regions.len() - 1, columns: spec.columns, rows: spec.rows })
            }
        }
    }

    /// Rounds what was written for a region of int16 activations.
    fn round(&mut self, operation: usize, region: RegionId, written: Floats) {
        if let Place::Activations(out) = self.place(region) {
            self.push(operation, Work::Quantize { input: written, out, region });
        }
    }

    fn push(&mut self, operation: usize, work: Work) {
        self.passes.push(Pass { operation, work });
    }

    fn part(&self, matmul: &Matmul, out: Floats, epilogue: Epilogue) -> Part {
        let n = self.program.weights()[matmul.weight.index()].n;
        Part { weight: matmul.weight, bias: matmul.bias, n, out, epilogue }
    }

    fn operation(&mut self, operation: usize, op: &Op) -> Result<(), KernelError> {
        match op {
            // The step's data has it.
            Op::RotaryTable { .. } => {}
            Op::Embed { table, out } => {
                let floats = self.written(operation, *out)?;
                self.push(operation, Work::Embed { table: *table, out: floats });
                self.round(operation, *out, floats);
            }
            Op::Gather { input, out } => {
                let (input, floats) = (self.floats(*input)?, self.written(operation, *out)?);
                self.push(operation, Work::Gather { input, out: floats });
                self.round(operation, *out, floats);
            }
            Op::RmsNorm { input, weight, eps, out } => {
                let (input, place) = (self.floats(*input)?, self.place(*out));
                let gathers =
                    input.rows == RowSet::Tokens && self.program.region(*out).rows == RowSet::Sampled;
                self.push(
                    operation,
                    Work::RmsNorm { input, weight: *weight, eps: *eps, out: place, gathers },
                );
            }
            Op::Linear { parts } => {
                let mut launches: Vec<(Place, Vec<Part>)> = Vec::new();
                let mut rounded = Vec::new();
                for part in parts {
                    let out = self.written(operation, part.out)?;
                    let epilogue = if part.accumulate { Epilogue::Add } else { Epilogue::Store };
                    rounded.push((part.out, out));
                    let input = self.place(part.matmul.input);
                    let part = self.part(&part.matmul, out, epilogue);
                    let joined = launches.iter_mut().find(|(other, parts)| {
                        *other == input && parts.len() < MAX_PARTS && self.can_share(&parts[0], &part)
                    });
                    match joined {
                        Some((_, parts)) => parts.push(part),
                        None => launches.push((input, vec![part])),
                    }
                }
                for (input, parts) in launches {
                    self.push(operation, Work::Linear { input, parts });
                }
                for (region, floats) in rounded {
                    self.round(operation, region, floats);
                }
            }
            Op::SwiGluLinear { gate, up, out } => {
                let floats = self.written(operation, *out)?;
                let (first, second) =
                    (self.part(gate, floats, Epilogue::Store), self.part(up, floats, Epilogue::SiluTimes));
                let input = self.place(gate.input);
                if self.is_one_launch(gate, up) {
                    self.push(operation, Work::SwiGlu { input, gate: first, up: second });
                } else {
                    self.push(operation, Work::Linear { input, parts: vec![first] });
                    let input = self.place(up.input);
                    self.push(operation, Work::Linear { input, parts: vec![second] });
                }
                self.round(operation, *out, floats);
            }
            Op::RopeAndCacheWrite { q, k, v, table, qk_norm, eps, layer } => {
                let work = RopeAndCacheWrite {
                    q: self.floats(*q)?,
                    k: self.floats(*k)?,
                    v: self.floats(*v)?,
                    table: self.table(*table)?,
                    qk_norm: *qk_norm,
                    eps: *eps,
                    layer: *layer,
                };
                self.push(operation, Work::RopeAndCacheWrite(work));
            }
            Op::Attention { q, layer, scale, window, out } => {
                let (q, floats) = (self.floats(*q)?, self.written(operation, *out)?);
                let work = Attention { q, layer: *layer, scale: *scale, window: *window, out: floats };
                self.push(operation, Work::Attention(work));
                self.round(operation, *out, floats);
            }
        }
        Ok(())
    }

    /// Whether one launch can compute a SwiGLU: int8 matrices share tiles, or floats have one format.
    fn is_one_launch(&self, gate: &Matmul, up: &Matmul) -> bool {
        match (self.slab.weights[gate.weight.index()], self.slab.weights[up.weight.index()]) {
            (WeightPlace::Int8(gate), WeightPlace::Int8(_)) => gate.half == Half::Gate,
            (WeightPlace::Floats { bytes_each: gate, .. }, WeightPlace::Floats { bytes_each: up, .. }) => {
                gate == up
            }
            _ => false,
        }
    }

    /// Whether one launch can compute both: weights of one format and one cut.
    fn can_share(&self, first: &Part, second: &Part) -> bool {
        let spec = |part: &Part| &self.program.weights()[part.weight.index()];
        spec(first).format == spec(second).format && spec(first).k == spec(second).k
    }
}

/// Matmuls of a launch at most: q, k and v.
pub(super) const MAX_PARTS: usize = 3;

impl Work {
    /// The same with its places in the packed arena.
    fn placed(self, at: &impl Fn(Place) -> Place) -> Self {
        let floats = |floats: Floats| match at(Place::Floats(floats)) {
            Place::Floats(floats) => floats,
            _ => floats,
        };
        let activations = |rows: Activations| match at(Place::Activations(rows)) {
            Place::Activations(rows) => rows,
            _ => rows,
        };
        let part = |part: Part| Part { out: floats(part.out), ..part };
        match self {
            Work::Embed { table, out } => Work::Embed { table, out: floats(out) },
            Work::Gather { input, out } => Work::Gather { input: floats(input), out: floats(out) },
            Work::RmsNorm { input, weight, eps, out, gathers } => {
                Work::RmsNorm { input: floats(input), weight, eps, out: at(out), gathers }
            }
            Work::Quantize { input, out, region } => {
                Work::Quantize { input: floats(input), out: activations(out), region }
            }
            Work::Linear { input, parts } => {
                Work::Linear { input: at(input), parts: parts.into_iter().map(part).collect() }
            }
            Work::SwiGlu { input, gate, up } => {
                Work::SwiGlu { input: at(input), gate: part(gate), up: part(up) }
            }
            Work::RopeAndCacheWrite(work) => Work::RopeAndCacheWrite(RopeAndCacheWrite {
                q: floats(work.q),
                k: floats(work.k),
                v: floats(work.v),
                ..work
            }),
            Work::Attention(work) => {
                Work::Attention(Attention { q: floats(work.q), out: floats(work.out), ..work })
            }
        }
    }
}

fn too_large() -> KernelError {
    KernelError::Invalid { what: "region", problem: "its bytes overflow".into() }
}

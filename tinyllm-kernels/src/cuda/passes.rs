//! Queues passes: each is one launch, or a few.

use std::ops::Range;

use super::{
    compile::{Activations, Attention, Floats, Lowered, Part, Pass, Place, RopeAndCacheWrite, Work},
    kernels::{
        Queue,
        attention::{self, Cache, Queries, States},
        matmul::{self, MatmulPart},
        rows::{self, Embed, FaultNote, PlaneAddresses, RmsNorm, RowCount},
    },
    layout::number,
    slab::{SlabLayout, WeightPlace},
    step_data::{StepLayout, StepShape},
};
use crate::{KernelError, KvShape, RowSet, ScaleType, VectorFormat, VectorId};

/// The first bytes of a session's slabs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) weights: u64,
    pub(super) kv: u64,
    pub(super) arena: u64,
}

/// The name of a pass in errors: its first weight, or its region.
pub(super) fn name(lowered: &Lowered, pass: usize) -> String {
    let program = &lowered.program;
    match lowered.passes.get(pass).map(|pass| (&pass.work, pass.operation)) {
        Some((Work::Quantize { region, .. }, _)) => program.region(*region).name.clone(),
        Some((Work::RmsNorm { weight, .. }, _)) => program.vectors()[weight.index()].name.clone(),
        Some((_, operation)) => format!("operation {operation}"),
        None => format!("pass {pass}"),
    }
}

/// Queues some passes for steps of a shape, whose data is laid out so.
///
/// # Errors
/// The driver's.
pub(super) fn run(
    queue: &Queue<'_>,
    lowered: &Lowered,
    slab: &SlabLayout,
    addresses: &Addresses,
    layout: &StepLayout,
    shape: StepShape,
    passes: Range<usize>,
) -> Result<(), KernelError> {
    let runner = Runner { queue, lowered, slab, addresses, layout, shape };
    for index in passes {
        runner.pass(index, &lowered.passes[index])?;
    }
    Ok(())
}

struct Runner<'a> {
    queue: &'a Queue<'a>,
    lowered: &'a Lowered,
    slab: &'a SlabLayout,
    addresses: &'a Addresses,
    layout: &'a StepLayout,
    shape: StepShape,
}

impl Runner<'_> {
    fn pass(&self, index: usize, pass: &Pass) -> Result<(), KernelError> {
        match &pass.work {
            Work::Embed { table, out } => self.embed(table.index(), out),
            Work::Gather { input, out } => rows::gather_rows(
                self.queue,
                self.floats(input),
                self.step_data(self.layout.sampled_rows),
                self.rows(out.rows),
                out.columns as u32,
                self.floats(out),
            ),
            Work::RmsNorm { input, weight, eps, out, gathers } => {
                let (weight, weight_format) = self.vector(*weight);
                let gathered = self.step_data(self.layout.sampled_rows);
                let norm = |out_rows| RmsNorm {
                    input: self.floats(input),
                    source_rows: if *gathers { gathered } else { 0 },
                    rows: self.rows(out_rows),
                    weight,
                    weight_format,
                    eps: *eps,
                    columns: input.columns as u32,
                };
                match out {
                    Place::Floats(out) => norm(out.rows).launch(self.queue, self.floats(out)),
                    Place::Activations(out) => {
                        norm(out.rows).launch_rounded(self.queue, &self.planes(out), &self.fault(index))
                    }
                    Place::RotaryTable(_) => Err(KernelError::Invalid {
                        what: "program",
                        problem: "a norm writes a rotary table".into(),
                    }),
                }
            }
            Work::Quantize { input, out, .. } => rows::round_rows(
                self.queue,
                self.floats(input),
                self.rows(out.rows),
                &self.planes(out),
                &self.fault(index),
            ),
            Work::Linear { input, parts } => {
                let launch: Result<Vec<_>, _> = parts.iter().map(|part| self.part(part, None)).collect();
                self.matmuls(input, parts, &launch?, false)
            }
            Work::SwiGlu { input, gate, up } => {
                self.matmuls(input, &[*gate], &[self.part(gate, Some(up))?], true)
            }
            Work::RopeAndCacheWrite(work) => self.rope_and_cache_write(work),
            Work::Attention(work) => self.attention(work),
        }
    }

    // ---- addresses ----

    fn floats(&self, floats: &Floats) -> u64 {
        self.addresses.arena + floats.offset as u64
    }

    fn planes(&self, rows: &Activations) -> PlaneAddresses {
        let values = self.addresses.arena + rows.offset as u64;
        PlaneAddresses { values, scales: values + rows.planes.scales_offset as u64, cut: rows.planes.cut }
    }

    fn step_data(&self, offset: usize) -> u64 {
        self.addresses.arena + (self.lowered.own.step + offset) as u64
    }

    fn rows(&self, rows: RowSet) -> RowCount {
        match rows {
            RowSet::Tokens => RowCount {
                address: self.step_data(StepLayout::token_count()),
                most: self.shape.counts.tokens as u32,
            },
            RowSet::Sampled => RowCount {
                address: self.step_data(StepLayout::sampled_count()),
                most: self.shape.counts.sampled as u32,
            },
        }
    }

    fn fault(&self, pass: usize) -> FaultNote {
        FaultNote { address: self.step_data(StepLayout::fault()), pass: pass as u32 }
    }

    fn vector(&self, vector: VectorId) -> (u64, VectorFormat) {
        let address = self.addresses.weights + self.slab.vectors[vector.index()] as u64;
        (address, self.lowered.program.vectors()[vector.index()].format)
    }

    // ---- passes ----

    fn embed(&self, table: usize, out: &Floats) -> Result<(), KernelError> {
        let embed = |offset: usize| Embed {
            values: self.addresses.weights + offset as u64,
            token_ids: self.step_data(self.layout.token_ids),
            rows: self.rows(out.rows),
            out: self.floats(out),
        };
        match &self.slab.weights[table] {
            WeightPlace::Int8(place) => {
                let scales = self.addresses.weights + place.scales as u64;
                embed(place.values).int8(self.queue, (scales, place.scale_type), &place.cut)
            }
            WeightPlace::Floats { offset, bytes_each } => {
                let number = if *bytes_each == 2 { ScaleType::F16 } else { ScaleType::F32 };
                embed(*offset).floats(self.queue, number, out.columns as u32)
            }
        }
    }

    /// A part of a launch: a matrix, or a gate with its up.
    fn part(&self, part: &Part, up: Option<&Part>) -> Result<MatmulPart, KernelError> {
        let address = |offset: usize| self.addresses.weights + offset as u64;
        let place = |part: &Part| &self.slab.weights[part.weight.index()];
        let (values, scales_or_up) = match (place(part), up.map(place)) {
            (WeightPlace::Int8(place), _) => (address(place.values), address(place.scales)),
            (WeightPlace::Floats { offset, .. }, Some(WeightPlace::Floats { offset: up, .. })) => {
                (address(*offset), address(*up))
            }
            (WeightPlace::Floats { offset, .. }, _) => (address(*offset), 0),
        };
        let bias = |part: Option<&Part>| match part.and_then(|part| part.bias) {
            Some(bias) => (self.vector(bias).0, self.vector(bias).1.into()),
            None => (0, ScaleType::F32),
        };
        let ((bias, bias_type), (up_bias, up_bias_type)) = (bias(Some(part)), bias(up));
        let launch = MatmulPart {
            values,
            scales_or_up,
            bias,
            up_bias,
            out: self.floats(&part.out),
            outputs: number(part.n)?,
            ..MatmulPart::default()
        };
        Ok(launch.with_epilogue(part.epilogue).with_bias_types(bias_type, up_bias_type))
    }

    /// Matmuls of one launch, whose weights have the format of the first.
    fn matmuls(
        &self,
        input: &Place,
        parts: &[Part],
        launch: &[MatmulPart],
        is_gated: bool,
    ) -> Result<(), KernelError> {
        let Some(first) = parts.first() else { return Ok(()) };
        match (input, &self.slab.weights[first.weight.index()]) {
            (Place::Activations(input), WeightPlace::Int8(place)) => {
                // The weights' groups, over the input's pieces.
                let planes = PlaneAddresses { cut: place.cut, ..self.planes(input) };
                matmul::int8(self.queue, launch, place.scale_type, &planes, self.rows(input.rows), is_gated)
            }
            (Place::Floats(input), WeightPlace::Floats { .. }) => {
                let format = self.lowered.program.weights()[first.weight.index()].format;
                let operand = (self.floats(input), number(input.columns)?);
                matmul::floats(self.queue, launch, format, operand, self.rows(input.rows), is_gated)
            }
            _ => {
                let problem = "a matmul's input has another format than its weights read".into();
                Err(KernelError::Invalid { what: "program", problem })
            }
        }
    }

    /// A layer of the cache.
    fn cache(&self, kv: &KvShape, layer: usize) -> Cache {
        let block_bytes = kv.block_bytes() as u64;
        Cache {
            blocks: self.addresses.kv,
            block_bytes,
            layer_offset: block_bytes / kv.layers() as u64 * layer as u64,
            block_tables: self.step_data(self.layout.block_tables),
            table_stride: self.lowered.program.limits().max_sequence_blocks as u32,
            block_tokens: kv.block_tokens() as u32,
            kv_heads: kv.kv_heads() as u32,
            head_dim: kv.head_dim() as u32,
        }
    }

    /// `program/check.rs` refuses these operations without one.
    fn kv(&self) -> Result<&KvShape, KernelError> {
        let missing = || KernelError::Invalid { what: "program", problem: "no KV cache".into() };
        self.lowered.program.kv().ok_or_else(missing)
    }

    fn rope_and_cache_write(&self, work: &RopeAndCacheWrite) -> Result<(), KernelError> {
        let kv = self.kv()?;
        let norms = work.qk_norm.map(|(q, k)| (self.vector(q), self.vector(k)));
        let write = attention::RopeAndCacheWrite {
            q: self.floats(&work.q),
            k: self.floats(&work.k),
            v: self.floats(&work.v),
            table: self.step_data(self.layout.rotary_tables[work.table]),
            heads: self.lowered.program.query_heads() as u32,
            norms: norms.map_or([0, 0], |(q, k)| [q.0, k.0]),
            norm_format: norms.map_or(VectorFormat::F32, |(q, _)| q.1),
            eps: work.eps,
            row_sequences: self.step_data(self.layout.row_sequences),
            row_positions: self.step_data(self.layout.row_positions),
            rows: self.rows(RowSet::Tokens),
        };
        write.launch(self.queue, &self.cache(kv, work.layer), kv.format())
    }

    fn attention(&self, work: &Attention) -> Result<(), KernelError> {
        let kv = self.kv()?;
        let heads = self.lowered.program.query_heads();
        let rows = self.rows(work.out.rows);
        let gathers = work.out.rows == RowSet::Sampled;
        let queries = Queries {
            q: self.floats(&work.q),
            out: self.floats(&work.out),
            source_rows: if gathers { self.step_data(self.layout.sampled_rows) } else { 0 },
            rows: rows.address,
            row_sequences: self.step_data(self.layout.row_sequences),
            row_positions: self.step_data(self.layout.row_positions),
            group: (heads / kv.kv_heads()) as u32,
            window: work.window.map_or(0, |window| u32::try_from(window).unwrap_or(0)),
            scale: work.scale * std::f32::consts::LOG2_E,
            unused: 0,
        };
        // Few rows of long sequences: their segments are shared out, where the partial results fit.
        let segments = self.shape.segments;
        let states = (rows.most as usize).saturating_mul(heads).saturating_mul(segments);
        let is_split = segments > 1 && states <= self.lowered.own.state_count;
        let states = is_split.then(|| States {
            address: self.addresses.arena + self.lowered.own.states as u64,
            segments: segments as u32,
        });
        attention::attention(
            self.queue,
            &queries,
            rows.most,
            &self.cache(kv, work.layer),
            kv.format(),
            states,
        )
    }
}

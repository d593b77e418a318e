//! Weights on the processor: panels in one slab, or a mapped file's own rows; filled in parallel, panel by panel.

use std::sync::Mutex;

use half::f16;
use tinyllm_mem::Buffer;

use super::{
    layout::{PANEL, SlabLayout},
    products::{self, WeightView},
    team::Team,
    vector::VectorView,
};
use crate::{
    FloatRows, GroupSize, KernelError, MappedWeight, Program, QuantizedRows, ScaleType, VectorFormat,
    VectorId, VectorSpec, WeightFormat, WeightId, WeightSource, WeightSpec, quantize,
};

/// A program's weights in a slab.
#[derive(Debug)]
pub struct CpuWeights {
    slab: Buffer<u8>,
    layout: SlabLayout,
    specs: Vec<WeightSpec>,
    vectors: Vec<VectorSpec>,
    mapped: Vec<Option<MappedWeight>>,
}

impl CpuWeights {
    pub(super) fn new(program: &Program, slab: Buffer<u8>) -> Result<Self, KernelError> {
        let layout = SlabLayout::of(program);
        if slab.len() < layout.bytes {
            return Err(KernelError::Invalid {
                what: "weights slab",
                problem: format!("{} bytes where {} are needed", slab.len(), layout.bytes),
            });
        }
        Ok(CpuWeights {
            slab,
            layout,
            specs: program.weights().to_vec(),
            vectors: program.vectors().to_vec(),
            mapped: vec![None; program.weights().len()],
        })
    }

    /// A weight, ready for products.
    pub(super) fn view(&self, weight: WeightId) -> WeightView<'_> {
        let spec = &self.specs[weight.index()];
        let (n, k) = (spec.n, spec.k);
        match (spec.format, &self.layout.weights[weight.index()], &self.mapped[weight.index()]) {
            (WeightFormat::W8A16 { group_size, scales }, None, Some(mapped)) => {
                let bytes = mapped.file.bytes();
                WeightView::RowMajor(products::RowMajor {
                    values: &bytes[mapped.values.clone()],
                    row_bytes: mapped.row_bytes,
                    offset_binary: mapped.offset_binary,
                    scales: &mapped.scales_file.bytes()[mapped.scales.clone()],
                    scale_type: scales,
                    n,
                    k,
                    group_size,
                })
            }
            (WeightFormat::W8A16 { group_size, scales }, Some(place), _) => {
                let slab = self.slab.as_slice();
                WeightView::Panels(products::Panels {
                    values: bytemuck::cast_slice(&slab[place.values.clone()]),
                    scales: &slab[place.scales.clone()],
                    scale_type: scales,
                    n,
                    k,
                    group_size,
                })
            }
            (WeightFormat::F16, Some(place), _) => {
                let values = bytemuck::cast_slice(&self.slab.as_slice()[place.values.clone()]);
                WeightView::F16(products::FloatPanels { values, n, k })
            }
            (WeightFormat::F32, Some(place), _) => {
                let values = bytemuck::cast_slice(&self.slab.as_slice()[place.values.clone()]);
                WeightView::F32(products::FloatPanels { values, n, k })
            }
            // A mapped weight that was never uploaded has no rows; `Cpu::prepare` refuses it before anything reads it.
            _ => WeightView::F32(products::FloatPanels { values: &[], n: 0, k }),
        }
    }

    pub(super) fn vector(&self, vector: VectorId) -> VectorView<'_> {
        let bytes = &self.slab.as_slice()[self.layout.vectors[vector.index()].clone()];
        match self.vectors[vector.index()].format {
            VectorFormat::F16 => VectorView::F16(bytemuck::cast_slice(bytes)),
            VectorFormat::F32 => VectorView::F32(bytemuck::cast_slice(bytes)),
        }
    }

    /// The first weight that was to be mapped and was not uploaded.
    pub(super) fn missing(&self) -> Option<&str> {
        let places = self.layout.weights.iter().zip(&self.mapped);
        let missing =
            places.zip(&self.specs).find(|((place, mapped), _)| place.is_none() && mapped.is_none());
        missing.map(|(_, spec)| spec.name.as_str())
    }

    pub(super) fn upload(
        &mut self,
        team: &Team,
        weight: WeightId,
        source: WeightSource<'_>,
    ) -> Result<(), KernelError> {
        let spec = self.specs[weight.index()].clone();
        let mismatch = |problem: String| KernelError::Source { name: spec.name.clone(), problem };
        let shape = match &source {
            WeightSource::Float(rows) => rows.shape(),
            WeightSource::Quantized(rows) => rows.shape(),
            WeightSource::Mapped(mapped) => (mapped.values.len() / mapped.row_bytes.max(1), spec.k),
        };
        if shape != (spec.n, spec.k) {
            return Err(mismatch(format!("shape {shape:?} where {:?} is needed", (spec.n, spec.k))));
        }
        if let WeightSource::Mapped(mapped) = source {
            self.mapped[weight.index()] = Some(mapped.clone());
            return Ok(());
        }
        let Some(place) = self.layout.weights[weight.index()].clone() else {
            return Err(mismatch("the program wants it mapped".into()));
        };
        let slab = self.slab.as_mut_slice();
        let (before_scales, scales) = slab.split_at_mut(place.scales.start.max(place.values.end));
        let values = &mut before_scales[place.values.clone()];
        let scales_len = place.scales.len();
        let scales = &mut scales[..scales_len];
        let panels = spec.n.div_ceil(PANEL);
        if panels == 0 || spec.k == 0 {
            return Ok(());
        }
        let value_panels = values.chunks_mut(values.len() / panels);
        let scale_panels = chunks(scales, panels);
        let tasks: Vec<Mutex<Task<'_>>> = value_panels
            .zip(scale_panels)
            .enumerate()
            .map(|(panel, (values, scales))| {
                let first = panel * PANEL;
                Mutex::new(Task { rows: first..(first + PANEL).min(spec.n), values, scales })
            })
            .collect();
        let failure: Mutex<Option<(usize, KernelError)>> = Mutex::new(None);
        team.for_each(tasks.len(), |panel| {
            // Each panel is one task and is taken once; a poisoned lock means the run is unwinding anyway.
            let Ok(mut task) = tasks[panel].lock() else { return };
            let result = match source {
                WeightSource::Float(rows) => task.fill_from_floats(&spec, rows),
                WeightSource::Quantized(rows) => task.fill_from_quantized(&spec, rows),
                WeightSource::Mapped(_) => Ok(()),
            };
            if let (Err(error), Ok(mut first)) = (result, failure.lock())
                && first.as_ref().is_none_or(|(earlier, _)| panel < *earlier)
            {
                *first = Some((panel, error));
            }
        });
        match failure.into_inner() {
            Ok(Some((_, error))) => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn upload_vector(&mut self, vector: VectorId, values: &[f32]) -> Result<(), KernelError> {
        let spec = &self.vectors[vector.index()];
        if values.len() != spec.len {
            return Err(KernelError::Source {
                name: spec.name.clone(),
                problem: format!("{} elements where {} are needed", values.len(), spec.len),
            });
        }
        check_finite(&spec.name, 0, values)?;
        let bytes = &mut self.slab.as_mut_slice()[self.layout.vectors[vector.index()].clone()];
        match spec.format {
            VectorFormat::F32 => bytemuck::cast_slice_mut::<u8, f32>(bytes).copy_from_slice(values),
            VectorFormat::F16 => {
                for (column, (out, value)) in
                    bytemuck::cast_slice_mut::<u8, f16>(bytes).iter_mut().zip(values).enumerate()
                {
                    *out = to_f16(&spec.name, 0, column, *value)?;
                }
            }
        }
        Ok(())
    }
}

/// `panels` equal pieces, empty ones where there is nothing to cut.
fn chunks(bytes: &mut [u8], panels: usize) -> Box<dyn Iterator<Item = &mut [u8]> + '_> {
    match bytes.len() / panels {
        0 => Box::new((0..panels).map(|_| Default::default())),
        size => Box::new(bytes.chunks_mut(size)),
    }
}

/// One panel of a matrix to fill.
struct Task<'a> {
    rows: std::ops::Range<usize>,
    values: &'a mut [u8],
    scales: &'a mut [u8],
}

impl Task<'_> {
    fn fill_from_floats(&mut self, spec: &WeightSpec, source: &dyn FloatRows) -> Result<(), KernelError> {
        let k = spec.k;
        let mut rows = vec![0.0f32; self.rows.len() * k];
        source.read(self.rows.clone(), &mut rows)?;
        for (index, row) in rows.chunks(k).enumerate() {
            check_finite(&spec.name, self.rows.start + index, row)?;
        }
        match spec.format {
            WeightFormat::W8A16 { group_size, .. } => self.quantize(spec, group_size, &rows),
            WeightFormat::F16 => {
                let panel: &mut [f16] = bytemuck::cast_slice_mut(self.values);
                for (lane, row) in rows.chunks(k).enumerate() {
                    for (column, value) in row.iter().enumerate() {
                        panel[column * PANEL + lane] =
                            to_f16(&spec.name, self.rows.start + lane, column, *value)?;
                    }
                }
                Ok(())
            }
            WeightFormat::F32 => {
                let panel: &mut [f32] = bytemuck::cast_slice_mut(self.values);
                for (lane, row) in rows.chunks(k).enumerate() {
                    for (column, value) in row.iter().enumerate() {
                        panel[column * PANEL + lane] = *value;
                    }
                }
                Ok(())
            }
        }
    }

    fn quantize(
        &mut self,
        spec: &WeightSpec,
        group_size: GroupSize,
        rows: &[f32],
    ) -> Result<(), KernelError> {
        let k = spec.k;
        let groups = group_size.groups(k);
        let mut q = vec![0i8; self.rows.len() * k];
        let mut scales = vec![f16::ZERO; self.rows.len() * groups];
        for (index, row) in rows.chunks(k).enumerate() {
            quantize::quantize_row(
                &spec.name,
                self.rows.start + index,
                row,
                group_size.elements(k),
                &mut q[index * k..][..k],
                &mut scales[index * groups..][..groups],
            )?;
        }
        products::pack_values(bytemuck::cast_slice(&q), k, k, false, bytemuck::cast_slice_mut(self.values));
        products::pack_scales(bytemuck::cast_slice(&scales), groups, ScaleType::F16, self.scales);
        Ok(())
    }

    fn fill_from_quantized(
        &mut self,
        spec: &WeightSpec,
        source: &dyn QuantizedRows,
    ) -> Result<(), KernelError> {
        let raw = source.raw();
        let (n, k) = (spec.n, spec.k);
        match spec.format {
            WeightFormat::W8A16 { group_size, scales } => {
                let groups = group_size.groups(k);
                let values = &raw.values[self.rows.start * raw.row_bytes..self.rows.end * raw.row_bytes];
                let row_scales = groups * scales.size_bytes();
                if raw.scales.len() != n * row_scales {
                    return Err(KernelError::Source {
                        name: spec.name.clone(),
                        problem: format!(
                            "{} bytes of scales where {} are needed",
                            raw.scales.len(),
                            n * row_scales
                        ),
                    });
                }
                products::pack_values(
                    values,
                    raw.row_bytes,
                    k,
                    raw.offset_binary,
                    bytemuck::cast_slice_mut(self.values),
                );
                let row_range = self.rows.start * row_scales..self.rows.end * row_scales;
                products::pack_scales(&raw.scales[row_range], groups, scales, self.scales);
            }
            WeightFormat::F16 | WeightFormat::F32 => {
                return Err(KernelError::Source {
                    name: spec.name.clone(),
                    problem: "int8 rows cannot fill a floating-point weight".into(),
                });
            }
        }
        source.consumed(self.rows.clone());
        Ok(())
    }
}

fn check_finite(name: &str, row: usize, values: &[f32]) -> Result<(), KernelError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(column) => {
            Err(KernelError::NonFiniteWeight { name: name.into(), row, column, value: values[column] })
        }
    }
}

fn to_f16(name: &str, row: usize, column: usize, value: f32) -> Result<f16, KernelError> {
    let rounded = f16::from_f32(value);
    if rounded.is_finite() {
        return Ok(rounded);
    }
    Err(KernelError::F16Overflow { name: name.into(), row, group: column, value })
}

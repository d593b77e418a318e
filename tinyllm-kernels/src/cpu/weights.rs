//! Weights on the processor: panels in one slab, or a mapped file's own rows. How panels are filled is in `fill`.

use half::f16;
use tinyllm_mem::Buffer;

use super::{
    fill::{self, check_finite, to_f16},
    layout::{PanelLayout, SlabLayout, Stretch},
    products::{self, WeightView},
    team::Team,
    vector::VectorView,
};
use crate::{
    Isa, KernelError, MappedWeight, Program, VectorFormat, VectorId, VectorSpec, WeightFormat, WeightId,
    WeightSource, WeightSpec,
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
    /// In the layout for a team of `members`.
    pub(super) fn new(program: &Program, slab: Buffer<u8>, members: usize) -> Result<Self, KernelError> {
        let layout = SlabLayout::of(program, members);
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
            (WeightFormat::W8A16 { group_size, scales }, Some(stretches), _) => {
                WeightView::Panels(products::Panels {
                    slab: self.slab.as_slice(),
                    stretches,
                    layout: PanelLayout { k, group_size, scale_type: scales },
                    n,
                })
            }
            (WeightFormat::F16, Some(stretches), _) => {
                let values = bytemuck::cast_slice(self.only(stretches));
                WeightView::F16(products::FloatPanels { values, n, k })
            }
            (WeightFormat::F32, Some(stretches), _) => {
                let values = bytemuck::cast_slice(self.only(stretches));
                WeightView::F32(products::FloatPanels { values, n, k })
            }
            // A mapped weight that was never uploaded has no rows; `Cpu::prepare` refuses it before anything reads it.
            _ => WeightView::F32(products::FloatPanels { values: &[], n: 0, k }),
        }
    }

    /// The bytes of a weight that lies in one stretch.
    fn only(&self, stretches: &[Stretch]) -> &[u8] {
        stretches.first().map_or(&[], |stretch| &self.slab.as_slice()[stretch.bytes.clone()])
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
        isa: Isa,
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
        let Some(stretches) = &self.layout.weights[weight.index()] else {
            return Err(mismatch("the program wants it mapped".into()));
        };
        if spec.n == 0 || spec.k == 0 {
            return Ok(());
        }
        // Stretches follow each other in the slab as their panels do in the weight.
        let (mut rest, mut at) = (self.slab.as_mut_slice(), 0);
        let mut panels = Vec::with_capacity(stretches.len());
        for Stretch { first_panel, bytes } in stretches {
            let (stretch, after) = rest[bytes.start - at..].split_at_mut(bytes.len());
            panels.push((*first_panel, stretch));
            (rest, at) = (after, bytes.end);
        }
        fill::fill(team, isa, &spec, panels, source)
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

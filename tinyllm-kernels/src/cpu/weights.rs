//! Weights on the processor: panels in one slab, or a source's own rows, for good or until they are loaded. How panels
//! are filled is in `fill`.

use std::{fmt, ops::Range, sync::Arc};

use half::f16;
use tinyllm_mem::Buffer;

use super::{
    fill::fill,
    finite::{check_finite, check_rows, to_f16},
    layout::{ALIGN_BYTES, PANEL, PanelLayout, SlabLayout, Stretch, WeightBytes},
    products::{self, WeightView},
    team::Team,
    vector::VectorView,
};
use crate::{
    FloatRows, Isa, KernelError, MappedWeight, Program, QuantizedLayout, QuantizedRows, ScaleType,
    VectorFormat, VectorId, VectorSpec, WeightFormat, WeightId, WeightSource, WeightSpec, program::ProgramId,
    quantize::VanishedGroups,
};

/// A program's weights in a slab.
#[derive(Debug)]
pub struct CpuWeights {
    program: ProgramId,
    /// Threads whose tracks the layout has.
    members: usize,
    slab: Buffer<u8>,
    layout: SlabLayout,
    specs: Vec<WeightSpec>,
    vectors: Vec<VectorSpec>,
    /// The sources of weights that are read there, or were until they were loaded.
    sources: Vec<Option<Kept>>,
    /// How far loading has come: the weight, and how many of its panels are there.
    loaded: (usize, usize),
    /// Groups that have vanished in what is loaded; a weight that was loaded in parts may be there several times.
    vanished: Vec<VanishedGroups>,
}

/// A source that a weight keeps.
enum Kept {
    Rows(MappedWeight),
    Floats(Arc<dyn FloatRows>),
}

impl Kept {
    /// To fill panels from.
    fn source(&self) -> WeightSource<'_> {
        match self {
            Kept::Rows(rows) => WeightSource::Quantized(rows),
            Kept::Floats(rows) => WeightSource::Float(rows.as_ref()),
        }
    }

    /// Gives back the pages in which some of its rows were read where they lie.
    fn drop_pages(&self, rows: Range<usize>) {
        match self {
            Kept::Rows(source) => source.drop_pages(rows),
            Kept::Floats(_) => {}
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kept::Rows(rows) => formatter.debug_tuple("Rows").field(rows).finish(),
            Kept::Floats(rows) => formatter.debug_tuple("Floats").field(&rows.shape()).finish(),
        }
    }
}

impl CpuWeights {
    /// In the layout for a team of `members`.
    pub(super) fn new(program: &Program, slab: Buffer<u8>, members: usize) -> Result<Self, KernelError> {
        let layout = SlabLayout::of(program, members);
        let problem = if slab.len() < layout.bytes {
            Some(format!("{} bytes where {} are needed", slab.len(), layout.bytes))
        } else if !(slab.address() as usize).is_multiple_of(ALIGN_BYTES) {
            Some(format!("not aligned to {ALIGN_BYTES} bytes"))
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(KernelError::Invalid { what: "weights slab", problem });
        }
        Ok(CpuWeights {
            program: program.id,
            members,
            slab,
            layout,
            specs: program.weights().to_vec(),
            vectors: program.vectors().to_vec(),
            sources: program.weights().iter().map(|_| None).collect(),
            loaded: (0, 0),
            vanished: Vec::new(),
        })
    }

    /// Whether they were made for this program and this many threads.
    pub(super) fn is_for(&self, program: &Program, members: usize) -> bool {
        self.program == program.id && self.members == members
    }

    /// Refuses another program's ids.
    fn check_id(&self, is_of_program: bool) -> Result<(), KernelError> {
        if is_of_program {
            return Ok(());
        }
        Err(KernelError::Invalid { what: "id", problem: "it names a weight of another program".into() })
    }

    /// A weight, ready for products.
    pub(super) fn view(&self, weight: WeightId) -> WeightView<'_> {
        let spec = &self.specs[weight.index()];
        let (n, k) = (spec.n, spec.k);
        match (spec.format, &self.layout.weights[weight.index()], self.kept(weight.index())) {
            (WeightFormat::W8A16 { group_size, scales }, _, Some(Kept::Rows(mapped))) => {
                let QuantizedLayout { row_bytes, offset_binary, .. } = mapped.layout();
                WeightView::RowMajor(products::RowMajor {
                    values: mapped.values().into(),
                    row_bytes,
                    offset_binary,
                    scales: mapped.scales().into(),
                    scale_type: scales,
                    n,
                    k,
                    group_size,
                })
            }
            (WeightFormat::W8A16 { group_size, .. }, _, Some(Kept::Floats(rows))) => {
                WeightView::Floats(products::Floats {
                    rows: rows.as_ref(),
                    name: &spec.name,
                    n,
                    k,
                    group_size,
                })
            }
            (WeightFormat::W8A16 { group_size, scales }, Some(stretches), None) => {
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
        let places = self.layout.weights.iter().zip(&self.sources);
        let missing =
            places.zip(&self.specs).find(|((place, source), _)| place.is_none() && source.is_none());
        missing.map(|(_, spec)| spec.name.as_str())
    }

    pub(super) fn upload(
        &mut self,
        team: &Team,
        isa: Isa,
        weight: WeightId,
        source: WeightSource<'_>,
    ) -> Result<(), KernelError> {
        self.check_id(weight.is_of(self.program))?;
        let spec = self.specs[weight.index()].clone();
        let mismatch = |problem: String| KernelError::Source { name: spec.name.clone(), problem };
        let shape = match &source {
            WeightSource::Float(rows) => rows.shape(),
            WeightSource::Quantized(rows) => rows.shape(),
            WeightSource::Mapped(mapped) => mapped.shape(),
            WeightSource::Shared(rows) => rows.shape(),
        };
        if shape != (spec.n, spec.k) {
            return Err(mismatch(format!("shape {shape:?} where {:?} is needed", (spec.n, spec.k))));
        }
        match &source {
            WeightSource::Quantized(rows) => check_rows(&spec, *rows)?,
            WeightSource::Mapped(rows) => check_rows(&spec, *rows)?,
            WeightSource::Float(_) | WeightSource::Shared(_) => {}
        }
        let placed = self.layout.weights[weight.index()].is_some();
        match (source, spec.format) {
            (WeightSource::Mapped(mapped), WeightFormat::W8A16 { .. }) => {
                self.sources[weight.index()] = Some(Kept::Rows(mapped.clone()));
                Ok(())
            }
            (WeightSource::Shared(rows), WeightFormat::W8A16 { scales: ScaleType::F16, .. }) if placed => {
                self.sources[weight.index()] = Some(Kept::Floats(Arc::clone(rows)));
                Ok(())
            }
            (WeightSource::Mapped(_) | WeightSource::Shared(_), format) => {
                Err(mismatch(format!("rows are not kept for a weight of {format:?}")))
            }
            _ if !placed => Err(mismatch("the program wants it mapped".into())),
            _ => {
                let panels = 0..spec.n.div_ceil(PANEL);
                let stretches = stretches(&mut self.slab, &self.layout, &spec, weight.index(), panels);
                self.vanished.retain(|vanished| vanished.weight != spec.name);
                self.vanished.extend(fill(team, isa, &spec, stretches, source)?);
                self.sources[weight.index()] = None;
                Ok(())
            }
        }
    }

    /// Groups that have vanished in what is loaded, one entry a weight.
    pub(super) fn vanished_groups(&self) -> Vec<VanishedGroups> {
        let mut merged: Vec<VanishedGroups> = Vec::new();
        for part in &self.vanished {
            match merged.iter_mut().find(|whole| whole.weight == part.weight) {
                Some(whole) => {
                    whole.count += part.count;
                    whole.row = whole.row.min(part.row);
                }
                None => merged.push(part.clone()),
            }
        }
        merged
    }

    /// The source of a weight that is read there.
    fn kept(&self, weight: usize) -> Option<&Kept> {
        let is_loaded = weight < self.loaded.0 && self.layout.weights[weight].is_some();
        self.sources[weight].as_ref().filter(|_| !is_loaded)
    }

    /// Loads up to `bytes` of what is kept and has a place in the slab, but at least a panel; returns the bytes left.
    pub(super) fn load_more(&mut self, team: &Team, isa: Isa, bytes: usize) -> Result<usize, KernelError> {
        let mut room = bytes.max(1);
        while let (weight, from) = self.loaded
            && weight < self.specs.len()
            && room > 0
        {
            let spec = &self.specs[weight];
            let (panels, panel_bytes) = (spec.n.div_ceil(PANEL), WeightBytes::of(spec).panel(spec).max(1));
            if let (Some(source), true) = (&self.sources[weight], self.layout.weights[weight].is_some()) {
                let to = (from + room.div_ceil(panel_bytes)).min(panels);
                let stretches = stretches(&mut self.slab, &self.layout, spec, weight, from..to);
                self.vanished.extend(fill(team, isa, spec, stretches, source.source())?);
                source.drop_pages(from * PANEL..(to * PANEL).min(spec.n));
                self.loaded.1 = to;
                room = room.saturating_sub((to - from) * panel_bytes);
                if to < panels {
                    break;
                }
            }
            self.loaded = (weight + 1, 0);
        }
        self.let_go();
        Ok(self.unloaded())
    }

    /// Gives back the pages of what is loaded, once more: reading a weight mapped some of its neighbours' again.
    fn let_go(&mut self) {
        let loaded = self.loaded.0;
        let places = self.layout.weights[..loaded].iter().zip(&mut self.sources).zip(&self.specs);
        for ((_, source), spec) in places.filter(|((place, _), _)| place.is_some()) {
            if let Some(source) = source {
                source.drop_pages(0..spec.n);
            }
            if loaded == self.specs.len() {
                *source = None;
            }
        }
    }

    /// Bytes of the slab that are still to be loaded.
    pub(super) fn unloaded(&self) -> usize {
        let waiting = (self.loaded.0..self.specs.len())
            .filter(|weight| self.kept(*weight).is_some() && self.layout.weights[*weight].is_some());
        let bytes = waiting.map(|weight| {
            let spec = &self.specs[weight];
            let loaded = if weight == self.loaded.0 { self.loaded.1 } else { 0 };
            (spec.n.div_ceil(PANEL) - loaded) * WeightBytes::of(spec).panel(spec)
        });
        bytes.sum()
    }

    pub(super) fn upload_vector(&mut self, vector: VectorId, values: &[f32]) -> Result<(), KernelError> {
        self.check_id(vector.is_of(self.program))?;
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

/// The places of a weight's panels, each with the number of its first.
fn stretches<'a>(
    slab: &'a mut Buffer<u8>,
    layout: &SlabLayout,
    spec: &WeightSpec,
    weight: usize,
    panels: Range<usize>,
) -> Vec<(usize, &'a mut [u8])> {
    let panel_bytes = WeightBytes::of(spec).panel(spec);
    // Stretches follow each other in the slab as their panels do in the weight.
    let (mut rest, mut at) = (slab.as_mut_slice(), 0);
    let mut places = Vec::new();
    for stretch in layout.weights[weight].iter().flatten() {
        let Some(Stretch { first_panel, bytes }) = stretch.only(&panels, panel_bytes) else { continue };
        let (place, after) = rest[bytes.start - at..].split_at_mut(bytes.len());
        places.push((first_panel, place));
        (rest, at) = (after, bytes.end);
    }
    places
}

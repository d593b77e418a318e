//! The weights of a session: panels in one slab, or rows read at their source, forever or until `warm_up` fills the
//! panels. `fill` fills panels.

use std::{fmt, ops::Range, sync::Arc};

use half::f16;
use tinyllm_mem::Buffer;

use super::{
    fill::fill,
    layout::{Extent, PANEL, PanelLayout, SlabLayout, WeightBytes},
    matmul::{self, WeightView},
    threads::Pool,
    vector::VectorView,
};
use crate::{
    FloatRows, Isa, Keep, KernelError, Program, QuantizedMatrix, ScaleType, Source, VectorFormat, VectorId,
    VectorSpec, WeightFormat, WeightId, WeightSpec,
    backend::Rows,
    finite::{check_finite, check_rows, to_f16},
    quantize::{VanishedGroups, merged},
};

/// A program's weights in a slab.
#[derive(Debug)]
pub(super) struct CpuWeights {
    slab: Buffer<u8>,
    layout: SlabLayout,
    specs: Vec<WeightSpec>,
    vectors: Vec<VectorSpec>,
    /// Sources of weights that are read in place; kept after loading until all weights are loaded, to release their
    /// pages again.
    sources: Vec<Option<Kept>>,
    /// Which weights, then which vectors, have been uploaded; `None` once all are.
    uploaded: Option<Vec<bool>>,
    /// Progress of `warm_up`: the current weight, and how many of its panels are filled.
    loaded: (usize, usize),
    /// Groups that have vanished, one entry for each part of a weight that was filled.
    vanished: Vec<VanishedGroups>,
}

/// A source that is kept.
enum Kept {
    Quantized(QuantizedMatrix),
    Floats(Arc<dyn FloatRows>),
}

impl Kept {
    /// The source, to fill panels from.
    fn source(&self) -> Source<'_> {
        match self {
            Kept::Quantized(matrix) => Source::quantized(matrix),
            Kept::Floats(rows) => Source::float(rows.as_ref()),
        }
    }

    /// Releases the pages of some mapped rows.
    fn release_pages(&self, rows: Range<usize>) {
        match self {
            Kept::Quantized(matrix) => matrix.release_pages(rows),
            Kept::Floats(_) => {}
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kept::Quantized(matrix) => formatter.debug_tuple("Quantized").field(&matrix.shape()).finish(),
            Kept::Floats(rows) => formatter.debug_tuple("Floats").field(&rows.shape()).finish(),
        }
    }
}

impl CpuWeights {
    /// Weights in a slab of the layout's size and alignment, none uploaded yet.
    pub(super) fn new(program: &Program, slab: Buffer<u8>, layout: SlabLayout) -> Self {
        CpuWeights {
            slab,
            layout,
            specs: program.weights().to_vec(),
            vectors: program.vectors().to_vec(),
            sources: program.weights().iter().map(|_| None).collect(),
            uploaded: Some(vec![false; program.weights().len() + program.vectors().len()]),
            loaded: (0, 0),
            vanished: Vec::new(),
        }
    }

    /// A weight as the matmul kernels read it: panels, or rows at their source.
    pub(super) fn view(&self, weight: WeightId) -> WeightView<'_> {
        let spec = &self.specs[weight.index()];
        let (n, k) = (spec.n, spec.k);
        match (spec.format, &self.layout.weights[weight.index()], self.kept(weight.index())) {
            (WeightFormat::W8A16 { .. }, _, Some(Kept::Quantized(matrix))) => {
                WeightView::RowMajor(matrix.with_bytes(Into::into))
            }
            (WeightFormat::W8A16 { group_size, .. }, _, Some(Kept::Floats(rows))) => {
                WeightView::Floats(matmul::Floats { rows: rows.as_ref(), name: &spec.name, n, k, group_size })
            }
            (WeightFormat::W8A16 { group_size, scales }, Some(extents), None) => {
                WeightView::Panels(matmul::Panels {
                    slab: self.slab.as_slice(),
                    extents,
                    layout: PanelLayout { k, group_size, scale_type: scales },
                    n,
                })
            }
            (WeightFormat::F16, Some(extents), _) => {
                let values = bytemuck::cast_slice(self.only(extents));
                WeightView::F16(matmul::FloatPanels { values, n, k })
            }
            (WeightFormat::F32, Some(extents), _) => {
                let values = bytemuck::cast_slice(self.only(extents));
                WeightView::F32(matmul::FloatPanels { values, n, k })
            }
            // A mapped weight that is not uploaded has no rows; `submit` refuses steps until it is.
            _ => WeightView::F32(matmul::FloatPanels { values: &[], n: 0, k }),
        }
    }

    /// The bytes of a weight that has one extent.
    fn only(&self, extents: &[Extent]) -> &[u8] {
        extents.first().map_or(&[], |extent| &self.slab.as_slice()[extent.bytes.clone()])
    }

    pub(super) fn vector(&self, vector: VectorId) -> VectorView<'_> {
        let bytes = &self.slab.as_slice()[self.layout.vectors[vector.index()].clone()];
        match self.vectors[vector.index()].format {
            VectorFormat::F16 => VectorView::F16(bytemuck::cast_slice(bytes)),
            VectorFormat::F32 => VectorView::F32(bytemuck::cast_slice(bytes)),
        }
    }

    /// The first weight or vector that was not uploaded.
    pub(super) fn missing<'p>(&self, program: &'p Program) -> Option<&'p str> {
        let missing = self.uploaded.as_ref()?.iter().position(|is_uploaded| !is_uploaded)?;
        match program.weights().get(missing) {
            Some(spec) => Some(&spec.name),
            None => Some(&program.vectors()[missing - program.weights().len()].name),
        }
    }

    /// Records an upload; `index` counts weights, then vectors.
    fn note_uploaded(&mut self, index: usize) {
        let Some(uploaded) = &mut self.uploaded else { return };
        uploaded[index] = true;
        if uploaded.iter().all(|is_uploaded| *is_uploaded) {
            self.uploaded = None;
        }
    }

    /// Fills a weight from a source of its shape, or keeps the source.
    pub(super) fn upload(
        &mut self,
        pool: &Pool,
        isa: Isa,
        weight: WeightId,
        source: Source<'_>,
    ) -> Result<(), KernelError> {
        let spec = self.specs[weight.index()].clone();
        let mismatch = |problem: String| KernelError::Source { name: spec.name.clone(), problem };
        if let Rows::Quantized(matrix) = &source.rows {
            check_rows(&spec, matrix)?;
        }
        let placed = self.layout.weights[weight.index()].is_some();
        let is_int8 = matches!(spec.format, WeightFormat::W8A16 { .. });
        let kept = match (source.keep, &source.rows) {
            (Keep::Copy, _) => None,
            (Keep::UntilWarm, Rows::Float(rows)) => {
                let has_scales = matches!(spec.format, WeightFormat::W8A16 { scales: ScaleType::F16, .. });
                rows.shared().filter(|_| placed && has_scales).map(Kept::Floats)
            }
            (Keep::UntilWarm, Rows::Quantized(matrix)) => {
                matrix.kept().filter(|_| placed && is_int8).map(Kept::Quantized)
            }
            (Keep::Forever, Rows::Quantized(matrix)) if !placed && is_int8 => {
                matrix.kept().map(Kept::Quantized)
            }
            (Keep::Forever, _) => None,
        };
        match (kept, source.keep) {
            (Some(kept), _) => self.sources[weight.index()] = Some(kept),
            (None, Keep::Forever) => {
                return Err(mismatch(
                    "only int8 rows of a mapped file are kept, for a weight that is mapped".into(),
                ));
            }
            (None, _) if !placed => return Err(mismatch("the program wants it mapped".into())),
            (None, _) => {
                let panels = 0..spec.n.div_ceil(PANEL);
                let extents = extents(&mut self.slab, &self.layout, &spec, weight.index(), panels);
                self.vanished.retain(|vanished| vanished.weight != spec.name);
                self.vanished.extend(fill(pool, isa, &spec, extents, source)?);
                self.sources[weight.index()] = None;
            }
        }
        self.note_uploaded(weight.index());
        Ok(())
    }

    /// Groups that have vanished in the panels filled so far, one entry a weight.
    pub(super) fn vanished_groups(&self) -> Vec<VanishedGroups> {
        merged(&self.vanished)
    }

    /// The source of a weight that is read in place.
    fn kept(&self, weight: usize) -> Option<&Kept> {
        let is_loaded = weight < self.loaded.0 && self.layout.weights[weight].is_some();
        self.sources[weight].as_ref().filter(|_| !is_loaded)
    }

    /// Fills up to `max_bytes` of panels from kept sources, at least one panel unless that is 0; returns the bytes
    /// left.
    pub(super) fn warm_up(&mut self, pool: &Pool, isa: Isa, max_bytes: usize) -> Result<usize, KernelError> {
        let mut room = max_bytes;
        while let (weight, from) = self.loaded
            && weight < self.specs.len()
            && room > 0
        {
            let spec = &self.specs[weight];
            let (panels, panel_bytes) = (spec.n.div_ceil(PANEL), WeightBytes::of(spec).panel(spec).max(1));
            if let (Some(source), true) = (&self.sources[weight], self.layout.weights[weight].is_some()) {
                let to = (from + room.div_ceil(panel_bytes)).min(panels);
                let extents = extents(&mut self.slab, &self.layout, spec, weight, from..to);
                self.vanished.extend(fill(pool, isa, spec, extents, source.source())?);
                source.release_pages(from * PANEL..(to * PANEL).min(spec.n));
                self.loaded.1 = to;
                room = room.saturating_sub((to - from) * panel_bytes);
                if to < panels {
                    break;
                }
            }
            self.loaded = (weight + 1, 0);
        }
        self.release_pages();
        Ok(self.non_resident_bytes())
    }

    /// Releases the pages of loaded weights again: reading a weight may have made some of its neighbours' pages
    /// resident.
    fn release_pages(&mut self) {
        let loaded = self.loaded.0;
        let places = self.layout.weights[..loaded].iter().zip(&mut self.sources).zip(&self.specs);
        for ((_, source), spec) in places.filter(|((place, _), _)| place.is_some()) {
            if let Some(source) = source {
                source.release_pages(0..spec.n);
            }
            if loaded == self.specs.len() {
                *source = None;
            }
        }
    }

    /// Bytes of the slab that are not filled yet.
    fn non_resident_bytes(&self) -> usize {
        let waiting = (self.loaded.0..self.specs.len())
            .filter(|weight| self.kept(*weight).is_some() && self.layout.weights[*weight].is_some());
        let bytes = waiting.map(|weight| {
            let spec = &self.specs[weight];
            let loaded = if weight == self.loaded.0 { self.loaded.1 } else { 0 };
            (spec.n.div_ceil(PANEL) - loaded) * WeightBytes::of(spec).panel(spec)
        });
        bytes.sum()
    }

    /// Fills a vector from one row of its length.
    pub(super) fn upload_vector(&mut self, vector: VectorId, source: Source<'_>) -> Result<(), KernelError> {
        let spec = &self.vectors[vector.index()];
        let (Rows::Float(rows), Keep::Copy | Keep::UntilWarm) = (source.rows, source.keep) else {
            let problem = "a vector is copied from f32".into();
            return Err(KernelError::Source { name: spec.name.clone(), problem });
        };
        let mut values = vec![0.0; spec.len];
        rows.read(0..1, &mut values)?;
        check_finite(&spec.name, 0, &values)?;
        let bytes = &mut self.slab.as_mut_slice()[self.layout.vectors[vector.index()].clone()];
        match spec.format {
            VectorFormat::F32 => bytemuck::cast_slice_mut::<u8, f32>(bytes).copy_from_slice(&values),
            VectorFormat::F16 => {
                for (column, (out, value)) in
                    bytemuck::cast_slice_mut::<u8, f16>(bytes).iter_mut().zip(&values).enumerate()
                {
                    *out = to_f16(&spec.name, 0, column, *value)?;
                }
            }
        }
        self.note_uploaded(self.specs.len() + vector.index());
        Ok(())
    }
}

/// The extents of some panels of a weight in the slab, each with the index of its first panel.
fn extents<'a>(
    slab: &'a mut Buffer<u8>,
    layout: &SlabLayout,
    spec: &WeightSpec,
    weight: usize,
    panels: Range<usize>,
) -> Vec<(usize, &'a mut [u8])> {
    let panel_bytes = WeightBytes::of(spec).panel(spec);
    // Extents have the same order in the slab as their panels in the weight.
    let (mut rest, mut at) = (slab.as_mut_slice(), 0);
    let mut places = Vec::new();
    for extent in layout.weights[weight].iter().flatten() {
        let Some(Extent { first_panel, bytes }) = extent.only(&panels, panel_bytes) else { continue };
        let (place, after) = rest[bytes.start - at..].split_at_mut(bytes.len());
        places.push((first_panel, place));
        (rest, at) = (after, bytes.end);
    }
    places
}

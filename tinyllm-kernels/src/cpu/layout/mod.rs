//! The weights slab: the place of each weight and vector, and the memory category of its bytes.

mod cut;
mod panel;
mod streams;

use std::ops::Range;

use tinyllm_mem::{Category, Part};

pub(crate) use cut::{MAX_STREAMS, Streams};
pub(crate) use panel::PanelLayout;

use self::streams::StreamLayout;
use crate::{Placement, Program, VectorSpec, WeightFormat, WeightSpec};

/// Outputs of a panel, interleaved.
pub(crate) const PANEL: usize = 16;

/// Alignment of everything in a slab but panels in streams: a cache line, and the widest vector register.
pub(crate) const ALIGN_BYTES: usize = 64;

/// Sizes of a weight in bytes, padding to whole panels included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WeightBytes {
    pub(crate) values: usize,
    pub(crate) scales: usize,
    /// How much of both is padding.
    pub(crate) padding: usize,
}

impl WeightBytes {
    /// Sizes of a weight that is packed into panels.
    pub(crate) fn of(spec: &WeightSpec) -> Self {
        let (n, k) = (spec.n, spec.k);
        let padded_n = n.next_multiple_of(PANEL);
        let (values, scales, logical) = match spec.format {
            WeightFormat::W8A16 { group_size, scales } => {
                let groups = group_size.groups(k) * scales.size_bytes();
                (padded_n * k.next_multiple_of(2), padded_n * groups, n * k + n * groups)
            }
            WeightFormat::F16 => (padded_n * k * 2, 0, n * k * 2),
            WeightFormat::F32 => (padded_n * k * 4, 0, n * k * 4),
        };
        WeightBytes { values, scales, padding: values + scales - logical }
    }

    /// Bytes of one panel.
    pub(crate) fn panel(self, spec: &WeightSpec) -> usize {
        (self.values + self.scales) / spec.n.div_ceil(PANEL).max(1)
    }

    /// Bytes of scales without padding.
    fn logical_scales(spec: &WeightSpec) -> usize {
        match spec.format {
            WeightFormat::W8A16 { group_size, scales } => {
                spec.n * group_size.groups(spec.k) * scales.size_bytes()
            }
            WeightFormat::F16 | WeightFormat::F32 => 0,
        }
    }
}

/// The panel layout of an int8 weight in the slab; `None` for other weights.
fn w8a16(spec: &WeightSpec) -> Option<PanelLayout> {
    match (spec.placement, spec.format) {
        (Placement::Slab, WeightFormat::W8A16 { group_size, scales }) => {
            Some(PanelLayout { k: spec.k, group_size, scale_type: scales })
        }
        _ => None,
    }
}

/// Consecutive panels of a weight that are contiguous in the slab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) first_panel: usize,
    pub(crate) bytes: Range<usize>,
}

impl Extent {
    /// The part of the extent that is among `panels`.
    pub(crate) fn only(&self, panels: &Range<usize>, panel_bytes: usize) -> Option<Extent> {
        let count = self.bytes.len().checked_div(panel_bytes)?;
        let first = panels.start.max(self.first_panel);
        let last = panels.end.min(self.first_panel + count);
        let byte = |panel: usize| self.bytes.start + (panel - self.first_panel) * panel_bytes;
        (first < last).then(|| Extent { first_panel: first, bytes: byte(first)..byte(last) })
    }
}

/// The whole slab.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SlabLayout {
    /// By [`crate::WeightId::index`]: extents in the order of panels and of addresses; `None` for a mapped weight.
    pub(crate) weights: Vec<Option<Vec<Extent>>>,
    /// By [`crate::VectorId::index`].
    pub(crate) vectors: Vec<Range<usize>>,
    /// The slab's parts in reports, by weight and vector. Scales and panel padding are interleaved with the values,
    /// alignment is between weights; both kinds of padding are one part here.
    pub(crate) parts: Vec<Part>,
    pub(crate) bytes: usize,
}

impl SlabLayout {
    /// The layout for `workers` threads: weights that are streamed are in streams, after everything else.
    pub(crate) fn of(program: &Program, workers: usize) -> Self {
        let streams = StreamLayout::of(program.weights(), program.ops(), workers);
        let mut layout = SlabLayout::default();
        for (spec, runs) in program.weights().iter().zip(&streams.runs) {
            let place = match spec.placement {
                Placement::Slab if runs.is_empty() => Some(layout.place_weight(spec)),
                Placement::Slab => {
                    layout.weight_parts(spec, 0);
                    Some(Vec::new())
                }
                Placement::Mapped => None,
            };
            layout.weights.push(place);
        }
        for spec in program.vectors() {
            let place = layout.place_vector(spec);
            layout.vectors.push(place);
        }
        // Panels are read in steps of 32 bytes, half a cache line, and are multiples of 32, so streams need no
        // alignment.
        let mut starts = Vec::with_capacity(streams.lengths.len());
        for length in &streams.lengths {
            starts.push(layout.bytes);
            layout.bytes += length;
        }
        for ((spec, runs), place) in program.weights().iter().zip(&streams.runs).zip(&mut layout.weights) {
            let (Some(panel), Some(place)) = (w8a16(spec), place) else { continue };
            place.extend(runs.iter().map(|run| {
                let start = starts[run.stream] + run.offset;
                let bytes = start..start + run.panels.len() * panel.bytes();
                Extent { first_panel: run.panels.start, bytes }
            }));
        }
        layout
    }

    fn place_weight(&mut self, spec: &WeightSpec) -> Vec<Extent> {
        let bytes = WeightBytes::of(spec);
        let range = self.take(bytes.values + bytes.scales);
        self.weight_parts(spec, self.bytes - range.end);
        vec![Extent { first_panel: 0, bytes: range }]
    }

    /// Adds the parts of a weight, and of `alignment` bytes after it.
    fn weight_parts(&mut self, spec: &WeightSpec, alignment: usize) {
        let bytes = WeightBytes::of(spec);
        let scales = WeightBytes::logical_scales(spec);
        self.part(spec.category, &spec.name, "", bytes.values + bytes.scales - bytes.padding - scales);
        self.part(Category::Scales, &spec.name, ".scales", scales);
        self.part(Category::Padding, &spec.name, ".padding", bytes.padding + alignment);
    }

    fn place_vector(&mut self, spec: &VectorSpec) -> Range<usize> {
        let range = self.take(spec.len * spec.format.size_bytes());
        self.part(spec.category, &spec.name, "", range.len());
        self.part(Category::Padding, &spec.name, ".padding", self.bytes - range.end);
        range
    }

    /// The next `bytes` bytes, aligned.
    fn take(&mut self, bytes: usize) -> Range<usize> {
        let start = self.bytes;
        self.bytes = (start + bytes).next_multiple_of(ALIGN_BYTES);
        start..start + bytes
    }

    fn part(&mut self, category: Category, name: &str, suffix: &str, bytes: usize) {
        if bytes > 0 {
            self.parts.push(Part::new(category, format!("{name}{suffix}"), bytes));
        }
    }
}

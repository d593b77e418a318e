//! Where each weight and vector lies in the weights slab, and what its bytes count as.

mod panel;
mod tracks;

use std::ops::Range;

use tinyllm_mem::{Category, Part};

pub(crate) use panel::PanelLayout;

use self::tracks::Tracks;
use crate::{Placement, Program, VectorSpec, WeightFormat, WeightSpec};

/// Outputs side by side in a panel.
pub(crate) const PANEL: usize = 16;

/// Alignment of everything in a slab, panels on tracks apart: a cache line, and the widest vector.
pub(crate) const ALIGN_BYTES: usize = 64;

/// Sizes of a weight in bytes, tile padding included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WeightBytes {
    pub(crate) values: usize,
    pub(crate) scales: usize,
    /// How much of both is tile padding.
    pub(crate) padding: usize,
}

impl WeightBytes {
    /// Of a weight repacked into panels.
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

    /// Of one panel.
    pub(crate) fn panel(self, spec: &WeightSpec) -> usize {
        (self.values + self.scales) / spec.n.div_ceil(PANEL).max(1)
    }

    /// The bytes that are scales and not padding.
    fn logical_scales(spec: &WeightSpec) -> usize {
        match spec.format {
            WeightFormat::W8A16 { group_size, scales } => {
                spec.n * group_size.groups(spec.k) * scales.size_bytes()
            }
            WeightFormat::F16 | WeightFormat::F32 => 0,
        }
    }
}

/// How a weight's panels look, where it is int8 in the slab.
fn w8a16(spec: &WeightSpec) -> Option<PanelLayout> {
    match (spec.placement, spec.format) {
        (Placement::Slab, WeightFormat::W8A16 { group_size, scales }) => {
            Some(PanelLayout { k: spec.k, group_size, scale_type: scales })
        }
        _ => None,
    }
}

/// Panels of a weight that lie one after another in the slab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) first_panel: usize,
    pub(crate) bytes: Range<usize>,
}

impl Stretch {
    /// What of it is among `panels`.
    pub(crate) fn only(&self, panels: &Range<usize>, panel_bytes: usize) -> Option<Stretch> {
        let count = self.bytes.len().checked_div(panel_bytes)?;
        let first = panels.start.max(self.first_panel);
        let last = panels.end.min(self.first_panel + count);
        let byte = |panel: usize| self.bytes.start + (panel - self.first_panel) * panel_bytes;
        (first < last).then(|| Stretch { first_panel: first, bytes: byte(first)..byte(last) })
    }
}

/// The whole slab.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SlabLayout {
    /// By [`crate::WeightId::index`], in the order of panels and of places; `None` where the file's own bytes are used.
    pub(crate) weights: Vec<Option<Vec<Stretch>>>,
    /// By [`crate::VectorId::index`].
    pub(crate) vectors: Vec<Range<usize>>,
    /// What the bytes count as, by weight and vector. Scales and tile padding lie among the values, alignment between
    /// weights; both paddings are one part here.
    pub(crate) parts: Vec<Part>,
    pub(crate) bytes: usize,
}

impl SlabLayout {
    /// For `members` threads: what they stream lies on tracks, behind everything else.
    pub(crate) fn of(program: &Program, members: usize) -> Self {
        let tracks = Tracks::of(program.weights(), program.ops(), members);
        let mut layout = SlabLayout::default();
        for (spec, pieces) in program.weights().iter().zip(&tracks.pieces) {
            let place = match spec.placement {
                Placement::Slab if pieces.is_empty() => Some(layout.place_weight(spec)),
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
        // Panels are read in steps of half a line and are multiples of it, so tracks need no alignment.
        let mut starts = Vec::with_capacity(tracks.lengths.len());
        for length in &tracks.lengths {
            starts.push(layout.bytes);
            layout.bytes += length;
        }
        for ((spec, pieces), place) in program.weights().iter().zip(&tracks.pieces).zip(&mut layout.weights) {
            let (Some(panel), Some(place)) = (w8a16(spec), place) else { continue };
            place.extend(pieces.iter().map(|piece| {
                let start = starts[piece.track] + piece.offset;
                let bytes = start..start + piece.panels.len() * panel.bytes();
                Stretch { first_panel: piece.panels.start, bytes }
            }));
        }
        layout
    }

    fn place_weight(&mut self, spec: &WeightSpec) -> Vec<Stretch> {
        let bytes = WeightBytes::of(spec);
        let range = self.take(bytes.values + bytes.scales);
        self.weight_parts(spec, self.bytes - range.end);
        vec![Stretch { first_panel: 0, bytes: range }]
    }

    /// Counts a weight, and `alignment` bytes behind it.
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

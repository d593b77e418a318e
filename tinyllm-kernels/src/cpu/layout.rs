//! Where each weight and vector lies in the weights slab, and what its bytes count as.

use std::ops::Range;

use tinyllm_mem::{Category, Part};

use crate::{Placement, Program, VectorSpec, WeightFormat, WeightSpec};

/// Outputs side by side in a panel.
pub(crate) const PANEL: usize = 16;

/// Alignment of everything in a slab: a cache line, and the widest vector.
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

/// A weight's place in the slab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) values: Range<usize>,
    pub(crate) scales: Range<usize>,
}

/// The whole slab.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SlabLayout {
    /// By [`crate::WeightId::index`]; `None` where the file's own bytes are used.
    pub(crate) weights: Vec<Option<Place>>,
    /// By [`crate::VectorId::index`].
    pub(crate) vectors: Vec<Range<usize>>,
    /// What the bytes count as. Tile padding lies inside the values, alignment between them; both are padding here.
    pub(crate) parts: Vec<Part>,
    pub(crate) bytes: usize,
}

impl SlabLayout {
    pub(crate) fn of(program: &Program) -> Self {
        let mut layout = SlabLayout::default();
        for spec in program.weights() {
            let place = (spec.placement == Placement::Slab).then(|| layout.place_weight(spec));
            layout.weights.push(place);
        }
        for spec in program.vectors() {
            let place = layout.place_vector(spec);
            layout.vectors.push(place);
        }
        layout
    }

    fn place_weight(&mut self, spec: &WeightSpec) -> Place {
        let bytes = WeightBytes::of(spec);
        let scales = WeightBytes::logical_scales(spec);
        let values = self.take(bytes.values);
        let scales_range = self.take(bytes.scales);
        let taken = scales_range.end.next_multiple_of(ALIGN_BYTES) - values.start;
        let logical = bytes.values + bytes.scales - bytes.padding;
        self.part(spec.category, &spec.name, "", logical - scales);
        self.part(Category::Scales, &spec.name, ".scales", scales);
        self.part(Category::Padding, &spec.name, ".padding", taken - logical);
        Place { values, scales: scales_range }
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

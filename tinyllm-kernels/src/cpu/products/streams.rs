//! Rows against panels that stream by. A few rows read each weight once, at the speed of memory.
//!
//! For one row or two, two panels are multiplied side by side, each from a stretch of memory of its own that is read
//! from its first byte to its last, so that the processor's own fetching keeps up; asking for lines ahead would only
//! disturb it. More rows take about as long to multiply as to read: one panel at a time, and there asking helps. Integer
//! sums stay in registers for a piece, float accumulators for the whole row. The panels of a column may be of different
//! matrices: what they share is the input.

use std::ops::Range;

use super::{InputView, Output, Panels, ProductInputLayout, block::ROWS};
use crate::{
    Isa, ScaleType,
    cpu::{
        lanes::{Kernel, Lanes, dispatch},
        layout::{PANEL, PanelLayout},
    },
};

/// Panels multiplied side by side for a few rows; sums of one panel and row leave the multipliers waiting.
pub(crate) const MAX_STREAMS: usize = 2;

/// Rows up to which reading takes longer than multiplying.
const FEW_ROWS: usize = 2;

/// How far ahead of the reader the weights of more rows are fetched into the first cache, in bytes.
const PREFETCH_BYTES: usize = 1024;

/// How far ahead into the second, in bytes: more than a memory latency at one core's bandwidth.
const PREFETCH_EARLY_BYTES: usize = 6144;

/// Matrices that share an input at most: queries, keys and values.
const MAX_PARTS: usize = 3;

/// A matrix and where its outputs go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) weight: Panels<'a>,
    pub(crate) output: Output<'a>,
}

/// What an input is multiplied with. All matrices have the same k, group size and type of scales.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Factors<'a> {
    /// One after another: panel 0 is the first part's first.
    Parts { parts: [Part<'a>; MAX_PARTS], count: usize },
    /// `silu(gate) * up`, into the output of `up`: panel i is that of both.
    Gated { gate: Part<'a>, up: Part<'a> },
}

impl<'a> Factors<'a> {
    /// One matrix.
    pub(crate) fn one(part: Part<'a>) -> Self {
        Factors::Parts { parts: [part; MAX_PARTS], count: 1 }
    }

    /// One matrix or several; `None` where one is missing or they do not fit together.
    pub(crate) fn parts(mut all: impl Iterator<Item = Option<Part<'a>>>) -> Option<Self> {
        let first = all.next()??;
        let (mut parts, mut count) = ([first; MAX_PARTS], 1);
        for part in all {
            let part = part.filter(|part| first.weight.fits(&part.weight))?;
            *parts.get_mut(count)? = part;
            count += 1;
        }
        Some(Factors::Parts { parts, count })
    }

    /// A gate and what it opens for; `None` where they do not fit together.
    pub(crate) fn gated(gate: Part<'a>, up: Part<'a>) -> Option<Self> {
        (gate.weight.fits(&up.weight) && gate.weight.n == up.weight.n).then_some(Factors::Gated { gate, up })
    }

    /// Number of panels.
    pub(crate) fn panels(&self) -> usize {
        match self {
            Factors::Parts { parts, count } => parts[..*count].iter().map(|part| part.weight.panels()).sum(),
            Factors::Gated { up, .. } => up.weight.panels(),
        }
    }

    /// How `panels` are read for `rows` rows. For a few each stream follows a track of the slab.
    pub(crate) fn streams(&self, panels: Range<usize>, rows: usize) -> Streams {
        let count = match self {
            Factors::Parts { .. } if rows <= FEW_ROWS => MAX_STREAMS,
            // The gate's stretch and that of what it opens for.
            Factors::Parts { .. } | Factors::Gated { .. } => 1,
        };
        Streams::cut(panels, count)
    }

    /// The streams' panels and what comes after them, nothing without panels.
    pub(crate) fn starts(&self, streams: Streams) -> [&'a [u8]; MAX_STREAMS] {
        let mut starts: [&[u8]; MAX_STREAMS] = [&[]; MAX_STREAMS];
        let width = if streams.panels == 0 { 0 } else { streams.width(0) };
        match self {
            Factors::Parts { parts, count } => {
                for (stretch, start) in starts.iter_mut().enumerate().take(width) {
                    let (part, panel) = part(&parts[..*count], streams.panel(stretch, 0));
                    *start = part.weight.from(panel);
                }
            }
            Factors::Gated { gate, up } if width > 0 => {
                starts = [gate, up].map(|part| part.weight.from(streams.panel(0, 0)));
            }
            Factors::Gated { .. } => {}
        }
        starts
    }
}

/// A range of panels cut into stretches that are read side by side. Column i is the i-th panel of each stretch; the last
/// column may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Streams {
    panels_start: usize,
    panels: usize,
    count: usize,
}

impl Streams {
    /// `panels` in `count` stretches.
    pub(crate) fn cut(panels: Range<usize>, count: usize) -> Self {
        Streams { panels_start: panels.start, panels: panels.len(), count }
    }

    /// The panels of a stretch.
    pub(crate) fn stretch(self, stretch: usize) -> Range<usize> {
        self.panel(stretch, 0)..self.panel(stretch + 1, 0)
    }

    /// Number of columns.
    pub(crate) fn columns(self) -> usize {
        self.panels.div_ceil(self.count)
    }

    /// How many panels a column has.
    pub(crate) fn width(self, column: usize) -> usize {
        if column < self.panels / self.count { self.count } else { self.panels % self.count }
    }

    /// A stretch's panel in a column.
    pub(crate) fn panel(self, stretch: usize, column: usize) -> usize {
        let (len, longer) = (self.panels / self.count, self.panels % self.count);
        self.panels_start + stretch * len + stretch.min(longer) + column
    }
}

/// The outputs in some columns of `streams`, for every row of `input`.
///
/// # Safety
/// The processor has `isa`. `input` is `rows` readable rows in the weights' input format, 4-byte aligned. The panels'
/// slices are as long as n, k and group size say; the streams' panels lie within [`Factors::panels`], `columns` within
/// [`Streams::columns`]. Each output has as many rows of n columns, and nobody else uses those of these panels.
pub(crate) unsafe fn multiply(
    isa: Isa,
    factors: &Factors<'_>,
    streams: Streams,
    columns: Range<usize>,
    input: InputView,
) {
    // SAFETY: this function's terms.
    unsafe { dispatch(isa, StreamKernel { factors, streams, columns, input }) }
}

struct StreamKernel<'a> {
    factors: &'a Factors<'a>,
    streams: Streams,
    columns: Range<usize>,
    input: InputView,
}

impl Kernel for StreamKernel<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let StreamKernel { factors, streams, columns, input } = self;
        let shape = Shape::of(match factors {
            Factors::Parts { parts, .. } => &parts[0].weight,
            Factors::Gated { gate, .. } => &gate.weight,
        });
        for column in columns {
            let (is_pair, panel) = (streams.width(column) == 2, |stretch| streams.panel(stretch, column));
            // SAFETY: the terms of `multiply`.
            unsafe {
                match factors {
                    Factors::Parts { parts, count } => {
                        let source = |stretch| {
                            let (part, panel) = part(&parts[..*count], panel(stretch));
                            Source::of(part, panel)
                        };
                        if is_pair {
                            panels::<L, 2, false>(&[source(0), source(1)], &shape, input);
                        } else {
                            panels::<L, 1, false>(&[source(0)], &shape, input);
                        }
                    }
                    Factors::Gated { gate, up } => {
                        let (gate, up) = (Source::of(gate, panel(0)), Source::of(up, panel(0)));
                        if input.rows <= FEW_ROWS {
                            panels::<L, 2, true>(&[gate, up], &shape, input);
                        } else {
                            // The gate's outputs wait in `out` for a moment, in this core's cache.
                            panels::<L, 1, false>(&[gate], &shape, input);
                            panels::<L, 1, false>(&[up], &shape, input);
                        }
                    }
                }
            }
        }
    }
}

/// A panel to multiply.
#[derive(Clone, Copy)]
struct Source<'a> {
    part: &'a Part<'a>,
    panel: usize,
    bytes: *const u8,
}

impl<'a> Source<'a> {
    #[inline(always)]
    fn of(part: &'a Part<'a>, panel: usize) -> Self {
        Source { part, panel, bytes: part.weight.panel(panel).as_ptr() }
    }
}

/// Panel `index` of matrices one after another: whose it is, and which one there.
#[inline(always)]
fn part<'p, 'a>(parts: &'p [Part<'a>], index: usize) -> (&'p Part<'a>, usize) {
    let (mut part, mut panel) = (0, index);
    while part + 1 < parts.len() && panel >= parts[part].weight.panels() {
        panel -= parts[part].weight.panels();
        part += 1;
    }
    (&parts[part], panel)
}

/// Many rows against one panel after another, so many rows at a time that their inputs stay in the second cache.
///
/// # Safety
/// The terms of [`super::product`].
#[inline(always)]
pub(super) unsafe fn many_rows<L: Lanes>(
    weight: Panels<'_>,
    range: Range<usize>,
    input: InputView,
    output: Output<'_>,
) {
    let shape = Shape::of(&weight);
    for first in (0..input.rows).step_by(ROWS) {
        let rows = InputView { data: input.row(first), rows: ROWS.min(input.rows - first), ..input };
        let part = Part { weight, output: output.skip_rows(first) };
        for panel in range.clone() {
            // SAFETY: this function's terms.
            unsafe { panels::<L, 1, false>(&[Source::of(&part, panel)], &shape, rows) };
        }
    }
}

/// How a panel's pairs fall into groups and pieces: the same for every tile, so its divisions are not made there.
#[derive(Clone, Copy)]
struct Shape {
    pairs: usize,
    pairs_per_group: usize,
    /// Most pairs of a piece; the last of a group has what is left.
    pairs_per_piece: usize,
    groups: usize,
    group_bytes: usize,
    scales_bytes: usize,
    scale_type: ScaleType,
    /// Where an input row's scales begin.
    scales_offset: usize,
}

impl Shape {
    fn of(weight: &Panels<'_>) -> Self {
        let PanelLayout { k, group_size, scale_type } = weight.layout;
        let pieces = group_size.pieces(k);
        Shape {
            pairs: k.div_ceil(2),
            pairs_per_group: weight.layout.group_pairs(),
            // Odd only where it is all there is.
            pairs_per_piece: pieces.most().div_ceil(2),
            groups: group_size.groups(k),
            group_bytes: weight.layout.group_bytes(),
            scales_bytes: weight.layout.scales_bytes(),
            scale_type,
            scales_offset: ProductInputLayout { k, pieces }.scales_offset(),
        }
    }
}

/// All rows against `P` panels, of which the first half gate the second where `GATED`.
///
/// # Safety
/// The terms of [`multiply`]; the sources are panels of its parts.
#[inline(always)]
unsafe fn panels<L: Lanes, const P: usize, const GATED: bool>(
    sources: &[Source<'_>; P],
    shape: &Shape,
    input: InputView,
) {
    let mut row = 0;
    macro_rules! tiles {
        ($($count:literal)*) => { $(while P * $count <= L::TILE_ROWS && input.rows - row >= $count {
            // SAFETY: this function's terms; the tile's rows are below `input.rows`.
            unsafe { tile::<L, $count, P, GATED>(sources, shape, input, row) };
            row += $count;
        })* };
    }
    if P == 1 {
        tiles!(12 8 6 4);
    }
    tiles!(3 2 1);
}

/// `R` rows against `P` panels.
///
/// # Safety
/// As [`panels`]; rows `row..row + R` are among the input's.
#[inline(always)]
unsafe fn tile<L: Lanes, const R: usize, const P: usize, const GATED: bool>(
    sources: &[Source<'_>; P],
    shape: &Shape,
    input: InputView,
    row: usize,
) {
    // SAFETY: a panel has groups of scales and values for all of k, the input rows `row..row + R` of the layout (the
    // caller's promise). Prefetching reads nothing.
    unsafe {
        // So that a pair lies at its number, whatever scales come before it.
        let mut values = sources.map(|source| source.bytes.cast::<i8>());
        let (inputs, stride) = (input.row(row), input.row_stride_bytes);
        let mut accumulated = [[L::zero_floats(); R]; P];
        let (mut index, mut first, mut group_end) = (0, 0, 0);
        for group in 0..shape.groups {
            group_end = shape.pairs.min(group_end + shape.pairs_per_group);
            values = values.map(|values| values.add(shape.scales_bytes));
            while first < group_end {
                let end = group_end.min(first + shape.pairs_per_piece);
                let mut sums = [[L::zero_sums(); R]; P];
                for pair in first..end {
                    if P == 1 {
                        let weights = values[0].cast::<u8>().wrapping_add(pair * 2 * PANEL);
                        L::prefetch(weights.wrapping_add(PREFETCH_BYTES));
                        L::prefetch_early(weights.wrapping_add(PREFETCH_EARLY_BYTES));
                    }
                    for (sums, values) in sums.iter_mut().zip(values) {
                        let weights = L::load_pairs(values.add(pair * 2 * PANEL));
                        L::dot_rows(sums, weights, inputs.add(4 * pair), stride);
                    }
                }
                for p in 0..P {
                    let scales = sources[p].bytes.add(group * shape.group_bytes);
                    let weight_scales = L::load_scales(scales, shape.scale_type);
                    let input_scales = inputs.add(shape.scales_offset + 4 * index);
                    for r in 0..R {
                        let input_scale = input_scales.add(r * stride).cast::<f32>().read_unaligned();
                        accumulated[p][r] =
                            L::scale(sums[p][r], input_scale, weight_scales, accumulated[p][r]);
                    }
                }
                index += 1;
                first = end;
            }
        }
        for p in 0..if GATED { P / 2 } else { P } {
            let Source { part, panel, .. } = sources[p];
            if !GATED {
                part.output.put::<L>(row, panel, &accumulated[p]);
                continue;
            }
            let up = &sources[p + P / 2].part.output;
            for (r, gate) in accumulated[p].iter().enumerate() {
                let gate = part.output.biased::<L>(panel, *gate);
                up.put_gated::<L>(row + r, panel, gate, accumulated[p + P / 2][r]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_cover_every_panel_once() {
        for (start, panels, count) in [(0, 36, 4), (5, 30, 4), (7, 3, 4), (0, 1, 2), (11, 97, 2), (3, 8, 1)] {
            let streams = Streams { panels_start: start, panels, count };
            let mut found: Vec<usize> = (0..streams.columns())
                .flat_map(|column| (0..streams.width(column)).map(move |s| streams.panel(s, column)))
                .collect();
            // Along a stretch panels follow each other.
            assert!(streams.columns() < 3 || streams.panel(count - 1, 1) == streams.panel(count - 1, 0) + 1);
            found.sort_unstable();
            assert_eq!(found, (start..start + panels).collect::<Vec<_>>());
        }
    }
}

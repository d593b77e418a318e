//! A few rows against panels that stream by: each weight is read once, at the speed of memory.
//!
//! Several panels are multiplied side by side, each from a stretch of memory of its own that is read from its first
//! byte to its last, so that the processor's own fetching keeps up. Integer sums stay in registers for a piece, float
//! accumulators for the whole row. The panels of a column may be of different matrices: what they share is the input.

use std::ops::Range;

use super::{InputView, Output, Panels, ProductInputLayout};
use crate::{
    Isa,
    cpu::{
        lanes::{Kernel, LINE_BYTES, Lanes, dispatch},
        layout::PANEL,
    },
};

/// Panels multiplied side by side for a few rows; sums of one panel and row leave the multipliers waiting.
pub(crate) const MAX_STREAMS: usize = 4;

/// How far ahead of the reader weights are fetched, in bytes of each stream: about a memory latency at one core's
/// bandwidth.
const PREFETCH_BYTES: usize = 2048;

/// Pairs of inputs whose sixteen pairs of weights fill a line.
const PAIRS_PER_LINE: usize = LINE_BYTES / (2 * PANEL);

/// Pairs of inputs between one look at where the streams go on and the next.
const STRETCH: usize = 32;

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

    /// How `panels` are read for `rows` rows.
    pub(crate) fn streams(&self, isa: Isa, panels: Range<usize>, rows: usize) -> Streams {
        // SAFETY: the kernel executes no instruction of the set.
        let few_rows = unsafe { dispatch(isa, FewRows) };
        let count = match self {
            _ if rows > few_rows => 1,
            Factors::Parts { .. } => MAX_STREAMS,
            Factors::Gated { .. } => MAX_STREAMS / 2,
        };
        Streams { panels_start: panels.start, panels: panels.len(), count }
    }

    /// Where the streams' values begin, and how many there are.
    pub(crate) fn starts(&self, streams: Streams) -> ([*const u8; MAX_STREAMS], usize) {
        let mut starts = [std::ptr::null(); MAX_STREAMS];
        let mut count = 0;
        let mut start = |values: *const i8| {
            starts[count] = values.cast();
            count += 1;
        };
        for stretch in 0..if streams.panels == 0 { 0 } else { streams.width(0) } {
            let panel = streams.panel(stretch, 0);
            match self {
                Factors::Parts { parts, count } => start(source(&parts[..*count], panel).values),
                Factors::Gated { gate, up } => {
                    start(Source::of(gate, panel).values);
                    if streams.count > 1 {
                        start(Source::of(up, panel).values);
                    }
                }
            }
        }
        (starts, count)
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
    // SAFETY: the caller's promise.
    unsafe { dispatch(isa, StreamKernel { factors, streams, columns, input }) }
}

struct FewRows;

impl Kernel for FewRows {
    type Output = usize;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> usize {
        L::FEW_ROWS
    }
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
        for column in columns {
            let (width, panel) = (streams.width(column), |stretch| streams.panel(stretch, column));
            // SAFETY: the terms of `multiply`.
            unsafe {
                match factors {
                    Factors::Parts { parts, count } => {
                        let source = |stretch| source(&parts[..*count], panel(stretch));
                        match width {
                            4 => panels::<L, 4, false>(&[source(0), source(1), source(2), source(3)], input),
                            3 => {
                                panels::<L, 2, false>(&[source(0), source(1)], input);
                                panels::<L, 1, false>(&[source(2)], input);
                            }
                            2 => panels::<L, 2, false>(&[source(0), source(1)], input),
                            _ => panels::<L, 1, false>(&[source(0)], input),
                        }
                    }
                    Factors::Gated { gate, up } => {
                        let (gate, up) = (|at| Source::of(gate, panel(at)), |at| Source::of(up, panel(at)));
                        if width == 2 {
                            panels::<L, 4, true>(&[gate(0), gate(1), up(0), up(1)], input);
                        } else if streams.count == 2 {
                            panels::<L, 2, true>(&[gate(0), up(0)], input);
                        } else {
                            // The gate's outputs wait in `out` for a moment, in this core's cache.
                            panels::<L, 1, false>(&[Source { next: up(0).values, ..gate(0) }], input);
                            panels::<L, 1, false>(&[Source { next: gate(0).next, ..up(0) }], input);
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
    values: *const i8,
    scales: *const u8,
    /// The values of the panel that its stretch goes on with.
    next: *const i8,
}

impl<'a> Source<'a> {
    #[inline(always)]
    fn of(part: &'a Part<'a>, panel: usize) -> Self {
        let (values, scales) = part.weight.panel(panel);
        Source { part, panel, values, scales, next: values.wrapping_add(part.weight.panel_bytes()) }
    }
}

/// Panel `index` of matrices one after another.
#[inline(always)]
fn source<'a>(parts: &'a [Part<'a>], index: usize) -> Source<'a> {
    let (mut part, mut panel) = (0, index);
    while part + 1 < parts.len() && panel >= parts[part].weight.panels() {
        panel -= parts[part].weight.panels();
        part += 1;
    }
    let source = Source::of(&parts[part], panel);
    match parts.get(part + 1) {
        Some(following) if panel + 1 == parts[part].weight.panels() => {
            Source { next: following.weight.panel(0).0, ..source }
        }
        _ => source,
    }
}

/// All rows against `P` panels, of which the first half gate the second where `GATED`.
#[inline(always)]
unsafe fn panels<L: Lanes, const P: usize, const GATED: bool>(sources: &[Source<'_>; P], input: InputView) {
    let large = if P == 1 && L::TILE_ROWS >= 12 { 12 } else { 4 };
    let passes = input.rows / large + input.rows % large / 4 + input.rows % 4;
    // SAFETY: the caller's promise; each tile's rows are below `input.rows`.
    unsafe {
        let (mut row, mut pass) = (0, 0);
        macro_rules! tiles {
            ($($count:literal)*) => { $(while $count <= large && input.rows - row >= $count {
                tile::<L, $count, P, GATED>(sources, input, row, (pass, passes));
                row += $count;
                pass += 1;
            })* };
        }
        if P == 1 {
            tiles!(12);
        }
        tiles!(4 1);
    }
}

/// `R` rows against `P` panels, in one of several passes over the panels.
#[inline(always)]
unsafe fn tile<L: Lanes, const R: usize, const P: usize, const GATED: bool>(
    sources: &[Source<'_>; P],
    input: InputView,
    row: usize,
    (pass, passes): (usize, usize),
) {
    let weight = &sources[0].part.weight;
    let (k, scale_type) = (weight.k, weight.scale_type);
    let piece = weight.group_size.piece(k);
    let pieces_per_group = weight.group_size.elements(k).div_ceil(piece);
    let scales_offset = ProductInputLayout { k, piece }.scales_offset();
    let group_bytes = PANEL * scale_type.size_bytes();
    let panel_bytes = weight.panel_bytes();
    // SAFETY: a panel has pairs of values and groups of scales for all of k, the input rows `row..row + R` of the
    // layout (the caller's promise). Prefetching reads nothing.
    unsafe {
        let values = sources.map(|source| source.values);
        let inputs: [*const u8; R] = std::array::from_fn(|r| input.row(row + r));
        if pass == 0 {
            for source in sources {
                let scales_bytes = weight.group_size.groups(k) * group_bytes;
                for line in (0..scales_bytes).step_by(LINE_BYTES) {
                    L::prefetch(source.scales.wrapping_add(scales_bytes + line));
                }
            }
        }
        let mut accumulated = [[L::zero_floats(); R]; P];
        for index in 0..k.div_ceil(piece) {
            let first = index * piece / 2;
            let last = ((index + 1) * piece).min(k).div_ceil(2);
            let mut sums = [[L::zero_sums(); R]; P];
            for start in (first..last).step_by(STRETCH) {
                let end = (start + STRETCH).min(last);
                let position = start * 2 * PANEL;
                // One pass fetches a little ahead of itself; of several, each fetches its share of the next panel.
                let (from_next, offset, line_bytes) = if passes > 1 {
                    (true, (pass * panel_bytes + position) / passes, LINE_BYTES / passes)
                } else if position + PREFETCH_BYTES < panel_bytes {
                    (false, position + PREFETCH_BYTES, LINE_BYTES)
                } else {
                    (true, position + PREFETCH_BYTES - panel_bytes, LINE_BYTES)
                };
                let ahead = sources.map(|source| {
                    let base = if from_next { source.next } else { source.values };
                    base.cast::<u8>().wrapping_add(offset)
                });
                let mut pair = start;
                let mut line = 0;
                while pair + PAIRS_PER_LINE <= end {
                    for ahead in ahead {
                        L::prefetch(ahead.wrapping_add(line));
                    }
                    for _ in 0..PAIRS_PER_LINE {
                        add::<L, R, P>(&values, &inputs, pair, &mut sums);
                        pair += 1;
                    }
                    line += line_bytes;
                }
                while pair < end {
                    add::<L, R, P>(&values, &inputs, pair, &mut sums);
                    pair += 1;
                }
            }
            for p in 0..P {
                let scales = sources[p].scales.add(index / pieces_per_group * group_bytes);
                let weight_scales = L::load_scales(scales, scale_type);
                for r in 0..R {
                    let input_scale = inputs[r].add(scales_offset).cast::<f32>().add(index).read_unaligned();
                    accumulated[p][r] = L::scale(sums[p][r], input_scale, weight_scales, accumulated[p][r]);
                }
            }
        }
        for p in 0..if GATED { P / 2 } else { P } {
            let Source { part, panel, .. } = sources[p];
            for (r, floats) in accumulated[p].iter().enumerate() {
                if GATED {
                    let gate = part.output.biased::<L>(panel, *floats);
                    let up = &sources[p + P / 2].part.output;
                    up.put_gated::<L>(row + r, panel, gate, accumulated[p + P / 2][r]);
                } else {
                    part.output.put::<L>(row + r, panel, *floats);
                }
            }
        }
    }
}

/// Adds the products of one pair of inputs of each row and the weights of each panel.
#[inline(always)]
unsafe fn add<L: Lanes, const R: usize, const P: usize>(
    values: &[*const i8; P],
    inputs: &[*const u8; R],
    pair: usize,
    sums: &mut [[L::Sums; R]; P],
) {
    for p in 0..P {
        // SAFETY: the pair lies in the panels and in the rows (the caller's promise).
        unsafe {
            let weights = L::load_pairs(values[p].add(pair * 2 * PANEL));
            for r in 0..R {
                let x = inputs[r].cast::<i32>().add(pair).read_unaligned();
                sums[p][r] = L::dot(sums[p][r], weights, x);
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

//! The streaming kernel for few rows (gemv): each weight is read once, at memory bandwidth.
//!
//! For one or two rows, two panels are multiplied in one loop, each from a stream of its own that is read sequentially,
//! so that the hardware prefetcher keeps up; software prefetches make it slower. With more rows multiplying takes about
//! as long as reading: one panel at a time, with software prefetches. Integer sums stay in registers for a piece, float
//! accumulators for the whole row. The panels of a column may be of different matrices, which share the input.

use std::ops::Range;

use super::{ActivationLayout, InputView, Output, Panels, block::ROWS};
use crate::{
    Isa, ScaleType,
    cpu::{
        lanes::{Kernel, Lanes, dispatch},
        layout::{MAX_STREAMS, PANEL, PanelLayout, Streams},
    },
};

/// Rows up to which reading takes longer than multiplying.
const FEW_ROWS: usize = 2;

/// Prefetch distance into L1 in bytes, for more rows than those.
const PREFETCH_BYTES: usize = 1024;

/// Prefetch distance into L2, in bytes: more than a memory latency at one core's bandwidth.
const PREFETCH_EARLY_BYTES: usize = 6144;

/// Matrices that share an input at most: queries, keys and values.
const MAX_PARTS: usize = 3;

/// A matrix and where its outputs go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) weight: Panels<'a>,
    pub(crate) output: Output<'a>,
}

/// The matrices that one input is multiplied with. All have the same k, group size and type of scales.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Matrices<'a> {
    /// Concatenated: panel 0 is the first part's first panel.
    Parts { parts: [Part<'a>; MAX_PARTS], count: usize },
    /// `silu(gate) * up`, into the output of `up`: panel i is panel i of both.
    Gated { gate: Part<'a>, up: Part<'a> },
}

impl<'a> Matrices<'a> {
    /// One matrix.
    pub(crate) fn one(part: Part<'a>) -> Self {
        Matrices::Parts { parts: [part; MAX_PARTS], count: 1 }
    }

    /// Several matrices; `None` if one is missing, or they differ in k, group size or type of scales.
    pub(crate) fn parts(mut all: impl Iterator<Item = Option<Part<'a>>>) -> Option<Self> {
        let first = all.next()??;
        let (mut parts, mut count) = ([first; MAX_PARTS], 1);
        for part in all {
            let part = part.filter(|part| first.weight.fits(&part.weight))?;
            *parts.get_mut(count)? = part;
            count += 1;
        }
        Some(Matrices::Parts { parts, count })
    }

    /// A gate and an up projection; `None` if they differ in shape, group size or type of scales.
    pub(crate) fn gated(gate: Part<'a>, up: Part<'a>) -> Option<Self> {
        (gate.weight.fits(&up.weight) && gate.weight.n == up.weight.n).then_some(Matrices::Gated { gate, up })
    }

    /// Number of panels.
    pub(crate) fn panels(&self) -> usize {
        match self {
            Matrices::Parts { parts, count } => parts[..*count].iter().map(|part| part.weight.panels()).sum(),
            Matrices::Gated { up, .. } => up.weight.panels(),
        }
    }

    /// How `panels` are cut into streams for `rows` rows. With few rows they are the streams of the slab
    /// (`layout/streams.rs`).
    pub(crate) fn streams(&self, panels: Range<usize>, rows: usize) -> Streams {
        let count = match self {
            Matrices::Parts { .. } if rows <= FEW_ROWS => MAX_STREAMS,
            // The gate's stream and the up projection's.
            Matrices::Parts { .. } | Matrices::Gated { .. } => 1,
        };
        Streams::cut(panels, count)
    }

    /// The slab from each stream's first panel on; empty slices without panels.
    pub(crate) fn starts(&self, streams: Streams) -> [&'a [u8]; MAX_STREAMS] {
        let mut starts: [&[u8]; MAX_STREAMS] = [&[]; MAX_STREAMS];
        let width = if streams.columns() == 0 { 0 } else { streams.width(0) };
        match self {
            Matrices::Parts { parts, count } => {
                for (extent, start) in starts.iter_mut().enumerate().take(width) {
                    let (part, panel) = part(&parts[..*count], streams.panel(extent, 0));
                    *start = part.weight.from(panel);
                }
            }
            Matrices::Gated { gate, up } if width > 0 => {
                starts = [gate, up].map(|part| part.weight.from(streams.panel(0, 0)));
            }
            Matrices::Gated { .. } => {}
        }
        starts
    }
}

/// Computes the outputs of some columns of `streams`, for every row of `input`.
///
/// # Safety
/// The processor has `isa`. `input` is `rows` readable rows in the weights' input format, 4-byte aligned, which no
/// thread writes meanwhile. The panels' slices are as long as n, k and group size say; the streams' panels lie within
/// [`Matrices::panels`], `columns` within [`Streams::columns`]. Each output has as many rows of n columns, and no other
/// thread uses the columns of these panels.
pub(crate) unsafe fn multiply(
    isa: Isa,
    matrices: &Matrices<'_>,
    streams: Streams,
    columns: Range<usize>,
    input: InputView,
) {
    // SAFETY: this function's contract.
    unsafe { dispatch(isa, StreamKernel { matrices, streams, columns, input }) }
}

struct StreamKernel<'a> {
    matrices: &'a Matrices<'a>,
    streams: Streams,
    columns: Range<usize>,
    input: InputView,
}

impl Kernel for StreamKernel<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let StreamKernel { matrices, streams, columns, input } = self;
        let shape = Shape::of(match matrices {
            Matrices::Parts { parts, .. } => &parts[0].weight,
            Matrices::Gated { gate, .. } => &gate.weight,
        });
        for column in columns {
            let (is_pair, panel) = (streams.width(column) == 2, |extent| streams.panel(extent, column));
            // SAFETY: the contract of `multiply`, whose arguments these are; the processor has `L` (the contract of
            // `Kernel::run`).
            unsafe {
                match matrices {
                    Matrices::Parts { parts, count } => {
                        let source = |extent| {
                            let (part, panel) = part(&parts[..*count], panel(extent));
                            Source::of(part, panel)
                        };
                        if is_pair {
                            panels::<L, 2, false>(&[source(0), source(1)], &shape, input);
                        } else {
                            panels::<L, 1, false>(&[source(0)], &shape, input);
                        }
                    }
                    Matrices::Gated { gate, up } => {
                        let (gate, up) = (Source::of(gate, panel(0)), Source::of(up, panel(0)));
                        if input.rows <= FEW_ROWS {
                            panels::<L, 2, true>(&[gate, up], &shape, input);
                        } else {
                            // The gate's outputs stay in L1 until the up projection multiplies them.
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

/// Panel `index` of concatenated matrices: its matrix, and its index there.
#[inline(always)]
fn part<'p, 'a>(parts: &'p [Part<'a>], index: usize) -> (&'p Part<'a>, usize) {
    let (mut part, mut panel) = (0, index);
    while part + 1 < parts.len() && panel >= parts[part].weight.panels() {
        panel -= parts[part].weight.panels();
        part += 1;
    }
    (&parts[part], panel)
}

/// Multiplies many rows with one panel after another, in blocks of rows whose inputs stay in L2.
///
/// # Safety
/// The contract of [`super::matmul`]; the processor has `L`.
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
            // SAFETY: this function's contract.
            unsafe { panels::<L, 1, false>(&[Source::of(&part, panel)], &shape, rows) };
        }
    }
}

/// How a panel's pairs are cut into groups and pieces: computed once, because it has divisions and every tile needs it.
#[derive(Clone, Copy)]
struct Shape {
    pairs: usize,
    pairs_per_group: usize,
    /// Pairs of a piece; the last piece of a group may have fewer.
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
            // A piece is odd only if it is the whole row.
            pairs_per_piece: pieces.most().div_ceil(2),
            groups: group_size.groups(k),
            group_bytes: weight.layout.group_bytes(),
            scales_bytes: weight.layout.scales_bytes(),
            scale_type,
            scales_offset: ActivationLayout { k, pieces }.scales_offset(),
        }
    }
}

/// Multiplies all rows with `P` panels; if `GATED`, the first half are gates of the second.
///
/// # Safety
/// The contract of [`multiply`]; the sources are panels of its parts; the processor has `L`.
#[inline(always)]
unsafe fn panels<L: Lanes, const P: usize, const GATED: bool>(
    sources: &[Source<'_>; P],
    shape: &Shape,
    input: InputView,
) {
    let mut row = 0;
    macro_rules! tiles {
        ($($count:literal)*) => { $(while P * $count <= L::TILE_ROWS && input.rows - row >= $count {
            // SAFETY: this function's contract; the tile's rows are below `input.rows`.
            unsafe { tile::<L, $count, P, GATED>(sources, shape, input, row) };
            row += $count;
        })* };
    }
    if P == 1 {
        tiles!(12 8 6 4);
    }
    tiles!(3 2 1);
}

/// Multiplies `R` rows with `P` panels.
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
    // SAFETY: a panel has scales and values of every group of k inputs, and the input has rows `row..row + R` of the
    // layout for k inputs (this function's contract); pairs and pieces stay below those. A prefetch reads nothing.
    unsafe {
        // Advanced past each group's scales, so that pair i is at `i * 2 * PANEL`.
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

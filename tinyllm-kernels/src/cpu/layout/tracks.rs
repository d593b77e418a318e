//! Weights in the order in which they are read.
//!
//! A thread that computes a token reads panels of one product after another, each product in a few streams. Were a matrix in
//! one piece, every stream would begin anew with every product, and the processor's own fetching with it, which takes most
//! of a microsecond. So each stream has a track of its own in the slab: its panels of the first product, of the second,
//! and so on. It is read from its first byte to its last.

use std::ops::Range;

use super::{PANEL, PanelLayout, w8a16};
use crate::{
    Op, WeightId, WeightSpec,
    cpu::{
        products::{MAX_STREAMS, Streams},
        run::share,
    },
};

/// Panels of a weight on a track.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) panels: Range<usize>,
    pub(super) track: usize,
    /// From the track's first byte.
    pub(super) offset: usize,
}

/// What lies on each track.
pub(super) struct Tracks {
    /// By [`WeightId::index`], in the order of panels and of tracks; empty where the weight lies elsewhere.
    pub(super) pieces: Vec<Vec<Piece>>,
    /// Length of each track in bytes.
    pub(super) lengths: Vec<usize>,
}

/// A weight that is read for the first time.
struct New {
    weight: WeightId,
    panels: usize,
    layout: PanelLayout,
}

impl Tracks {
    /// The weights of products that stream, for `members` threads.
    pub(super) fn of(specs: &[WeightSpec], ops: &[Op], members: usize) -> Self {
        let mut tracks = Tracks {
            pieces: specs.iter().map(|_| Vec::new()).collect(),
            lengths: vec![0; MAX_STREAMS * members],
        };
        for op in ops {
            match op {
                Op::Linear { parts } => {
                    let weights: Vec<WeightId> = parts.iter().map(|part| part.product.weight).collect();
                    if let Some(new) = tracks.new_together(specs, &weights) {
                        tracks.take_parts(&new, members);
                    }
                }
                Op::GatedLinear { gate, up, .. } => {
                    if let Some(new) = tracks.new_together(specs, &[gate.weight, up.weight]) {
                        tracks.take_gated(&new, members);
                    }
                }
                _ => {}
            }
        }
        tracks
    }

    /// The weights, where they stream together and none of them has a place yet.
    fn new_together(&self, specs: &[WeightSpec], weights: &[WeightId]) -> Option<Vec<New>> {
        let new = |(index, weight): (usize, &WeightId)| {
            let is_new = self.pieces[weight.index()].is_empty() && !weights[..index].contains(weight);
            let spec = &specs[weight.index()];
            let layout = w8a16(spec).filter(|_| is_new)?;
            Some(New { weight: *weight, panels: spec.n.div_ceil(PANEL), layout })
        };
        let all: Vec<New> = weights.iter().enumerate().map(new).collect::<Option<_>>()?;
        all.iter().all(|new| new.layout == all[0].layout).then_some(all)
    }

    /// Matrices one after another, each thread's range in streams.
    fn take_parts(&mut self, parts: &[New], members: usize) {
        let total = parts.iter().map(|part| part.panels).sum();
        for member in 0..members {
            let streams = Streams::cut(share(members, member, total), MAX_STREAMS);
            for stream in 0..MAX_STREAMS {
                let (stretch, mut first) = (streams.stretch(stream), 0);
                for part in parts {
                    let end = first + part.panels;
                    let range = stretch.start.max(first)..stretch.end.min(end);
                    if !range.is_empty() {
                        self.put(part, range.start - first..range.end - first, MAX_STREAMS * member + stream);
                    }
                    first = end;
                }
            }
        }
    }

    /// A stream of gates, and one of what they open for.
    fn take_gated(&mut self, gate_and_up: &[New], members: usize) {
        for member in 0..members {
            for (stream, new) in gate_and_up.iter().enumerate() {
                let range = share(members, member, new.panels);
                if !range.is_empty() {
                    self.put(new, range, MAX_STREAMS * member + stream);
                }
            }
        }
    }

    fn put(&mut self, new: &New, panels: Range<usize>, track: usize) {
        let end = &mut self.lengths[track];
        let piece = Piece { panels, track, offset: *end };
        *end += piece.panels.len() * new.layout.bytes();
        self.pieces[new.weight.index()].push(piece);
    }
}

#[cfg(test)]
mod tests {
    use tinyllm_mem::Category;

    use super::*;
    use crate::{
        GroupSize, LinearPart, Placement, Product, RegionId, ScaleType, WeightFormat, program::ProgramId,
    };

    fn w8a16_weight(n: usize, k: usize) -> WeightSpec {
        let format = WeightFormat::W8A16 { group_size: GroupSize::Elements(64), scales: ScaleType::F16 };
        WeightSpec {
            name: String::new(),
            n,
            k,
            format,
            category: Category::Weights,
            placement: Placement::Slab,
        }
    }

    fn region() -> RegionId {
        RegionId::new(ProgramId::TEST, 0)
    }

    fn product(weight: usize) -> Product {
        Product { input: region(), weight: WeightId::new(ProgramId::TEST, weight), bias: None }
    }

    fn linear(weights: &[usize]) -> Op {
        let part =
            |weight: &usize| LinearPart { product: product(*weight), out: region(), accumulate: false };
        Op::Linear { parts: weights.iter().map(part).collect() }
    }

    fn gated(gate: usize, up: usize) -> Op {
        Op::GatedLinear { gate: product(gate), up: product(up), out: region() }
    }

    /// `(weight, panels, offset)` on a track, in its order.
    fn on(tracks: &Tracks, track: usize) -> Vec<(usize, Range<usize>, usize)> {
        let mut found: Vec<_> = tracks
            .pieces
            .iter()
            .enumerate()
            .flat_map(|(weight, pieces)| pieces.iter().map(move |piece| (weight, piece)))
            .filter(|(_, piece)| piece.track == track)
            .map(|(weight, piece)| (weight, piece.panels.clone(), piece.offset))
            .collect();
        found.sort_by_key(|(_, _, offset)| *offset);
        found
    }

    /// A layer of 4 + 2 + 2 panels of q, k and v, 6 of gate and up each, and 5 of down, for two threads.
    #[test]
    fn a_stream_goes_on_from_product_to_product() {
        let mut specs: Vec<_> = [64, 32, 32, 96, 96].map(|n| w8a16_weight(n, 128)).into();
        specs.push(w8a16_weight(80, 96));
        let tracks = Tracks::of(&specs, &[linear(&[0, 1, 2]), gated(3, 4), linear(&[5])], 2);
        // 128 inputs: two groups of 32 bytes of scales and 1,024 of values. 96 inputs: a group, and half of one.
        let (a, b) = (2112, 32 + 1024 + 32 + 512);
        assert_eq!(on(&tracks, 0), [(0, 0..2, 0), (3, 0..3, 2 * a), (5, 0..1, 5 * a)]);
        assert_eq!(on(&tracks, 1), [(0, 2..4, 0), (4, 0..3, 2 * a), (5, 1..2, 5 * a)]);
        assert_eq!(on(&tracks, 2), [(1, 0..2, 0), (3, 3..6, 2 * a), (5, 2..4, 5 * a)]);
        assert_eq!(on(&tracks, 3), [(2, 0..2, 0), (4, 3..6, 2 * a), (5, 4..5, 5 * a)]);
        assert_eq!(tracks.lengths, [5 * a + b, 5 * a + b, 5 * a + 2 * b, 5 * a + b]);
    }

    /// Weights that do not stream together, a weight that is read again, and one that is mapped lie elsewhere.
    #[test]
    fn what_does_not_stream_lies_elsewhere() {
        let mut specs: Vec<_> =
            [(64, 128), (64, 64), (64, 128), (64, 128)].map(|(n, k)| w8a16_weight(n, k)).into();
        specs[3].placement = Placement::Mapped;
        let tracks =
            Tracks::of(&specs, &[linear(&[0, 1]), linear(&[2]), linear(&[2]), linear(&[3]), gated(2, 0)], 1);
        let is_empty: Vec<bool> = tracks.pieces.iter().map(Vec::is_empty).collect();
        assert_eq!(is_empty, [true, true, false, true]);
        assert_eq!((on(&tracks, 0), on(&tracks, 1)), (vec![(2, 0..2, 0)], vec![(2, 2..4, 0)]));
        assert_eq!(tracks.lengths, [2 * 2112, 2 * 2112]);
    }

    /// Every panel once and in order, also with more threads than panels.
    #[test]
    fn every_panel_has_one_place() {
        for members in [1, 2, 3, 7, 16] {
            let specs: Vec<_> = [160, 16, 40, 300, 300, 1].map(|n| w8a16_weight(n, 64)).into();
            let tracks = Tracks::of(&specs, &[linear(&[0, 1, 2]), gated(3, 4), linear(&[5])], members);
            for (spec, pieces) in specs.iter().zip(&tracks.pieces) {
                let panels: Vec<usize> = pieces.iter().flat_map(|piece| piece.panels.clone()).collect();
                assert_eq!(panels, (0..spec.n.div_ceil(PANEL)).collect::<Vec<_>>(), "{members} threads");
                assert!(pieces.is_sorted_by_key(|piece| piece.track));
            }
            for (track, length) in tracks.lengths.iter().enumerate() {
                let mut end = 0;
                for (_, panels, offset) in on(&tracks, track) {
                    assert_eq!(offset, end);
                    end += panels.len() * 1056;
                }
                assert_eq!(end, *length);
            }
        }
    }
}

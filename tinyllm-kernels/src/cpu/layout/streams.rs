//! The order of weights in the slab: that in which decoding reads them.
//!
//! In a decode step a worker reads panels of one matmul after another, each matmul as a few streams. If every matrix
//! were contiguous, each stream would jump to a new address with every matmul, and the hardware prefetcher would
//! restart, which costs most of a microsecond. So each stream is contiguous in the slab: its panels of the first
//! matmul, then of the second, and so on. It is read sequentially.

use std::ops::Range;

use super::{MAX_STREAMS, PANEL, PanelLayout, Streams, w8a16};
use crate::{Op, WeightId, WeightSpec, cpu::threads::partition};

/// Consecutive panels of a weight in a stream.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) panels: Range<usize>,
    pub(super) stream: usize,
    /// From the stream's first byte.
    pub(super) offset: usize,
}

/// The contents of each stream.
pub(super) struct StreamLayout {
    /// By [`WeightId::index`], in the order of panels and of streams; empty for a weight that is not in streams.
    pub(super) runs: Vec<Vec<Run>>,
    /// Length of each stream in bytes.
    pub(super) lengths: Vec<usize>,
}

/// A weight that has no place yet.
struct Unplaced {
    weight: WeightId,
    panels: usize,
    layout: PanelLayout,
}

impl StreamLayout {
    /// The streams of `workers` threads, with the int8 weights of the program's matmuls.
    pub(super) fn of(specs: &[WeightSpec], ops: &[Op], workers: usize) -> Self {
        let mut streams = StreamLayout {
            runs: specs.iter().map(|_| Vec::new()).collect(),
            lengths: vec![0; MAX_STREAMS * workers],
        };
        for op in ops {
            match op {
                Op::Linear { parts } => {
                    let weights: Vec<WeightId> = parts.iter().map(|part| part.matmul.weight).collect();
                    if let Some(new) = streams.unplaced_together(specs, &weights) {
                        streams.take_parts(&new, workers);
                    }
                }
                Op::SwiGluLinear { gate, up, .. } => {
                    if let Some(new) = streams.unplaced_together(specs, &[gate.weight, up.weight]) {
                        streams.take_gated(&new, workers);
                    }
                }
                _ => {}
            }
        }
        streams
    }

    /// The weights of one operation, if they can be streamed together and none of them has a place yet.
    fn unplaced_together(&self, specs: &[WeightSpec], weights: &[WeightId]) -> Option<Vec<Unplaced>> {
        let new = |(index, weight): (usize, &WeightId)| {
            let is_new = self.runs[weight.index()].is_empty() && !weights[..index].contains(weight);
            let spec = &specs[weight.index()];
            let layout = w8a16(spec).filter(|_| is_new)?;
            Some(Unplaced { weight: *weight, panels: spec.n.div_ceil(PANEL), layout })
        };
        let all: Vec<Unplaced> = weights.iter().enumerate().map(new).collect::<Option<_>>()?;
        all.iter().all(|new| new.layout == all[0].layout).then_some(all)
    }

    /// Places matrices that are concatenated: each thread's range of their panels is cut into streams.
    fn take_parts(&mut self, parts: &[Unplaced], workers: usize) {
        let total = parts.iter().map(|part| part.panels).sum();
        for worker in 0..workers {
            let streams = Streams::cut(partition(workers, worker, total), MAX_STREAMS);
            for stream in 0..MAX_STREAMS {
                let (extent, mut first) = (streams.extent(stream), 0);
                for part in parts {
                    let end = first + part.panels;
                    let range = extent.start.max(first)..extent.end.min(end);
                    if !range.is_empty() {
                        self.append(
                            part,
                            range.start - first..range.end - first,
                            MAX_STREAMS * worker + stream,
                        );
                    }
                    first = end;
                }
            }
        }
    }

    /// Places a gate and an up projection: for each thread a stream of the gate's panels and one of the up
    /// projection's.
    fn take_gated(&mut self, gate_and_up: &[Unplaced], workers: usize) {
        for worker in 0..workers {
            for (stream, new) in gate_and_up.iter().enumerate() {
                let range = partition(workers, worker, new.panels);
                if !range.is_empty() {
                    self.append(new, range, MAX_STREAMS * worker + stream);
                }
            }
        }
    }

    fn append(&mut self, new: &Unplaced, panels: Range<usize>, stream: usize) {
        let end = &mut self.lengths[stream];
        let run = Run { panels, stream, offset: *end };
        *end += run.panels.len() * new.layout.bytes();
        self.runs[new.weight.index()].push(run);
    }
}

#[cfg(test)]
mod tests {
    use tinyllm_mem::Category;

    use super::*;
    use crate::{
        GroupSize, LinearPart, Matmul, Placement, RegionId, ScaleType, WeightFormat, program::ProgramId,
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

    fn matmul(weight: usize) -> Matmul {
        Matmul { input: region(), weight: WeightId::new(ProgramId::TEST, weight), bias: None }
    }

    fn linear(weights: &[usize]) -> Op {
        let part = |weight: &usize| LinearPart { matmul: matmul(*weight), out: region(), accumulate: false };
        Op::Linear { parts: weights.iter().map(part).collect() }
    }

    fn gated(gate: usize, up: usize) -> Op {
        Op::SwiGluLinear { gate: matmul(gate), up: matmul(up), out: region() }
    }

    /// `(weight, panels, offset)` of a stream's runs, in order.
    fn on(streams: &StreamLayout, stream: usize) -> Vec<(usize, Range<usize>, usize)> {
        let mut found: Vec<_> = streams
            .runs
            .iter()
            .enumerate()
            .flat_map(|(weight, runs)| runs.iter().map(move |run| (weight, run)))
            .filter(|(_, run)| run.stream == stream)
            .map(|(weight, run)| (weight, run.panels.clone(), run.offset))
            .collect();
        found.sort_by_key(|(_, _, offset)| *offset);
        found
    }

    /// A layer of 4 + 2 + 2 panels of q, k and v, 6 of gate and up each, and 5 of down, for two threads.
    #[test]
    fn a_stream_continues_from_matmul_to_matmul() {
        let mut specs: Vec<_> = [64, 32, 32, 96, 96].map(|n| w8a16_weight(n, 128)).into();
        specs.push(w8a16_weight(80, 96));
        let streams = StreamLayout::of(&specs, &[linear(&[0, 1, 2]), gated(3, 4), linear(&[5])], 2);
        // 128 inputs: two groups of 32 bytes of scales and 1,024 of values. 96 inputs: a group, and half of one.
        let (a, b) = (2112, 32 + 1024 + 32 + 512);
        assert_eq!(on(&streams, 0), [(0, 0..2, 0), (3, 0..3, 2 * a), (5, 0..1, 5 * a)]);
        assert_eq!(on(&streams, 1), [(0, 2..4, 0), (4, 0..3, 2 * a), (5, 1..2, 5 * a)]);
        assert_eq!(on(&streams, 2), [(1, 0..2, 0), (3, 3..6, 2 * a), (5, 2..4, 5 * a)]);
        assert_eq!(on(&streams, 3), [(2, 0..2, 0), (4, 3..6, 2 * a), (5, 4..5, 5 * a)]);
        assert_eq!(streams.lengths, [5 * a + b, 5 * a + b, 5 * a + 2 * b, 5 * a + b]);
    }

    /// Weights that cannot be streamed together, a weight that is read again, and a mapped one are not in streams.
    #[test]
    fn weights_that_cannot_be_streamed_are_not_in_streams() {
        let mut specs: Vec<_> =
            [(64, 128), (64, 64), (64, 128), (64, 128)].map(|(n, k)| w8a16_weight(n, k)).into();
        specs[3].placement = Placement::Mapped;
        let streams = StreamLayout::of(
            &specs,
            &[linear(&[0, 1]), linear(&[2]), linear(&[2]), linear(&[3]), gated(2, 0)],
            1,
        );
        let is_empty: Vec<bool> = streams.runs.iter().map(Vec::is_empty).collect();
        assert_eq!(is_empty, [true, true, false, true]);
        assert_eq!((on(&streams, 0), on(&streams, 1)), (vec![(2, 0..2, 0)], vec![(2, 2..4, 0)]));
        assert_eq!(streams.lengths, [2 * 2112, 2 * 2112]);
    }

    /// Every panel once and in order, also with more threads than panels.
    #[test]
    fn every_panel_has_one_place() {
        for workers in [1, 2, 3, 7, 16] {
            let specs: Vec<_> = [160, 16, 40, 300, 300, 1].map(|n| w8a16_weight(n, 64)).into();
            let streams = StreamLayout::of(&specs, &[linear(&[0, 1, 2]), gated(3, 4), linear(&[5])], workers);
            for (spec, runs) in specs.iter().zip(&streams.runs) {
                let panels: Vec<usize> = runs.iter().flat_map(|run| run.panels.clone()).collect();
                assert_eq!(panels, (0..spec.n.div_ceil(PANEL)).collect::<Vec<_>>(), "{workers} threads");
                assert!(runs.is_sorted_by_key(|run| run.stream));
            }
            for (stream, length) in streams.lengths.iter().enumerate() {
                let mut end = 0;
                for (_, panels, offset) in on(&streams, stream) {
                    assert_eq!(offset, end);
                    end += panels.len() * 1056;
                }
                assert_eq!(end, *length);
            }
        }
    }
}

//! The timed workload: sequences with `depth` tokens in the cache, whose next tokens are run and timed again and again.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use tinyllm_model::{
    Engine,
    engine::{SequenceId, SequenceInput},
};

use super::Kind;

/// Decode steps of a timed segment: a tenth of a second or more. A shared machine changes within seconds.
const SEGMENT: usize = 32;

pub(super) struct Workload<'e> {
    engine: &'e mut Engine,
    sequences: Vec<SequenceId>,
    depth: usize,
}

impl<'e> Workload<'e> {
    /// Prefills `batch` sequences of `depth` tokens without a common prefix. `advance` is called with the tokens done.
    pub(super) fn fill(
        engine: &'e mut Engine,
        depth: usize,
        batch: usize,
        advance: impl Fn(usize),
    ) -> anyhow::Result<Self> {
        let mut sequences = Vec::with_capacity(batch);
        for index in 0..batch {
            let sequence = engine.create_sequence()?;
            prefill(engine, sequence, index, depth)?;
            advance(depth);
            sequences.push(sequence);
        }
        Ok(Workload { engine, sequences, depth })
    }

    /// Calls `segment` with the time of each segment: some decode steps, or a whole prompt. Afterwards the sequences are
    /// as before.
    pub(super) fn time(
        &mut self,
        kind: Kind,
        mut segment: impl FnMut(Range<usize>, Duration) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match kind {
            Kind::Prefill(count) => {
                let start = Instant::now();
                prefill(self.engine, self.sequences[0], 7, count)?;
                segment(0..count, start.elapsed())?;
            }
            Kind::Decode(count) => {
                for first in (0..count).step_by(SEGMENT) {
                    let steps = first..count.min(first + SEGMENT);
                    let start = Instant::now();
                    self.decode(steps.clone())?;
                    segment(steps, start.elapsed())?;
                }
            }
        }
        for (index, &sequence) in self.sequences.iter().enumerate() {
            let kept = self.engine.truncate_sequence(sequence, self.depth)?;
            if kept < self.depth {
                // Blocks that left a sliding window were freed.
                self.engine.truncate_sequence(sequence, 0)?;
                prefill(self.engine, sequence, index, self.depth)?;
            }
        }
        Ok(())
    }

    fn decode(&mut self, steps: Range<usize>) -> anyhow::Result<()> {
        let vocabulary = self.engine.config().vocab_size;
        for step in steps {
            let token = [(step * 11 % vocabulary) as u32];
            let input = |&sequence| SequenceInput::new(sequence, &token, 1);
            let batch: Vec<_> = self.sequences.iter().map(input).collect();
            self.engine.forward(&batch)?;
        }
        Ok(())
    }

    pub(super) fn free(self) -> anyhow::Result<()> {
        let mut sequences = self.sequences.into_iter();
        Ok(sequences.try_for_each(|sequence| self.engine.free_sequence(sequence))?)
    }
}

/// Appends `count` tokens that depend on `seed`.
fn prefill(engine: &mut Engine, sequence: SequenceId, seed: usize, count: usize) -> anyhow::Result<()> {
    let vocabulary = engine.config().vocab_size;
    let tokens: Vec<u32> = (0..count).map(|index| ((index * 37 + seed * 101) % vocabulary) as u32).collect();
    let chunks = tokens.chunks(engine.max_step_tokens());
    let last = chunks.len().saturating_sub(1);
    for (index, tokens) in chunks.enumerate() {
        engine.forward(&[SequenceInput::new(sequence, tokens, usize::from(index == last))])?;
    }
    Ok(())
}

//! Sequences with something in the cache, of which the next tokens are timed again and again.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use tinyllm_kernels::Cpu;
use tinyllm_model::{
    Engine,
    engine::{SequenceId, SequenceInput},
};

use super::Kind;

/// Steps of decoding that are timed together: a tenth of a second or more. A shared machine changes within seconds.
const STRETCH: usize = 32;

pub(super) struct Subject<'e> {
    engine: &'e mut Engine,
    sequences: Vec<SequenceId>,
    depth: usize,
}

impl<'e> Subject<'e> {
    /// `batch` sequences of `depth` tokens, none of which begin alike. `advance` hears of tokens that are there.
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
        Ok(Subject { engine, sequences, depth })
    }

    /// Tells how long each stretch of it takes: of decoding some steps, of a prompt all; afterwards the sequences are as
    /// before.
    pub(super) fn time(
        &mut self,
        kind: Kind,
        mut stretch: impl FnMut(&Cpu, Range<usize>, Duration),
    ) -> anyhow::Result<()> {
        match kind {
            Kind::Prefill(count) => {
                let start = Instant::now();
                prefill(self.engine, self.sequences[0], 7, count)?;
                stretch(self.cpu(), 0..count, start.elapsed());
            }
            Kind::Decode(count) => {
                for first in (0..count).step_by(STRETCH) {
                    let steps = first..count.min(first + STRETCH);
                    let start = Instant::now();
                    self.decode(steps.clone())?;
                    stretch(self.cpu(), steps, start.elapsed());
                }
            }
        }
        for (index, &sequence) in self.sequences.iter().enumerate() {
            let kept = self.engine.truncate_sequence(sequence, self.depth)?;
            if kept < self.depth {
                // A sliding window let go of what the next token would need.
                self.engine.truncate_sequence(sequence, 0)?;
                prefill(self.engine, sequence, index, self.depth)?;
            }
        }
        Ok(())
    }

    /// What the engine runs on.
    pub(super) fn cpu(&self) -> &Cpu {
        self.engine.running_on()
    }

    fn decode(&mut self, steps: Range<usize>) -> anyhow::Result<()> {
        let vocabulary = self.engine.config().vocab_size;
        for step in steps {
            let token = [(step * 11 % vocabulary) as u32];
            let input = |&sequence| SequenceInput { sequence, tokens: &token, wants_logits: true };
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

/// Appends `count` tokens, other ones for each `seed`.
fn prefill(engine: &mut Engine, sequence: SequenceId, seed: usize, count: usize) -> anyhow::Result<()> {
    let vocabulary = engine.config().vocab_size;
    let tokens: Vec<u32> = (0..count).map(|index| ((index * 37 + seed * 101) % vocabulary) as u32).collect();
    let chunks = tokens.chunks(engine.max_step_tokens());
    let last = chunks.len().saturating_sub(1);
    for (index, tokens) in chunks.enumerate() {
        engine.forward(&[SequenceInput { sequence, tokens, wants_logits: index == last }])?;
    }
    Ok(())
}

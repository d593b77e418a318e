//! One sequence at a time: a prompt in chunks, a token, the logits of every position. Each is made of steps
//! ([`Engine::forward`]), so each leaves in the cache what the same steps would.

use super::{Engine, SequenceId, SequenceInput};
use crate::{ModelError, Result};

impl Engine {
    /// Brings `sequence` to hold exactly `prompt`, keeping the longest common prefix, and returns the last position's
    /// logits, `[vocab]`. `continue_prefill` is asked before each chunk; `None` is returned where it says no.
    ///
    /// # Errors
    /// Those of [`Engine::forward`]. A prompt that is refused changes nothing; where a step fails, the sequence holds the
    /// tokens of the prompt that were cached or ran before it.
    pub fn prefill(
        &mut self,
        sequence: SequenceId,
        prompt: &[u32],
        continue_prefill: &mut dyn FnMut() -> bool,
    ) -> Result<Option<&mut [f32]>> {
        let cached = self.cached_prefix(sequence, prompt)?;
        self.check_tokens(prompt, prompt.len())?;
        // The last token runs in any case: its logits are wanted.
        let kept = self.cache.truncate(sequence, cached)?;
        let mut rest = &prompt[kept..];
        while !rest.is_empty() {
            if !continue_prefill() {
                return Ok(None);
            }
            let (tokens, later) = rest.split_at(rest.len().min(self.limits.max_tokens));
            self.forward(&[SequenceInput::new(sequence, tokens, usize::from(later.is_empty()))])?;
            rest = later;
        }
        self.step_logits(0).map(Some)
    }

    /// How many tokens of `prompt` [`Engine::prefill`] finds in `sequence`: the longest common prefix, without the
    /// prompt's last token.
    ///
    /// # Errors
    /// [`ModelError::UnknownSequence`].
    pub fn cached_prefix(&self, sequence: SequenceId, prompt: &[u32]) -> Result<usize> {
        let cached = self.cache.tokens(sequence)?;
        let common = cached.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        Ok(common.min(prompt.len().saturating_sub(1)))
    }

    /// Appends one token to `sequence` and returns its logits, `[vocab]`.
    ///
    /// # Errors
    /// Those of [`Engine::forward`].
    pub fn decode(&mut self, sequence: SequenceId, token: u32) -> Result<&mut [f32]> {
        self.forward(&[SequenceInput::new(sequence, &[token], 1)])?;
        self.step_logits(0)
    }

    /// Appends `ids` to `sequence` and hands out the logits of each: `each(position, logits)`.
    ///
    /// # Errors
    /// Those of [`Engine::forward`]. It runs in steps of [`Engine::max_step_tokens`]: what ran before the step that failed
    /// stays in the sequence.
    pub fn score(
        &mut self,
        sequence: SequenceId,
        ids: &[u32],
        each: &mut dyn FnMut(usize, &mut [f32]),
    ) -> Result<()> {
        let mut first = self.cache.tokens(sequence)?.len();
        self.check_tokens(ids, first + ids.len())?;
        for chunk in ids.chunks(self.limits.max_tokens) {
            self.forward(&[SequenceInput::new(sequence, chunk, 0)])?;
            let rows = 0..chunk.len() as u32;
            for start in rows.clone().step_by(self.limits.max_sampled_rows) {
                let sampled = start..rows.end.min(start + self.limits.max_sampled_rows as u32);
                self.tables.sample(sampled.clone());
                self.run_head()?;
                let rows = sampled.len();
                for (row, position) in sampled.enumerate() {
                    let logits = self.layers.output(row).ok_or(ModelError::NoLogits { row, rows })?;
                    each(first + position as usize, logits);
                }
            }
            first += chunk.len();
        }
        Ok(())
    }

    /// The logits of every position of `ids`, in order, in a sequence of their own: `each(position, logits)`.
    ///
    /// # Errors
    /// As [`Engine::score`] and [`Engine::create_sequence`]. The sequence is freed whichever it is.
    pub fn logits(&mut self, ids: &[u32], each: &mut dyn FnMut(usize, &mut [f32])) -> Result<()> {
        let sequence = self.create_sequence()?;
        let scored = self.score(sequence, ids, each);
        self.free_sequence(sequence)?;
        scored
    }
}

//! One sequence at a time, for those who want no more: its tokens stay in the cache, and a prompt that begins with them
//! begins where they end.

use tinyllm_kernels::Backend;
use tinyllm_mem::Host;

use super::{Engine, SequenceId, SequenceInput};
use crate::{ModelError, Result};

impl<B: Backend<Space = Host>> Engine<B> {
    /// Tokens in the cache now.
    pub fn cached_tokens(&self) -> &[u32] {
        self.single.and_then(|id| self.cache.tokens(id).ok()).unwrap_or_default()
    }

    /// Forgets every token.
    pub fn clear(&mut self) {
        // It is there: nobody else knows its id.
        self.single.take().map_or(Ok(()), |id| self.cache.free(id)).ok();
    }

    /// The logits of every position of `ids`, in order, from an empty cache: `each(position, logits)`.
    ///
    /// # Errors
    /// [`crate::ModelError::Request`] for tokens outside the vocabulary or more than the context holds; those of
    /// [`Engine::forward`].
    pub fn logits(&mut self, ids: &[u32], each: &mut dyn FnMut(usize, &mut [f32])) -> Result<()> {
        self.clear();
        self.extend(ids, each)
    }

    /// Appends `ids` to the cache and hands out the logits of each: `each(position, logits)`.
    ///
    /// # Errors
    /// As [`Engine::logits`]. It runs in steps of [`Engine::max_step_tokens`]: what ran before the one that failed stays in
    /// the cache.
    pub fn extend(&mut self, ids: &[u32], each: &mut dyn FnMut(usize, &mut [f32])) -> Result<()> {
        let sequence = self.single()?;
        self.check_tokens(ids, self.cached_tokens().len() + ids.len())?;
        for chunk in ids.chunks(self.limits.max_tokens) {
            let first = self.cached_tokens().len();
            self.forward(&[SequenceInput { sequence, tokens: chunk, wants_logits: false }])?;
            let rows = 0..chunk.len() as u32;
            for start in rows.clone().step_by(self.limits.max_sampled_rows) {
                let sampled = start..rows.end.min(start + self.limits.max_sampled_rows as u32);
                self.tables.sample(sampled.clone());
                let ran = self.backend.run_head(&mut self.prepared, &self.tables.step());
                ran.map_err(|error| self.step_error(error))?;
                let rows = sampled.len();
                for (index, row) in sampled.enumerate() {
                    let logits = self.backend.logits(&mut self.prepared, index);
                    each(first + row as usize, logits.ok_or(ModelError::NoLogits { index, rows })?);
                }
            }
        }
        Ok(())
    }

    /// Brings the cache to hold exactly `prompt`, keeping the longest common prefix, and returns the last position's
    /// logits. `continue_prefill` is asked between chunks; `None` is returned where it says no.
    ///
    /// # Errors
    /// As [`Engine::logits`]: nothing has changed where the prompt is refused; where a step fails, the cache holds the
    /// beginning of the prompt that was there or ran before.
    pub fn prefill(
        &mut self,
        prompt: &[u32],
        continue_prefill: &mut dyn FnMut() -> bool,
    ) -> Result<Option<&mut [f32]>> {
        self.check_tokens(prompt, prompt.len())?;
        let sequence = self.single()?;
        let cached = self.cached_tokens().iter().zip(prompt).take_while(|(a, b)| a == b).count();
        // The last token runs in any case: its logits are wanted.
        let common = self.cache.truncate(sequence, cached.min(prompt.len() - 1))?;
        let mut rest = &prompt[common..];
        while !rest.is_empty() {
            if !continue_prefill() {
                return Ok(None);
            }
            let (tokens, later) = rest.split_at(rest.len().min(self.limits.max_tokens));
            self.forward(&[SequenceInput { sequence, tokens, wants_logits: later.is_empty() }])?;
            rest = later;
        }
        self.step_logits(0).map(Some)
    }

    /// Appends one token to the cache and returns its logits.
    ///
    /// # Errors
    /// As [`Engine::forward`].
    pub fn decode(&mut self, token: u32) -> Result<&mut [f32]> {
        let sequence = self.single()?;
        self.forward(&[SequenceInput { sequence, tokens: &[token], wants_logits: true }])?;
        self.step_logits(0)
    }

    /// The sequence, made where there is none.
    fn single(&mut self) -> Result<SequenceId> {
        match self.single {
            Some(id) => Ok(id),
            None => {
                let id = self.cache.create()?;
                self.single = Some(id);
                Ok(id)
            }
        }
    }
}

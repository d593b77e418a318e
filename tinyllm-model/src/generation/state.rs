//! An answer in the making, a row of logits at a time. It holds no engine: whoever runs steps, for one answer or for many
//! at once, gives it the row of each step and learns what the answer has become.

use super::{FinishReason, GenerationParameters, stop::StopStrings};
use crate::{
    ModelConfig, Result, Tokenizer,
    sampling::{SampledRow, Sampler},
    tokenizer::DecodeStream,
};

/// Chooses the tokens of one answer, decodes them, and knows when it ends.
pub struct GenerationState<'t> {
    sampler: Sampler,
    tokenizer: Option<&'t Tokenizer>,
    decoder: Option<DecodeStream<'t>>,
    stops: StopStrings,
    /// Tokens that end the answer.
    end_tokens: Vec<u32>,
    /// Tokens that may still be chosen.
    tokens_left: usize,
    /// What the last advance made certain.
    text: String,
    finished: Option<FinishReason>,
}

/// What became of an answer by one row of logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Advance<'s> {
    /// The token that was chosen; `None` where the answer ended before one. It is part of the answer, and what the
    /// sequence is to be given next unless the answer is finished.
    pub token: Option<u32>,
    /// Text that is certain now: whole characters, and no beginning of a stop string.
    pub text: &'s str,
    /// Why the answer ended, once it has.
    pub finished: Option<FinishReason>,
}

impl<'t> GenerationState<'t> {
    /// The state before the first token of an answer of `config`'s model. `room` is how many tokens the sequence has room
    /// for behind the prompt; without a tokenizer an answer has no text.
    ///
    /// # Errors
    /// [`crate::ModelError::InvalidParameter`].
    pub fn new(
        parameters: &GenerationParameters,
        config: &ModelConfig,
        tokenizer: Option<&'t Tokenizer>,
        room: usize,
    ) -> Result<Self> {
        let mut end_tokens = parameters.stop_tokens.clone();
        if !parameters.ignore_eos {
            end_tokens.extend(&config.eos_token_ids);
            end_tokens.extend(tokenizer.iter().flat_map(|tokenizer| tokenizer.end_token_ids()));
        }
        Ok(GenerationState {
            sampler: Sampler::new(parameters.sampling.clone())?,
            tokenizer,
            decoder: tokenizer.map(|tokenizer| tokenizer.decode_stream(true)),
            stops: StopStrings::new(&parameters.stop_strings),
            end_tokens,
            // The last token needs no room: nothing comes after it.
            tokens_left: parameters.max_tokens.unwrap_or(usize::MAX).min(room.saturating_add(1)),
            text: String::new(),
            finished: None,
        })
    }

    /// Chooses the token that follows `row`. Where the answer is finished it stays as it is.
    ///
    /// # Errors
    /// The tokenizer's.
    pub fn advance(&mut self, row: SampledRow<'_>) -> Result<Advance<'_>> {
        self.text.clear();
        if self.finished.is_some() {
            return Ok(self.became(None));
        }
        let token = self.sampler.sample(row);
        if self.end_tokens.contains(&token) {
            self.finish(FinishReason::Stop)?;
            return Ok(self.became(None));
        }
        if self.tokens_left == 0 {
            self.finish(FinishReason::Length)?;
            return Ok(self.became(None));
        }
        self.tokens_left -= 1;
        if self.push(token)? {
            self.finished = Some(FinishReason::Stop);
        } else if self.tokens_left == 0 {
            self.finish(FinishReason::Length)?;
        }
        Ok(self.became(Some(token)))
    }

    /// Ends the answer, and gives the text that was held back.
    ///
    /// # Errors
    /// The tokenizer's.
    pub fn cancel(&mut self) -> Result<Advance<'_>> {
        self.text.clear();
        if self.finished.is_none() {
            self.finish(FinishReason::Cancelled)?;
        }
        Ok(self.became(None))
    }

    /// Why the answer ended, once it has.
    pub fn finished(&self) -> Option<FinishReason> {
        self.finished
    }

    /// How many more tokens the answer has at most.
    pub fn tokens_left(&self) -> usize {
        if self.finished.is_some() { 0 } else { self.tokens_left }
    }

    fn became(&self, token: Option<u32>) -> Advance<'_> {
        Advance { token, text: &self.text, finished: self.finished }
    }

    /// Decodes a token; returns whether a stop string came.
    fn push(&mut self, token: u32) -> Result<bool> {
        if let Some(tokenizer) = self.tokenizer
            && self.stops.is_watching()
            && let Some(special) = tokenizer.special_token(token)
        {
            return Ok(self.stops.push_special(&special, &mut self.text));
        }
        let piece = match &mut self.decoder {
            Some(decoder) => decoder.push(token)?,
            None => None,
        };
        Ok(piece.is_some_and(|piece| self.stops.push(&piece, &mut self.text)))
    }

    /// No more tokens come: what was held back is text, unless it completes a stop string.
    fn finish(&mut self, reason: FinishReason) -> Result<()> {
        let rest = match &mut self.decoder {
            Some(decoder) => decoder.finish()?,
            None => None,
        };
        let stopped = rest.is_some_and(|rest| self.stops.push(&rest, &mut self.text));
        if !stopped {
            self.stops.release(&mut self.text);
        }
        self.finished = Some(if stopped { FinishReason::Stop } else { reason });
        Ok(())
    }
}

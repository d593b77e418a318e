//! Incremental decoding: text from one token after another, in whole characters.

use super::Tokenizer;
use crate::Result;

/// What a decoder gives for bytes that are not (yet) a character.
const REPLACEMENT: char = '\u{fffd}';

/// Decodes one token after another. The returned texts join to the decoding of all tokens; a character whose bytes are
/// spread over tokens comes with the last of them.
pub struct DecodeStream<'a> {
    tokenizer: &'a Tokenizer,
    skip_special: bool,
    /// The tokens whose text may still change the next token's, then those not yet given out.
    ids: Vec<u32>,
    /// How many of `ids` have been given out.
    given: usize,
    /// Their text.
    prefix: String,
}

impl<'a> DecodeStream<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer, skip_special: bool) -> Self {
        DecodeStream { tokenizer, skip_special, ids: Vec::new(), given: 0, prefix: String::new() }
    }

    /// The text that `id` makes certain, if any. An id without a token is no text: models have more rows than their
    /// tokenizers have tokens, and now and then choose one of those.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, id: u32) -> Result<Option<String>> {
        if self.tokenizer.id_to_token(id).is_none() {
            return Ok(None);
        }
        self.ids.push(id);
        let text = self.tokenizer.decode(&self.ids, self.skip_special)?;
        if text.len() <= self.prefix.len() || text.ends_with(REPLACEMENT) {
            return Ok(None);
        }
        let delta = text.get(self.prefix.len()..).unwrap_or_default().to_owned();
        // The last tokens stay as context, so that a leading space is decoded as it would be in the whole.
        self.ids.drain(..self.given);
        self.given = self.ids.len();
        self.prefix = self.tokenizer.decode(&self.ids, self.skip_special)?;
        Ok(Some(delta))
    }

    /// The text that was held back: bytes that never became a character.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(&mut self) -> Result<Option<String>> {
        let text = self.tokenizer.decode(&self.ids, self.skip_special)?;
        let delta = text.get(self.prefix.len()..).unwrap_or_default().to_owned();
        self.given = self.ids.len();
        self.prefix = text;
        Ok((!delta.is_empty()).then_some(delta))
    }
}

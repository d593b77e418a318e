//! Encodes a rendered conversation: special tokens that the template writes become tokens, those in a message's text
//! stay text.

use std::sync::Arc;

use super::{
    ChatTemplate, Message,
    marks::{Marks, Specials},
};
use crate::{ModelError, Result, Tokenizer, tokenizer::EncodeOptions};

impl ChatTemplate {
    /// Renders `messages` and encodes them. A special token that is written in a message's text stays text, so a
    /// message cannot end its own turn.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`] and [`Tokenizer::encode`].
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<Vec<u32>> {
        let mut messages = serde_json::to_value(messages)
            .map_err(|error| ModelError::Messages { problem: error.to_string() })?;
        let marks = Arc::new(Marks::set(Specials::of(tokenizer)?, &mut messages)?);
        let rendered = self.render_marked(&messages, add_generation_prompt, &marks)?;
        let parsed = EncodeOptions { parse_special: true, add_special: false };
        if !marks.are_set() {
            return tokenizer.encode(&rendered, parsed);
        }
        let (mut ids, mut done, mut start) = (Vec::new(), 0, 0);
        let end = std::iter::once(rendered.len()..rendered.len());
        for special in marks.specials_in(&rendered).chain(end) {
            let plain = &rendered[start..special.start];
            if marks.are_in(plain) {
                ids.extend(tokenizer.encode(&rendered[done..start], parsed)?);
                ids.extend(tokenizer.encode(&marks.true_text(plain), EncodeOptions::default())?);
                done = special.start;
            }
            start = special.end;
        }
        ids.extend(tokenizer.encode(&rendered[done..], parsed)?);
        Ok(ids)
    }
}

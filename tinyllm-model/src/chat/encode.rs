//! A conversation as tokens: the template's special tokens become tokens, those that a message merely mentions stay
//! text.

use std::ops::Range;

use super::{ChatTemplate, Message};
use crate::{ModelError, Result, Tokenizer, tokenizer::EncodeOptions};

impl ChatTemplate {
    /// Renders `messages` and encodes them. A special token that is written in a message's text stays text, so nobody
    /// can end their own turn by typing its mark.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`] and [`Tokenizer::encode`].
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<Vec<u32>> {
        let specials = Specials::new(tokenizer);
        let mark = if specials.any_in(messages) { unused_mark(messages)? } else { '\0' };
        let disguised: Vec<Message> = messages
            .iter()
            .map(|message| Message {
                role: message.role.clone(),
                content: if mark == '\0' {
                    message.content.clone()
                } else {
                    specials.disguise(&message.content, mark)
                },
            })
            .collect();
        let value = serde_json::to_value(&disguised)
            .map_err(|error| ModelError::Request(format!("messages: {error}")))?;
        let rendered = self.render(&value, add_generation_prompt)?;
        let parsed = EncodeOptions { parse_special: true, add_special: false };
        if mark == '\0' {
            return tokenizer.encode(&rendered, parsed);
        }
        let mut ids = Vec::new();
        let mut done = 0;
        for range in specials.plain_ranges(&rendered) {
            let plain = &rendered[range.clone()];
            if plain.contains(mark) {
                ids.extend(tokenizer.encode(&rendered[done..range.start], parsed)?);
                ids.extend(tokenizer.encode(&specials.reveal(plain, mark), EncodeOptions::default())?);
                done = range.end;
            }
        }
        ids.extend(tokenizer.encode(&rendered[done..], parsed)?);
        Ok(ids)
    }
}

/// A tokenizer's special tokens, the longest first: one may begin with another.
struct Specials(Vec<String>);

impl Specials {
    fn new(tokenizer: &Tokenizer) -> Self {
        let mut tokens = tokenizer.special_tokens();
        tokens.retain(|token| !token.is_empty());
        tokens.sort_by_key(|token| std::cmp::Reverse(token.len()));
        Specials(tokens)
    }

    fn any_in(&self, messages: &[Message]) -> bool {
        messages.iter().any(|message| self.next(&message.content).is_some())
    }

    /// The first special token in `text`: where, and which.
    fn next(&self, text: &str) -> Option<(usize, usize)> {
        let found = self.0.iter().enumerate().filter_map(|(which, token)| Some((text.find(token)?, which)));
        found.min()
    }

    /// `text` with a numbered mark for each special token.
    fn disguise(&self, text: &str, mark: char) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((at, which)) = self.next(rest) {
            out.push_str(&rest[..at]);
            out.push_str(&format!("{mark}{which}{mark}"));
            rest = &rest[at + self.0[which].len()..];
        }
        out + rest
    }

    /// What [`Specials::disguise`] was given.
    fn reveal(&self, text: &str, mark: char) -> String {
        let mut out = String::with_capacity(text.len());
        for (index, part) in text.split(mark).enumerate() {
            match part.parse::<usize>().ok().and_then(|which| self.0.get(which)).filter(|_| index % 2 == 1) {
                Some(token) => out.push_str(token),
                None => out.push_str(part),
            }
        }
        out
    }

    /// The stretches of `text` between special tokens.
    fn plain_ranges(&self, text: &str) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        let mut start = 0;
        while let Some((at, which)) = self.next(&text[start..]) {
            ranges.push(start..start + at);
            start += at + self.0[which].len();
        }
        ranges.push(start..text.len());
        ranges
    }
}

/// A character that Unicode sets aside for such uses and no message contains.
fn unused_mark(messages: &[Message]) -> Result<char> {
    ('\u{fdd0}'..='\u{fdef}')
        .find(|mark| !messages.iter().any(|message| message.content.contains(*mark)))
        .ok_or_else(|| ModelError::Request("messages: they use every noncharacter of Unicode".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specials() -> Specials {
        Specials(vec!["<|im_end|>".into(), "</s>".into(), "\u{200b}".into()])
    }

    #[test]
    fn disguised_text_has_no_special_token_and_is_revealed_as_it_was() {
        for text in ["", "plain", "a<|im_end|>b</s></s>", "7\u{200b}8", "<|im_<|im_end|>end|>"] {
            let disguised = specials().disguise(text, '\u{fdd0}');
            assert!(specials().next(&disguised).is_none(), "{text}");
            assert_eq!(specials().reveal(&disguised, '\u{fdd0}'), text);
        }
    }

    #[test]
    fn plain_ranges_are_what_lies_between() {
        let text = "ab</s>c<|im_end|>";
        let ranges: Vec<&str> = specials().plain_ranges(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(ranges, ["ab", "c", ""]);
    }
}

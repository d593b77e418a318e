//! Stop strings in streamed text: what could be the beginning of one is held back until it is certain.

use std::ops::Range;

/// Watches text for stop strings. Special tokens' text is watched too, but is no text of the answer.
#[derive(Debug)]
pub(super) struct StopStrings {
    strings: Vec<String>,
    held: String,
    /// What of `held` is special tokens, in order.
    hidden: Vec<Range<usize>>,
}

impl StopStrings {
    pub(super) fn new(strings: &[String]) -> Self {
        let strings = strings.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        StopStrings { strings, held: String::new(), hidden: Vec::new() }
    }

    /// Whether a special token's text can matter.
    pub(super) fn is_watching(&self) -> bool {
        !self.strings.is_empty()
    }

    /// Appends to `text` what of `piece`, and of what was held back, is certain. Returns whether a stop string came.
    pub(super) fn push(&mut self, piece: &str, text: &mut String) -> bool {
        self.held.push_str(piece);
        self.look(text)
    }

    /// As [`StopStrings::push`], for the text of a special token.
    pub(super) fn push_special(&mut self, token: &str, text: &mut String) -> bool {
        self.hidden.push(self.held.len()..self.held.len() + token.len());
        self.push(token, text)
    }

    fn look(&mut self, text: &mut String) -> bool {
        if let Some(at) = self.strings.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.release_to(at, text);
            self.held.clear();
            return true;
        }
        let begins = |tail: &str| self.strings.iter().any(|stop| stop.starts_with(tail));
        let certain = self
            .held
            .char_indices()
            .map(|(at, _)| at)
            .find(|&at| begins(&self.held[at..]))
            .unwrap_or(self.held.len());
        self.release_to(certain, text);
        false
    }

    /// Appends what was held back: no more text will come.
    pub(super) fn release(&mut self, text: &mut String) {
        self.release_to(self.held.len(), text);
    }

    /// Appends what was held back before `end`, without special tokens.
    fn release_to(&mut self, end: usize, text: &mut String) {
        let mut start = 0;
        for hidden in &self.hidden {
            text.push_str(&self.held[start..hidden.start.clamp(start, end)]);
            start = hidden.end.clamp(start, end);
        }
        text.push_str(&self.held[start..end]);
        self.held.drain(..end);
        self.hidden.retain(|hidden| hidden.end > end);
        for hidden in &mut self.hidden {
            *hidden = hidden.start.saturating_sub(end)..hidden.end - end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(pieces: &[&str], stops: &[&str]) -> (Vec<String>, bool) {
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).into()).collect();
        let mut watcher = StopStrings::new(&stops);
        let mut certain = Vec::new();
        for piece in pieces {
            let mut text = String::new();
            let stopped = watcher.push(piece, &mut text);
            certain.push(text);
            if stopped {
                return (certain, true);
            }
        }
        let mut text = String::new();
        watcher.release(&mut text);
        certain.push(text);
        (certain, false)
    }

    #[test]
    fn text_before_a_stop_string_is_kept_and_the_rest_is_not() {
        assert_eq!(
            stream(&["Hello\n\nUs", "er: hi"], &["\nUser:"]),
            (vec!["Hello\n".into(), "".into()], true)
        );
        assert_eq!(stream(&["abc"], &["b", "a"]), (vec!["".into()], true));
    }

    #[test]
    fn what_might_begin_a_stop_string_is_held_back_and_released() {
        assert_eq!(
            stream(&["a<", "/", "b"], &["</s>"]),
            (vec!["a".into(), "".into(), "</b".into(), "".into()], false)
        );
        assert_eq!(stream(&["é<"], &["</s>"]), (vec!["é".into(), "<".into()], false));
    }

    #[test]
    fn without_stop_strings_everything_passes() {
        assert_eq!(stream(&["x", ""], &[""]), (vec!["x".into(), "".into(), "".into()], false));
    }

    #[test]
    fn special_tokens_stop_an_answer_and_are_no_text() {
        let stops = ["<|im_end|>".to_owned(), "x<s>y".to_owned()];
        let mut watcher = StopStrings::new(&stops);
        let mut text = String::new();
        assert!(!watcher.push("a", &mut text) && !watcher.push_special("<s>", &mut text));
        assert_eq!(text, "a");
        // Half of a stop string in a special token, which is released when the other half does not come.
        assert!(!watcher.push("bx", &mut text) && !watcher.push_special("<s>", &mut text));
        assert_eq!(text, "ab");
        assert!(!watcher.push("z", &mut text));
        assert_eq!(text, "abxz");
        assert!(watcher.push_special("<|im_end|>", &mut text));
        assert_eq!(text, "abxz");
        let mut watcher = StopStrings::new(&stops);
        assert!(!watcher.push("cx", &mut text) && !watcher.push_special("<s>", &mut text));
        assert!(watcher.push("y!", &mut text));
        assert_eq!(text, "abxzc");
    }
}

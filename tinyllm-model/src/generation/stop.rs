//! Stop strings in streamed text: what could be the beginning of one is held back until it is certain.

/// Watches text for stop strings.
#[derive(Debug)]
pub(super) struct StopStrings<'a> {
    strings: &'a [String],
    held: String,
    stopped: bool,
}

impl<'a> StopStrings<'a> {
    pub(super) fn new(strings: &'a [String]) -> Self {
        StopStrings { strings, held: String::new(), stopped: false }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Appends to `text` what of `piece`, and of what was held back, is certain. Returns whether a stop string came.
    pub(super) fn push(&mut self, piece: &str, text: &mut String) -> bool {
        self.held.push_str(piece);
        let strings = || self.strings.iter().filter(|stop| !stop.is_empty());
        if let Some(at) = strings().filter_map(|stop| self.held.find(stop.as_str())).min() {
            text.push_str(&self.held[..at]);
            self.held.clear();
            self.stopped = true;
            return true;
        }
        let begins = |tail: &str| strings().any(|stop| stop.starts_with(tail));
        let certain = self
            .held
            .char_indices()
            .map(|(at, _)| at)
            .find(|&at| begins(&self.held[at..]))
            .unwrap_or(self.held.len());
        text.push_str(&self.held[..certain]);
        self.held.drain(..certain);
        false
    }

    /// Appends what was held back: no more text will come.
    pub(super) fn release(&mut self, text: &mut String) {
        text.push_str(&self.held);
        self.held.clear();
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
}

//! Lines of a chat: from a terminal with editing and history, or from a pipe.

use std::path::PathBuf;

use anyhow::Context;
use rustyline::{DefaultEditor, error::ReadlineError};

/// Marks the beginning and the end of a message of several lines.
const FENCE: &str = "\"\"\"";

/// What a user did.
pub(super) enum Input {
    /// A line, or the several lines of a fenced message.
    Line { text: String, is_fenced: bool },
    /// Ctrl-C at the prompt.
    Interrupted,
    /// Ctrl-D, or the end of the pipe.
    End,
}

/// Where lines come from.
pub(super) struct Lines {
    editor: DefaultEditor,
    history: Option<PathBuf>,
}

impl Lines {
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut editor = DefaultEditor::new().context("the terminal")?;
        let history = crate::hub::cache().ok().map(|folder| folder.join("chat_history"));
        if let Some(path) = &history {
            // There is none the first time.
            let _ = editor.load_history(path);
        }
        Ok(Lines { editor, history })
    }

    /// The next line or fenced message.
    pub(super) fn next(&mut self) -> anyhow::Result<Input> {
        let line = match self.read(">>> ")? {
            Ok(line) => line,
            Err(other) => return Ok(other),
        };
        let Some(first) = line.trim_start().strip_prefix(FENCE) else {
            self.remember(&line);
            return Ok(Input::Line { text: line, is_fenced: false });
        };
        let mut text = first.to_owned();
        while !text.trim_end().ends_with(FENCE) {
            match self.read("... ")? {
                Ok(line) => {
                    text.push('\n');
                    text.push_str(&line);
                }
                Err(other) => return Ok(other),
            }
        }
        let text = text.trim_end().trim_end_matches(FENCE).trim_matches('\n').to_owned();
        Ok(Input::Line { text, is_fenced: true })
    }

    fn read(&mut self, prompt: &str) -> anyhow::Result<Result<String, Input>> {
        match self.editor.readline(prompt) {
            Ok(line) => Ok(Ok(line)),
            Err(ReadlineError::Interrupted) => Ok(Err(Input::Interrupted)),
            Err(ReadlineError::Eof) => Ok(Err(Input::End)),
            Err(error) => Err(error).context("stdin"),
        }
    }

    fn remember(&mut self, line: &str) {
        if line.trim().is_empty() || !matches!(self.editor.add_history_entry(line), Ok(true)) {
            return;
        }
        if let Some(path) = &self.history {
            // A chat goes on without its history being kept.
            let _ = path.parent().map(std::fs::create_dir_all);
            let _ = self.editor.append_history(path);
        }
    }
}

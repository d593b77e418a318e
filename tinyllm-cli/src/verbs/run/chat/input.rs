//! Lines of a chat: from a terminal with editing and history, or from a pipe.

use std::{
    io::{self, BufRead, ErrorKind, IsTerminal, Read},
    path::PathBuf,
};

use anyhow::{Context, ensure};
use rustyline::{DefaultEditor, error::ReadlineError};

use crate::input;

/// The fence around a message of several lines.
const FENCE: &str = "\"\"\"";

/// The longest message: a line of a pipe, or the lines between fences.
const MAX_BYTES: u64 = input::MAX_PROMPT_BYTES;

/// One input of the user.
pub(super) enum Input {
    /// A line, or the several lines of a fenced message.
    Line { text: String, is_fenced: bool },
    /// A line that is not UTF-8.
    Unreadable,
    /// Ctrl-C at the prompt.
    Interrupted,
    /// Ctrl-D, or the end of the pipe.
    End,
}

/// Where lines come from.
pub(super) struct Lines {
    /// Whether somebody types them.
    is_terminal: bool,
    editor: DefaultEditor,
    /// A line that was read and not yet returned.
    pending: Option<String>,
    history: Option<PathBuf>,
}

impl Lines {
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut editor = DefaultEditor::new().context("the terminal")?;
        let history = crate::cache::folder().ok().map(|folder| folder.join("chat_history"));
        if let Some(path) = &history {
            // There is none the first time.
            let _ = editor.load_history(path);
        }
        Ok(Lines { is_terminal: io::stdin().is_terminal(), editor, pending: None, history })
    }

    /// Whether somebody can be asked.
    pub(super) fn can_ask(&self) -> bool {
        self.is_terminal
    }

    /// Asks for yes or no. What is neither is kept as the next line: it was typed before the question came.
    pub(super) fn ask(&mut self, question: &str) -> anyhow::Result<Option<bool>> {
        let Ok(line) = self.read(question)? else { return Ok(None) };
        Ok(match line.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Some(true),
            "n" | "no" => Some(false),
            _ => {
                self.pending = Some(line);
                None
            }
        })
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
        let (mut text, mut is_text) = (first.to_owned(), true);
        while !text.trim_end().ends_with(FENCE) {
            match self.read("... ")? {
                Ok(line) => {
                    ensure!(text.len() as u64 <= MAX_BYTES, "stdin: a message longer than {MAX_BYTES} bytes");
                    text.push('\n');
                    text.push_str(&line);
                }
                // The message ends where its fence does.
                Err(Input::Unreadable) => is_text = false,
                Err(other) => return Ok(other),
            }
        }
        if !is_text {
            return Ok(Input::Unreadable);
        }
        let text = text.trim_end().trim_end_matches(FENCE).trim_matches('\n').to_owned();
        Ok(Input::Line { text, is_fenced: true })
    }

    fn read(&mut self, prompt: &str) -> anyhow::Result<Result<String, Input>> {
        if let Some(line) = self.pending.take() {
            return Ok(Ok(line));
        }
        if !self.is_terminal {
            return read_line(&mut io::stdin().lock());
        }
        match self.editor.readline(prompt) {
            Ok(line) => Ok(Ok(line)),
            Err(ReadlineError::Interrupted) => Ok(Err(Input::Interrupted)),
            Err(ReadlineError::Eof) => Ok(Err(Input::End)),
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                Ok(Err(Input::Unreadable))
            }
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

/// The next line of a pipe or file, without its end.
fn read_line(source: &mut impl BufRead) -> anyhow::Result<Result<String, Input>> {
    let mut line = Vec::new();
    source.take(MAX_BYTES + 1).read_until(b'\n', &mut line).context("stdin")?;
    ensure!(line.len() as u64 <= MAX_BYTES, "stdin: a line longer than {MAX_BYTES} bytes");
    if line.is_empty() {
        return Ok(Err(Input::End));
    }
    let end = line.strip_suffix(b"\n").map_or(line.len(), <[u8]>::len);
    line.truncate(end);
    if line.ends_with(b"\r") {
        line.pop();
    }
    Ok(String::from_utf8(line).map_err(|_| Input::Unreadable))
}

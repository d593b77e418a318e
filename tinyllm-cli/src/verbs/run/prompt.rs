//! The prompt of a single answer: read from the command line, a file or a pipe, and tokenized.

use std::{io::IsTerminal, path::Path};

use anyhow::ensure;
use tinyllm_model::{
    ModelFiles, Tokenizer,
    chat::{ChatTemplate, Message},
    tokenizer::EncodeOptions,
};

use super::Arguments;
use crate::{input, models};

/// A prompt as it was given.
pub(super) enum Prompt {
    Ids(Vec<u32>),
    Text(String),
}

impl Prompt {
    /// Reads what the arguments name.
    pub(super) fn read(arguments: &Arguments) -> anyhow::Result<Self> {
        Ok(match &arguments.ids {
            Some(ids) => Prompt::Ids(ids.0.clone()),
            None => Prompt::Text(text(arguments)?),
        })
    }

    /// The prompt's tokens; a tokenizer where the model has one.
    pub(super) fn tokens(
        self,
        arguments: &Arguments,
        model: &ModelFiles,
    ) -> anyhow::Result<(Option<Tokenizer>, Vec<u32>)> {
        let text = match self {
            // Ids need no tokenizer; with one, the answer has a text.
            Prompt::Ids(ids) => return Ok((models::tokenizer(model.text()).ok(), ids)),
            Prompt::Text(text) => text,
        };
        let tokenizer = models::tokenizer(model.text())?;
        let template = if arguments.raw { None } else { model.text().template_source()? };
        let ids = match template {
            None => tokenizer.encode(&text, EncodeOptions { parse_special: false, add_special: true })?,
            Some(source) => {
                let system = arguments.system.iter().map(|text| ("system", text.clone()));
                let messages: Vec<Message> = system
                    .chain([("user", text)])
                    .map(|(role, content)| Message { role: role.into(), content })
                    .collect();
                ChatTemplate::new(&source)?.encode(&tokenizer, &messages, true)?
            }
        };
        Ok((Some(tokenizer), ids))
    }
}

/// What --file or stdin holds, then PROMPT.
fn text(arguments: &Arguments) -> anyhow::Result<String> {
    let prompt = arguments.prompt();
    let mut text = match arguments.file.as_deref() {
        Some(path) => {
            let text = match path {
                "-" => input::stdin(input::MAX_PROMPT_BYTES)?,
                path => input::text(Path::new(path), input::MAX_PROMPT_BYTES)?,
            };
            let name = if path == "-" { "stdin" } else { path };
            ensure!(!text.trim().is_empty(), "{name}: the prompt is empty");
            text
        }
        None if prompt.is_none() => {
            let text = input::stdin(input::MAX_PROMPT_BYTES)?;
            ensure!(!text.trim().is_empty(), "stdin: the prompt is empty");
            text
        }
        None => piped()?,
    };
    if let Some(prompt) = &prompt {
        if !text.is_empty() {
            text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
        }
        text.push_str(prompt);
    }
    ensure!(!text.trim().is_empty(), "the prompt is empty: pass PROMPT, --file FILE or text on stdin");
    Ok(text)
}

/// What is piped into a run that has a PROMPT; nothing where nobody pipes, or only white space comes.
fn piped() -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        return Ok(String::new());
    }
    let text = input::patiently(
        "stdin is no terminal: waiting for its end (</dev/null where nothing comes)",
        || input::stdin(input::MAX_PROMPT_BYTES),
    )?;
    Ok(if text.trim().is_empty() { String::new() } else { text })
}

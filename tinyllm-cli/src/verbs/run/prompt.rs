//! One prompt: from the command line, a file or a pipe, and as tokens.

use std::{
    fs::File,
    io::{self, Read},
};

use anyhow::{Context, ensure};
use tinyllm_model::{
    Tokenizer,
    chat::{ChatTemplate, Message},
    tokenizer::EncodeOptions,
};

use super::Arguments;
use crate::models::Model;

/// The longest prompt that is read.
const MAX_BYTES: u64 = 64 << 20;

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
        model: &Model,
    ) -> anyhow::Result<(Option<Tokenizer>, Vec<u32>)> {
        let text = match self {
            // Ids need no tokenizer; with one, the answer has a text.
            Prompt::Ids(ids) => return Ok((model.tokenizer().ok(), ids)),
            Prompt::Text(text) => text,
        };
        let tokenizer = model.tokenizer()?;
        let template = if arguments.raw { None } else { model.template_source()? };
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
    let mut text = String::new();
    match arguments.file.as_deref() {
        Some("-") => read(io::stdin().lock(), "stdin", &mut text)?,
        Some(path) => read(File::open(path).with_context(|| path.to_owned())?, path, &mut text)?,
        None if arguments.prompt.is_none() => read(io::stdin().lock(), "stdin", &mut text)?,
        None => {}
    }
    if let Some(prompt) = &arguments.prompt {
        if !text.is_empty() {
            text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
        }
        text.push_str(prompt);
    }
    ensure!(!text.trim().is_empty(), "the prompt is empty: pass PROMPT, --file FILE or text on stdin");
    Ok(text)
}

fn read(source: impl Read, name: &str, text: &mut String) -> anyhow::Result<()> {
    let count = source.take(MAX_BYTES + 1).read_to_string(text).with_context(|| name.to_owned())?;
    ensure!(
        count as u64 <= MAX_BYTES,
        "{name}: longer than {MAX_BYTES} bytes, the most that a prompt may have"
    );
    ensure!(!text.trim().is_empty(), "{name}: the prompt is empty");
    Ok(())
}

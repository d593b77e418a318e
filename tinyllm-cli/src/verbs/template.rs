//! `template`: a conversation as the model will read it.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use tinyllm_model::chat::{ChatTemplate, TemplateSource};

use crate::{input, models, options, output};

#[derive(Args)]
pub(crate) struct Arguments {
    #[arg(help = models::MODEL, add = options::completion::model())]
    model: String,
    /// A JSON file: a list of messages
    messages: PathBuf,
    /// A template to use instead of the model's
    #[arg(long)]
    chat_template_file: Option<PathBuf>,
    /// Leave out the beginning of the answer
    #[arg(long)]
    no_generation_prompt: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let messages: serde_json::Value = input::json(&arguments.messages, input::MAX_PROMPT_BYTES)?;
    anyhow::ensure!(messages.is_array(), "{}: not a list of messages", arguments.messages.display());
    let text_files = models::open_text(&arguments.model)?;
    let source = match &arguments.chat_template_file {
        None => text_files.template_source()?.with_context(|| {
            format!("{}: no chat template; pass --chat-template-file", text_files.path().display())
        })?,
        Some(path) => {
            let text = input::text(path, input::MAX_SMALL_BYTES)?;
            TemplateSource { path: path.clone(), text, tokens: text_files.special_tokens()? }
        }
    };
    let rendered = ChatTemplate::new(&source)?.render(&messages, !arguments.no_generation_prompt)?;
    output::print(&rendered)
}

//! `tokenize`: text to token ids.

use clap::Args;
use serde::Serialize;
use tinyllm_model::tokenizer::EncodeOptions;

use crate::{input, models, options, output};

#[derive(Args)]
pub(crate) struct Arguments {
    #[arg(help = models::MODEL, add = options::completion::model())]
    model: String,
    /// The text; without it, the UTF-8 text on stdin, its last line end included
    text: Option<String>,
    /// Special tokens in the text become those tokens
    #[arg(long)]
    parse_special: bool,
    /// Add what the tokenizer's own post-processor adds
    #[arg(long)]
    add_special: bool,
    /// Print JSON (the only format there is)
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let tokenizer = models::tokenizer(&models::open_text(&arguments.model)?)?;
    let text = match &arguments.text {
        Some(text) => text.clone(),
        None => input::stdin(input::MAX_TEXT_BYTES)?,
    };
    let options =
        EncodeOptions { parse_special: arguments.parse_special, add_special: arguments.add_special };
    output::print_json(&Tokens { ids: tokenizer.encode(&text, options)? })
}

/// What is printed.
#[derive(Serialize)]
struct Tokens {
    ids: Vec<u32>,
}

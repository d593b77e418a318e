//! `detokenize`: token ids to text.

use clap::Args;

use crate::{
    models,
    options::{self, TokenIds, token_ids},
    output,
};

#[derive(Args)]
pub(crate) struct Arguments {
    #[arg(help = models::MODEL, add = options::completion::model())]
    model: String,
    /// Token ids, separated by commas
    #[arg(long, value_parser = token_ids)]
    ids: TokenIds,
    /// Leave special tokens out
    #[arg(long)]
    skip_special: bool,
    /// Print JSON (the only format there is)
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let tokenizer = models::tokenizer(&models::open_text(&arguments.model)?)?;
    let text = tokenizer.decode(&arguments.ids.0, arguments.skip_special)?;
    output::print_json(&serde_json::json!({"text": text}))
}

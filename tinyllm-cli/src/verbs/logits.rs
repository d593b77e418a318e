//! `logits`: every position's, as JSON.

use std::io::{self, BufWriter, Write};

use clap::Args;

use crate::{
    models::Model,
    options::{LoadOptions, TokenIds, token_ids},
};

/// Rows computed at once: enough to share the weights, few enough to stay small.
const SAMPLED_ROWS: usize = 16;

#[derive(Args)]
pub(crate) struct Arguments {
    /// A directory, a .gguf file, or an alias
    model: String,
    /// Token ids, separated by commas
    #[arg(long, value_parser = token_ids)]
    ids: TokenIds,
    /// Print JSON (the only format there is)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadOptions,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let ids = &arguments.ids.0;
    anyhow::ensure!(!ids.is_empty(), "--ids: at least one token id is needed");
    let model = Model::open(&arguments.model)?;
    let (mut engine, _) = arguments.load.load(&model, Some(ids.len()), SAMPLED_ROWS)?;
    // Nothing is printed before every position has come out well.
    let mut body = Vec::new();
    let mut failure = None;
    engine.logits(ids, &mut |position, logits| {
        if position > 0 {
            body.push(b',');
        }
        if let Err(error) = serde_json::to_writer(&mut body, logits) {
            failure = Some(error);
        }
    })?;
    if let Some(error) = failure {
        return Err(error.into());
    }
    let mut out = BufWriter::new(io::stdout().lock());
    write!(out, "{{\"ids\":{},\"logits\":[", serde_json::to_string(ids)?)?;
    out.write_all(&body)?;
    out.write_all(b"]}\n")?;
    out.flush()?;
    Ok(())
}

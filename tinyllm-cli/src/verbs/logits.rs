//! `logits`: the logits of every position, as JSON.

use std::io::{self, Write};

use clap::Args;

use crate::{
    models,
    options::{self, LoadOptions, TokenIds, token_ids},
};

/// Rows computed at once: enough to share the weights, few enough to stay small.
const SAMPLED_ROWS: usize = 16;

/// Bytes held before any are printed.
const HELD_BYTES: usize = 1 << 20;

#[derive(Args)]
pub(crate) struct Arguments {
    #[arg(help = models::MODEL, add = options::completion::model())]
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
    let model = models::open(&arguments.model)?;
    let (mut engine, _) = arguments.load.load(&model, Some(ids.len()), SAMPLED_ROWS)?;
    let mut out = JsonStream { out: io::stdout().lock(), held: Vec::new(), failure: None };
    out.write(|body| write!(body, "{{\"ids\":{},\"logits\":[", serde_json::to_string(ids)?));
    engine.logits(ids, &mut |position, logits| {
        out.write(|body| {
            if position > 0 {
                body.push(b',');
            }
            Ok(serde_json::to_writer(body, logits)?)
        });
    })?;
    out.write(|body| body.write_all(b"]}\n"));
    out.finish()
}

/// Streams JSON to stdout. Up to [`HELD_BYTES`] are buffered until all of it has succeeded, so that a short failing run
/// prints nothing; longer output is truncated by a failure.
struct JsonStream<W> {
    out: W,
    held: Vec<u8>,
    /// The first failure: nothing is written after it.
    failure: Option<io::Error>,
}

impl<W: Write> JsonStream<W> {
    /// Adds what `body` appends.
    fn write(&mut self, body: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) {
        if self.failure.is_some() {
            return;
        }
        let mut written = body(&mut self.held);
        if written.is_ok() && self.held.len() >= HELD_BYTES {
            written = self.out.write_all(&self.held);
            self.held.clear();
        }
        self.failure = written.err();
    }

    fn finish(mut self) -> anyhow::Result<()> {
        if let Some(error) = self.failure {
            return Err(error.into());
        }
        self.out.write_all(&self.held)?;
        Ok(self.out.flush()?)
    }
}

//! `list`: the models that have been pulled.

use clap::Args;
use serde_json::json;

use crate::{hub, output};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let models = hub::pulled()?;
    if arguments.json {
        let rows: Vec<_> = models.iter().map(|(name, bytes)| json!({"name": name, "bytes": bytes})).collect();
        return output::print_json(&rows);
    }
    let rows: String = models.iter().map(|(name, bytes)| format!("{bytes:>14}  {name}\n")).collect();
    output::print(&rows)
}

//! `list`: the models that have been pulled.

use clap::Args;
use serde_json::json;

use crate::{hub, models::alias, output};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut models = hub::pulled()?;
    if let Ok(metadata) = std::fs::metadata(alias::path()?) {
        models.push(hub::Pulled { name: alias::SMOLLM2.into(), bytes: metadata.len(), is_whole: true });
    }
    if arguments.json {
        let rows: Vec<_> = models
            .iter()
            .map(|model| json!({"name": model.name, "bytes": model.bytes, "complete": model.is_whole}))
            .collect();
        return output::print_json(&rows);
    }
    let row = |model: &hub::Pulled| {
        let remark = if model.is_whole { "" } else { "  (incomplete: pull again)" };
        format!("{:>14}  {}{remark}\n", model.bytes, model.name)
    };
    output::print(&models.iter().map(row).collect::<String>())
}

//! `list`: the models that have been pulled.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use indicatif::HumanDuration;
use serde_json::json;

use crate::{
    models::installed,
    output::{self, numbers},
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let models = installed()?;
    if arguments.json {
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok().map(|time| time.as_secs());
        let rows: Vec<_> = models
            .iter()
            .map(|model| {
                json!({
                    "name": model.name, "bytes": model.bytes, "complete": model.is_whole,
                    "pulled_unix_s": model.pulled.and_then(seconds),
                })
            })
            .collect();
        return output::print_json(&rows);
    }
    if models.is_empty() {
        output::note(
            "no models yet: `tinyllm run smollm2` fetches one, `tinyllm pull org/name` those of the hub",
        );
        return Ok(());
    }
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["name", "size", "pulled"]);
    for model in &models {
        let ago = |time: SystemTime| time.elapsed().map(|time| format!("{} ago", HumanDuration(time))).ok();
        let pulled = match model.is_whole {
            true => model.pulled.and_then(ago).unwrap_or_default(),
            false => "incomplete: pull again".into(),
        };
        table.add_row([model.name.clone(), numbers::size(model.bytes), pulled]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    output::print(&format!("{}\n", table.trim_fmt()))
}

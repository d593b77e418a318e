//! `list`: the models that have been pulled.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use indicatif::HumanDuration;
use serde_json::json;

use crate::{hub, models::alias, numbers, output};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A model that is here.
pub(crate) struct Installed {
    pub(crate) name: String,
    bytes: u64,
    is_whole: bool,
    /// When its files came.
    pulled: Option<SystemTime>,
}

/// The models that have been pulled, and the alias where its file is here.
pub(crate) fn installed() -> anyhow::Result<Vec<Installed>> {
    let time = |path: &std::path::Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let of_the_hub = |model: hub::Pulled| {
        let path = hub::HubName::parse(&model.name).and_then(|name| name.local().ok().flatten());
        let pulled = path.and_then(|path| time(&path));
        Installed { name: model.name, bytes: model.bytes, is_whole: model.is_whole, pulled }
    };
    let mut models: Vec<Installed> = hub::pulled()?.into_iter().map(of_the_hub).collect();
    let path = alias::path()?;
    if let Ok(metadata) = std::fs::metadata(&path) {
        let (name, bytes) = (alias::SMOLLM2.into(), metadata.len());
        models.push(Installed { name, bytes, is_whole: true, pulled: time(&path) });
    }
    Ok(models)
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

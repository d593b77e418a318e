//! `rm`: removes a model that was pulled.

use anyhow::Context;
use clap::Args;

use crate::{hub::HubName, models::alias, options, output};

#[derive(Args)]
pub(crate) struct Arguments {
    /// org/name, org/name:Q4_K_M, org/name:file.gguf, or an alias
    #[arg(add = options::completion::pulled_model())]
    name: String,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let name = &arguments.name;
    let bytes = if name == alias::SMOLLM2 {
        alias::remove()?
    } else {
        let hub_name = HubName::parse(name)
            .with_context(|| format!("{name}: not a name of the hub, such as org/name, nor an alias"))?;
        hub_name.remove()?
    };
    output::print(&format!("{bytes} bytes freed\n"))
}

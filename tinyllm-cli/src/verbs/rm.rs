//! `rm`: removes a model that was pulled.

use anyhow::Context;
use clap::Args;

use crate::{hub::HubName, output};

#[derive(Args)]
pub(crate) struct Arguments {
    /// org/name, or org/name:file.gguf
    name: String,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let name = HubName::parse(&arguments.name)
        .with_context(|| format!("{}: not a name of the hub, such as org/name", arguments.name))?;
    output::print(&format!("{} bytes freed\n", name.remove()?))
}

//! `pull`: downloads a model from the Hugging Face hub.

use anyhow::Context;
use clap::Args;

use crate::{hub::HubName, output};

#[derive(Args)]
pub(crate) struct Arguments {
    /// org/name, org/name:Q4_K_M, org/name:file.gguf, or the address of one on the hub
    name: String,
    /// A branch, tag or commit [default: main]
    #[arg(long)]
    revision: Option<String>,
    /// Download what is here too
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let name = HubName::parse(&arguments.name).with_context(|| {
        format!(
            "{}: not a name of the hub, such as org/name, org/name:Q4_K_M or org/name:file.gguf",
            arguments.name
        )
    })?;
    let path = name.pull(arguments.revision.as_deref(), arguments.force)?;
    output::print(&format!("{}\n", path.display()))
}

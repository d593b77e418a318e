//! `pull`: downloads a model from the Hugging Face hub.

use anyhow::Context;
use clap::Args;

use crate::{hub::HubName, output};

#[derive(Args)]
pub(crate) struct Arguments {
    /// org/name, or org/name:file.gguf
    name: String,
    /// A branch, tag or commit
    #[arg(long, default_value = "main")]
    revision: String,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let name = HubName::parse(&arguments.name).with_context(|| {
        format!("{}: not a name of the hub, such as org/name or org/name:file.gguf", arguments.name)
    })?;
    let path = name.pull(&arguments.revision)?;
    output::print(&format!("{}\n", path.display()))
}

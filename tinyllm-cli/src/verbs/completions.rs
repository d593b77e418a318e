//! `completions`: for the user's shell.

use clap::{Args, CommandFactory};

use crate::output;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The shell
    shell: clap_complete::Shell,
}

pub(crate) fn run<P: CommandFactory>(arguments: &Arguments) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut P::command(), "tinyllm", &mut script);
    output::print(&String::from_utf8(script)?)
}

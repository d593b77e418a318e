//! `completions`: a completion script for the user's shell. The script calls this program, so that it offers installed models.

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::{CompleteEnv, env::Shells};

use crate::output;

/// With this variable, a shell's name, the program completes its arguments instead of running them.
const VARIABLE: &str = "TINYLLM_COMPLETE";

/// What the program is called.
const NAME: &str = "tinyllm";

#[derive(Args)]
pub(crate) struct Arguments {
    /// The shell
    shell: clap_complete::Shell,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let shell = arguments.shell.to_string();
    let completer = Shells::builtins();
    let completer = completer.completer(&shell).with_context(|| format!("{shell}: no completions"))?;
    // A program that was called by a path may not be in PATH.
    let called = std::env::args_os().next().unwrap_or_default();
    let path = std::path::PathBuf::from(&called);
    let path = if path.components().count() > 1 { std::path::absolute(&path)? } else { path };
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, NAME, NAME, &path.to_string_lossy(), &mut script)?;
    output::print(&String::from_utf8(script)?)
}

/// Completes the arguments and ends the program, where a shell asks for that.
pub(crate) fn answer_shell<P: CommandFactory>() {
    CompleteEnv::with_factory(P::command).var(VARIABLE).complete();
}

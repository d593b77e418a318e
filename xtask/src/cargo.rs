//! Builds with cargo, and the paths of what was built.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde_json::Value;

pub(crate) fn command() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Every file that a build makes, libraries and executables.
pub(crate) fn files(arguments: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let messages = messages(arguments)?;
    let files = messages.iter().filter_map(|message| message.get("filenames")?.as_array()).flatten();
    Ok(files.filter_map(|file| file.as_str().map(PathBuf::from)).collect())
}

/// The one executable that a build makes last.
pub(crate) fn executable(arguments: &[&str]) -> anyhow::Result<PathBuf> {
    let messages = messages(arguments)?;
    let mut paths = messages.iter().filter_map(|message| message.get("executable")?.as_str());
    paths
        .next_back()
        .map(PathBuf::from)
        .with_context(|| format!("cargo {} built nothing", arguments.join(" ")))
}

/// What cargo says of what it makes: where each file is, whatever its settings.
fn messages(arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    let output = command()
        .args(arguments)
        .args(["--quiet", "--message-format=json"])
        .stderr(Stdio::inherit())
        .output()
        .context("starting cargo")?;
    ensure!(output.status.success(), "cargo {} failed", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

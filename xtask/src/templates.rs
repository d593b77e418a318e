//! `templates`: published chat templates, rendered by tinyllm and by jinja2.

use std::{
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::Context;

use crate::{cargo, flags};

pub(crate) fn run(options: &flags::Templates) -> anyhow::Result<ExitCode> {
    let program = cargo::executable(&["build", "--release", "--package", "tinyllm-cli", "--bin", "tinyllm"])?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's root")?;
    let mut compare = Command::new("python3");
    compare.arg(root.join("xtask/templates/published.py")).arg(program);
    compare.arg("--verbose").arg("--table").arg(root.join("docs/chat-templates.md"));
    if let Some(packages) = &options.packages {
        compare.arg("--packages").arg(packages);
    }
    let status = compare.status().context("python3 (which runs jinja2) cannot be started")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

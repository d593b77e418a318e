//! The program's folder in the user's cache directory: pulled models, the alias's file, the chat's history.

use std::path::PathBuf;

use anyhow::Context;
use etcetera::BaseStrategy;

/// The folder; it need not exist.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    let base = etcetera::choose_base_strategy().context("no home directory to keep models in")?;
    Ok(base.cache_dir().join("tinyllm"))
}

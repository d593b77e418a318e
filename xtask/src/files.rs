//! Files of results, written atomically; and dates.

use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use serde_json::Value;
use xshell::{Shell, cmd};

/// Writes a temporary file and renames it.
pub(crate) fn write(path: &Path, result: &Value) -> anyhow::Result<()> {
    fs::create_dir_all(path.parent().context("a folder for the results")?)?;
    let temporary = path.with_extension("json.tmp");
    fs::write(&temporary, serde_json::to_string_pretty(result)? + "\n")?;
    fs::rename(&temporary, path)?;
    Ok(())
}

/// As 2026-01-31.
pub(crate) fn today() -> anyhow::Result<String> {
    let shell = Shell::new()?;
    Ok(cmd!(shell, "date -u +%Y-%m-%d").quiet().read()?)
}

/// Since 1970.
pub(crate) fn seconds() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

//! The kernels alone: criterion's benches, and the medians from the files it leaves.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde_json::{Value, json};
use xshell::{Shell, cmd};

/// `{"bench", "median_ns", "throughput": {"Bytes" or "Elements": a run}}` for each bench, by name.
pub(super) fn measure(shell: &Shell) -> anyhow::Result<Vec<Value>> {
    // A folder of its own: nothing of earlier runs is in it.
    let folder = tempfile::tempdir()?;
    cmd!(shell, "cargo bench --package tinyllm-kernels --bench kernels")
        .env("CRITERION_HOME", folder.path())
        .run()?;
    let mut found = Vec::new();
    benches(folder.path(), &mut found)?;
    found.sort();
    found.iter().map(|folder| row(folder)).collect()
}

/// The folders that hold a bench's latest run.
fn benches(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && path.ends_with("new") {
            found.push(path);
        } else if path.is_dir() {
            benches(&path, found)?;
        }
    }
    Ok(())
}

fn row(folder: &Path) -> anyhow::Result<Value> {
    let read = |name: &str| -> anyhow::Result<Value> {
        let path = folder.join(name);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(serde_json::from_str(&text)?)
    };
    let bench = read("benchmark.json")?;
    let median_ns = read("estimates.json")?["median"]["point_estimate"].as_f64().context("a median")?;
    Ok(json!({"bench": bench["full_id"], "median_ns": median_ns, "throughput": bench["throughput"]}))
}

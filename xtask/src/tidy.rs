//! Conventions that no compiler checks: files say what they are and stay short, each crate has its README, and no dependency of the
//! workspace is unused.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

/// Lines that a source file may have: one idea fits.
const MAX_LINES: usize = 600;
/// Lines of the page on architecture.
const MAX_ARCHITECTURE_LINES: usize = 150;

pub(crate) fn run() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's root")?;
    let mut problems = Vec::new();
    let mut manifests = String::new();
    let crates = crates(root)?;
    for folder in &crates {
        let manifest = fs::read_to_string(folder.join("Cargo.toml"))?;
        manifests.push_str(&manifest);
        if !folder.join("README.md").exists() {
            problems.push(format!("{}: no README.md", folder.display()));
        }
        for part in ["src", "tests", "examples", "benches"] {
            sources(&folder.join(part), &mut problems)?;
        }
    }
    let workspace = fs::read_to_string(root.join("Cargo.toml"))?;
    for name in dependencies(&workspace) {
        if !manifests.contains(&format!("{name}.workspace"))
            && !manifests.contains(&format!("{name} = {{ workspace"))
        {
            problems.push(format!("Cargo.toml: no crate uses {name} of [workspace.dependencies]"));
        }
    }
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md"))?.lines().count();
    if architecture > MAX_ARCHITECTURE_LINES {
        problems.push(format!("ARCHITECTURE.md: {architecture} lines, at most {MAX_ARCHITECTURE_LINES}"));
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!("not tidy:\n{}", problems.join("\n"))
}

/// The folders of the workspace's crates, those within others too.
fn crates(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut crates = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.join("Cargo.toml").exists() {
            crates.extend(self::crates(&path)?);
            crates.push(path);
        }
    }
    crates.sort();
    Ok(crates)
}

/// Checks the Rust files of a folder.
fn sources(folder: &Path, problems: &mut Vec<String>) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, problems)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)?;
            let lines = text.lines().count();
            if lines > MAX_LINES {
                problems.push(format!("{}: {lines} lines, at most {MAX_LINES}", path.display()));
            }
            if !text.starts_with("//!") {
                problems.push(format!("{}: the first line must say what lives here (//! …)", path.display()));
            }
        }
    }
    Ok(())
}

/// The names under `[workspace.dependencies]`.
fn dependencies(manifest: &str) -> Vec<&str> {
    let lines = manifest.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    let entries = lines.take_while(|line| !line.starts_with('['));
    entries
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .map(|pair| pair.0)
        .collect()
}

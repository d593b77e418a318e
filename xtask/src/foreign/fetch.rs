//! Sources from registries, each checked against a pinned hash: crates by cargo, source distributions by a script.

use std::{fs, path::PathBuf};

use anyhow::Context;
use serde_json::Value;
use xshell::cmd;

use super::Workshop;

/// The crates, and their checksums.
const CRATES: &str = include_str!("../../foreign/crates.toml");
const CRATES_LOCK: &str = include_str!("../../foreign/crates.lock");

impl Workshop {
    /// Where cargo unpacked a crate of `crates.toml`.
    pub(super) fn crate_source(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join("crates");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("Cargo.toml"), CRATES)?;
        fs::write(folder.join("Cargo.lock"), CRATES_LOCK)?;
        fs::write(folder.join("nothing.rs"), "")?;
        let manifest = folder.join("Cargo.toml");
        let metadata =
            cmd!(self.shell, "cargo metadata --quiet --locked --format-version 1 --manifest-path {manifest}")
                .quiet()
                .read()
                .context("the crates could not be had from crates.io")?;
        let metadata: Value = serde_json::from_str(&metadata)?;
        let packages = metadata["packages"].as_array().context("cargo metadata has packages")?;
        let package = packages.iter().find(|package| package["name"] == name);
        let manifest = package.and_then(|package| package["manifest_path"].as_str());
        let manifest = PathBuf::from(manifest.with_context(|| format!("{name} is not in crates.toml"))?);
        Ok(manifest.parent().context("a crate has a folder")?.to_owned())
    }

    /// A source distribution from PyPI, unpacked; its build scripts are not run.
    pub(super) fn source_distribution(
        &self,
        name: &str,
        file: &str,
        sha256: &str,
    ) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join("sdist");
        let (python, script) = (&self.environment.python, self.ours.join("sdist.py"));
        cmd!(self.shell, "{python} {script} {name} {file} {sha256} {folder}").quiet().run()?;
        Ok(folder.join(file.trim_end_matches(".tar.gz")))
    }
}

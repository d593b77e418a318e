//! The folder of all repositories, and what a folder takes.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the folders of all repositories are.
pub(super) fn base() -> anyhow::Result<PathBuf> {
    Ok(crate::cache::folder()?.join("hub"))
}

/// Bytes of all files in a folder.
pub(super) fn size_bytes(path: &Path) -> u64 {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| size_bytes(&entry.path())).sum(),
        Err(_) => fs::symlink_metadata(path).map_or(0, |metadata| metadata.len()),
    }
}

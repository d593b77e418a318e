//! Staging folders that killed processes left.

use std::{
    fs::{self, OpenOptions},
    path::Path,
};

use super::{CONTENTS, LOCK, remove as remove_folder};

/// Removes the folders in `parent` whose name begins with `prefix`, that look like staging folders and are not locked. A
/// folder that cannot be removed stays.
pub(super) fn remove(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && entry.file_name().to_string_lossy().starts_with(prefix) {
            remove_unused(&entry.path());
        }
    }
}

fn remove_unused(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    if names.is_empty() {
        // If it was just being made, its process makes another one.
        let _ = fs::remove_dir(folder);
        return;
    }
    let path = folder.join(LOCK);
    let is_file = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
    if !is_file || names.iter().any(|name| name != LOCK && name != CONTENTS) {
        return;
    }
    // Held until it is removed.
    if let Ok(lock) = OpenOptions::new().write(true).open(&path)
        && lock.try_lock().is_ok()
    {
        remove_folder(folder);
        crate::output::note(&format!("{}: left by a process that was killed; removed", folder.display()));
    }
}

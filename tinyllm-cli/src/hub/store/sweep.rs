//! Removes what a manifest does not name: superseded snapshots, and what killed processes left.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{
    manifest::{self, Manifest},
    partial::{self, Partial},
};

/// Where snapshots are, in the repository's folder.
pub(super) const SNAPSHOTS: &str = "snapshots";

/// Removes it and returns its bytes. What cannot be removed stays.
pub(super) fn sweep(folder: &Path, manifest: &Manifest, wanted: &dyn Fn(&Partial) -> bool) -> u64 {
    let mut keep = BTreeSet::from([folder.join(manifest::NAME)]);
    for snapshot in manifest.snapshots.values() {
        let root = snapshot.root(folder);
        keep.extend(snapshot.files.keys().map(|file| root.join(file)));
    }
    let mut freed = clear(&folder.join(SNAPSHOTS), &keep);
    for entry in fs::read_dir(folder.join(partial::FOLDER)).into_iter().flatten().flatten() {
        let part = Partial::at(&entry.path());
        if wanted(&part) {
            keep.extend(part.paths().map(Path::to_owned));
        }
    }
    freed += clear(&folder.join(partial::FOLDER), &keep);
    // The rest of the folder is the first version's: all of it once its snapshot is superseded, else what it left
    // behind.
    let is_used = manifest.snapshots.values().any(|snapshot| snapshot.folder == Path::new("."));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if name == SNAPSHOTS || name == partial::FOLDER || keep.contains(&path) {
            continue;
        }
        let name = name.to_string_lossy();
        let is_left = name == ".lock"
            || name.starts_with(".tmp")
            || name.ends_with(".part")
            || name.ends_with(".part.etag");
        if !is_used || is_left {
            freed += clear(&path, &keep);
        }
    }
    freed
}

/// Removes a file, or the files and empty folders in a folder and itself, but for those to keep.
fn clear(path: &Path, keep: &BTreeSet<PathBuf>) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        let is_gone = !keep.contains(path) && fs::remove_file(path).is_ok();
        return if is_gone { metadata.len() } else { 0 };
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let freed = entries.map(|entry| clear(&entry.path(), keep)).sum();
    // Stays where something is in it.
    let _ = fs::remove_dir(path);
    freed
}

//! One process at a time changes a repository's folder.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::Path,
};

use anyhow::Context;

/// The lock; released when dropped.
pub(in crate::hub) struct Lock(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

/// Takes the lock of a folder in `base`. Its file is next to the folder, so that it outlives it: a process that waits
/// for a model that is being removed must not wake up with a lock on a deleted file.
pub(super) fn take(base: &Path, folder: &OsStr) -> anyhow::Result<Lock> {
    let locks = base.join(".locks");
    fs::create_dir_all(&locks).with_context(|| locks.display().to_string())?;
    let path = locks.join(folder);
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    if file.try_lock().is_err() {
        crate::output::note("another process is pulling or removing this model; waiting for it");
        file.lock().with_context(|| path.display().to_string())?;
    }
    Ok(Lock(file))
}

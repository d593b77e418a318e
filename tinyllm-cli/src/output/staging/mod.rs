//! A staging folder: renamed to its final name when complete, removed after an error or by a signal. One that a killed
//! process left is removed by the next staging folder in the same place.

mod leftovers;
mod signals;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::Context;

/// The file that a process holds locked while it uses the folder.
const LOCK: &str = ".lock";

/// The subfolder that is renamed at the end.
const CONTENTS: &str = "contents";

/// The staging folders of this process, which a signal removes. Held while one is removed or renamed.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn folders() -> MutexGuard<'static, Vec<PathBuf>> {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A staging folder.
pub(crate) struct StagingFolder {
    folder: PathBuf,
    contents: PathBuf,
    /// Closing the file releases the lock.
    _lock: File,
}

impl StagingFolder {
    /// Makes a folder in `parent` whose name begins with `prefix`, and removes those that killed processes left there.
    pub(crate) fn begin(parent: &Path, prefix: &str) -> anyhow::Result<Self> {
        let name = || parent.display().to_string();
        leftovers::remove(parent, prefix);
        signals::watch().context("waiting for signals")?;
        let mut folders = folders();
        let (folder, lock) = loop {
            // Made here, so that no error shows the temporary name.
            let make = |path: &Path| fs::create_dir(path);
            let made = tempfile::Builder::new().prefix(prefix).make_in(parent, make).with_context(name)?;
            let folder = made.into_temp_path().keep().with_context(name)?;
            // Another process may take a folder that is not locked yet for an abandoned one.
            if let Some(lock) = lock(&folder).with_context(name)? {
                break (folder, lock);
            }
        };
        folders.push(folder.clone());
        let unfinished = StagingFolder { contents: folder.join(CONTENTS), folder, _lock: lock };
        drop(folders);
        fs::create_dir(&unfinished.contents).with_context(name)?;
        Ok(unfinished)
    }

    /// The folder to write into.
    pub(crate) fn path(&self) -> &Path {
        &self.contents
    }

    /// Renames the folder to `name`.
    pub(crate) fn finish(self, name: &Path) -> anyhow::Result<()> {
        // Signals are handled before or after.
        let _folders = folders();
        fs::rename(&self.contents, name).with_context(|| name.display().to_string())
    }
}

impl Drop for StagingFolder {
    fn drop(&mut self) {
        // If a signal came first, this blocks until the process ends.
        let mut folders = folders();
        remove(&self.folder);
        folders.retain(|folder| *folder != self.folder);
    }
}

/// Takes the lock of a new folder, if the folder is still there.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join(LOCK);
    let file = match File::create_new(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match file.try_lock() {
        Ok(()) => Ok(path.exists().then_some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        // A file system without locks: no other process can lock the file either, so none removes the folder.
        Err(fs::TryLockError::Error(_)) => Ok(Some(file)),
    }
}

/// Removes a folder with its contents, the lock file last, so that a partly removed folder is still recognised.
fn remove(folder: &Path) {
    let contents = folder.join(CONTENTS);
    // A thread that still writes may make a file after its folder was read, but not for ever.
    while fs::remove_dir_all(&contents).is_err_and(|error| error.kind() == io::ErrorKind::DirectoryNotEmpty) {
    }
    if !contents.exists() {
        let _ = fs::remove_file(folder.join(LOCK));
        let _ = fs::remove_dir(folder);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{CONTENTS, LOCK, StagingFolder};

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn it_gets_its_name_or_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let begin = || StagingFolder::begin(parent.path(), ".making-").unwrap();
        let dropped = begin();
        fs::write(dropped.path().join("file"), "1").unwrap();
        drop(dropped);
        assert!(names(parent.path()).is_empty());
        let finished = begin();
        fs::write(finished.path().join("file"), "1").unwrap();
        finished.finish(&parent.path().join("out")).unwrap();
        assert_eq!(names(parent.path()), ["out"]);
        assert_eq!(names(&parent.path().join("out")), ["file"]);
        // A name that is taken.
        assert!(begin().finish(&parent.path().join("out")).is_err());
        assert_eq!(names(parent.path()), ["out"]);
    }

    #[test]
    fn a_parent_that_is_not_there_is_named_alone() {
        let error = StagingFolder::begin(Path::new("/nonexistent"), ".making-").err().unwrap();
        assert_eq!(format!("{error:#}"), "/nonexistent: No such file or directory (os error 2)");
    }

    #[test]
    fn what_is_left_is_removed_but_not_what_is_in_use_or_another_s() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str, entries: &[&str]| {
            let folder = parent.path().join(name);
            fs::create_dir_all(folder.join(CONTENTS)).unwrap();
            for entry in entries {
                fs::write(folder.join(entry), "1").unwrap();
            }
        };
        make(".making-left", &[LOCK, "contents/model.safetensors"]);
        make(".making-strange", &[LOCK, "thesis.txt"]);
        make(".making-unlocked", &["contents/model.safetensors"]);
        make(".other-left", &[LOCK]);
        fs::create_dir(parent.path().join(".making-empty")).unwrap();
        fs::write(parent.path().join(".making-file"), "1").unwrap();
        std::os::unix::fs::symlink(".other-left", parent.path().join(".making-link")).unwrap();
        let used = StagingFolder::begin(parent.path(), ".making-").unwrap();
        let second = StagingFolder::begin(parent.path(), ".making-").unwrap();
        assert!(used.path().exists(), "another's that is in use");
        drop((used, second));
        let left = [".making-file", ".making-link", ".making-strange", ".making-unlocked", ".other-left"];
        assert_eq!(names(parent.path()), left);
    }
}

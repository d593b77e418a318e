//! A folder that gets its name when all of it is there, and of which nothing stays when that is not to be: it is removed
//! after an error and by a signal, and what a kill leaves is removed by the next that is made beside it.

mod leftovers;
mod signals;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::Context;

/// The file that is locked as long as a process works in the folder.
const LOCK: &str = ".lock";

/// What will get its name.
const CONTENTS: &str = "contents";

/// The folders in the making, which a signal must remove. Whoever removes one, or gives it its name, holds this.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn folders() -> MutexGuard<'static, Vec<PathBuf>> {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder in the making.
pub(crate) struct Unfinished {
    folder: PathBuf,
    contents: PathBuf,
    /// Closing the file gives the lock back.
    _lock: File,
}

impl Unfinished {
    /// Makes a folder in `parent` whose name begins with `prefix`, and removes those that are left there.
    pub(crate) fn begin(parent: &Path, prefix: &str) -> anyhow::Result<Self> {
        let name = || parent.display().to_string();
        leftovers::remove(parent, prefix);
        signals::watch().context("waiting for signals")?;
        let mut folders = folders();
        let (folder, lock) = loop {
            // Made here, so that no error names the folder by what it is called meanwhile.
            let make = |path: &Path| fs::create_dir(path);
            let made = tempfile::Builder::new().prefix(prefix).make_in(parent, make).with_context(name)?;
            let folder = made.into_temp_path().keep().with_context(name)?;
            // Another process may take a folder for left that has no lock yet.
            if let Some(lock) = lock(&folder).with_context(name)? {
                break (folder, lock);
            }
        };
        folders.push(folder.clone());
        let unfinished = Unfinished { contents: folder.join(CONTENTS), folder, _lock: lock };
        drop(folders);
        fs::create_dir(&unfinished.contents).with_context(name)?;
        Ok(unfinished)
    }

    /// The folder that will get its name.
    pub(crate) fn path(&self) -> &Path {
        &self.contents
    }

    /// Gives it its name.
    pub(crate) fn finish(self, name: &Path) -> anyhow::Result<()> {
        // A signal comes before or after.
        let _folders = folders();
        fs::rename(&self.contents, name).with_context(|| name.display().to_string())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Where a signal came first this waits for the process's end.
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
        // A file system without locks: nobody else gets one either, and so nobody removes it.
        Err(fs::TryLockError::Error(_)) => Ok(Some(file)),
    }
}

/// Removes a folder and what is in it, the lock last: what stays of it must be known again.
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

    use super::{CONTENTS, LOCK, Unfinished};

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
        let begin = || Unfinished::begin(parent.path(), ".making-").unwrap();
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
        let error = Unfinished::begin(Path::new("/nonexistent"), ".making-").err().unwrap();
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
        let used = Unfinished::begin(parent.path(), ".making-").unwrap();
        let second = Unfinished::begin(parent.path(), ".making-").unwrap();
        assert!(used.path().exists(), "another's that is in use");
        drop((used, second));
        let left = [".making-file", ".making-link", ".making-strange", ".making-unlocked", ".other-left"];
        assert_eq!(names(parent.path()), left);
    }
}

//! A folder that gets its name when all of it is there, and of which nothing stays when that is not to be: it is removed
//! after an error and by a signal, and what a kill leaves is removed by the next that is made beside it.

mod leftovers;
mod signals;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context;

/// The file that is locked as long as a process works in the folder.
const LOCK: &str = ".lock";

/// What will get its name.
const CONTENTS: &str = "contents";

/// A folder in the making.
pub(crate) struct Unfinished {
    contents: PathBuf,
    state: Arc<State>,
    /// Closing the file gives the lock back.
    _lock: File,
}

/// What a signal must remove, shared with the thread that waits for one. Whoever removes holds it.
#[derive(Default)]
struct State(Mutex<Option<PathBuf>>);

impl State {
    fn lock(&self) -> MutexGuard<'_, Option<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unfinished {
    /// Makes a folder in `parent` whose name begins with `prefix`, and removes those that are left there.
    pub(crate) fn begin(parent: &Path, prefix: &str) -> anyhow::Result<Self> {
        let name = || parent.display().to_string();
        leftovers::remove(parent, prefix);
        let state = Arc::new(State::default());
        signals::watch(Arc::clone(&state)).context("waiting for signals")?;
        let mut path = state.lock();
        let (folder, lock) = loop {
            let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(parent);
            // Without the folder's own name, which says nothing to anybody.
            let folder = folder.map_err(|error| cause(&error)).with_context(name)?;
            // Another process may take a folder for left that has no lock yet.
            if let Some(lock) = lock(folder.path()).with_context(name)? {
                break (folder, lock);
            }
        };
        let contents = folder.path().join(CONTENTS);
        fs::create_dir(&contents).with_context(name)?;
        *path = Some(folder.keep());
        drop(path);
        Ok(Unfinished { contents, state, _lock: lock })
    }

    /// The folder that will get its name.
    pub(crate) fn path(&self) -> &Path {
        &self.contents
    }

    /// Gives it its name.
    pub(crate) fn finish(self, name: &Path) -> anyhow::Result<()> {
        // A signal comes before or after.
        let path = self.state.lock();
        let renamed = fs::rename(&self.contents, name).with_context(|| name.display().to_string());
        drop(path);
        renamed
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Where a signal came first this waits for the process's end.
        if let Some(folder) = self.state.lock().take() {
            remove(&folder);
        }
    }
}

/// What the system says, without the path that the library says it of.
fn cause(error: &io::Error) -> anyhow::Error {
    let source = error.get_ref().and_then(std::error::Error::source);
    anyhow::anyhow!("{}", source.map_or_else(|| error.to_string(), ToString::to_string))
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

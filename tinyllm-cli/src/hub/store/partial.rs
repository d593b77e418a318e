//! A partial download, with the etag of its version in a second file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::hub::hash;

/// Where they lie in a repository's folder.
pub(super) const FOLDER: &str = "partial";

/// A file of a repository that is being downloaded.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::hub) struct Partial {
    part: PathBuf,
    etag: PathBuf,
}

impl Partial {
    /// Of `file` in the repository's folder.
    pub(super) fn of(folder: &Path, file: &str) -> Self {
        let base = folder.join(FOLDER).join(stem(file));
        Partial { part: base.with_extension("part"), etag: base.with_extension("etag") }
    }

    /// That one of its two files belongs to.
    pub(super) fn at(path: &Path) -> Self {
        Partial { part: path.with_extension("part"), etag: path.with_extension("etag") }
    }

    /// Its files.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        [self.part.as_path(), self.etag.as_path()].into_iter()
    }

    /// Where its bytes are.
    pub(in crate::hub) fn path(&self) -> &Path {
        &self.part
    }

    /// How many there are.
    pub(in crate::hub) fn bytes(&self) -> u64 {
        fs::metadata(&self.part).map_or(0, |metadata| metadata.len())
    }

    /// The etag of their version; empty where it is not known.
    pub(in crate::hub) fn etag(&self) -> String {
        fs::read_to_string(&self.etag).unwrap_or_default()
    }

    /// Starts over with another version. The part is removed before the etag is written, so that the two always match.
    pub(in crate::hub) fn begin(&self, etag: &str) -> anyhow::Result<()> {
        let folder = self.part.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        match fs::remove_file(&self.part) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| self.part.display().to_string());
            }
            _ => {}
        }
        fs::write(&self.etag, etag).with_context(|| self.etag.display().to_string())
    }

    /// Removes both files.
    pub(in crate::hub) fn remove(&self) {
        // What stays is found by the next sweep.
        let _ = fs::remove_file(&self.part);
        let _ = fs::remove_file(&self.etag);
    }
}

/// The name of a file's part: of a fixed length and without folders, whatever the file is called.
fn stem(file: &str) -> String {
    hash::sha256_of(file)[..32].to_owned()
}

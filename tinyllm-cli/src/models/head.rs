//! What lies in a model file's place, by its first bytes. A GGUF's own are known to `tinyllm-model`.

use std::{fs::File, io::Read, path::Path};

/// Kinds of files that matter where a model is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// What git keeps in place of a file that git-lfs has.
    LfsPointer,
    /// A page, such as one that shows a file instead of being it.
    Html,
    Other,
}

/// How much is looked at.
const BYTES: u64 = 256;

impl Head {
    /// Of a file; `Other` where it cannot be read.
    pub(super) fn of(path: &Path) -> Self {
        let mut bytes = Vec::new();
        // Opening a pipe would wait for its other end.
        let is_file = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
        if !is_file || File::open(path).and_then(|file| file.take(BYTES).read_to_end(&mut bytes)).is_err() {
            return Head::Other;
        }
        let text = String::from_utf8_lossy(&bytes).trim_start().to_ascii_lowercase();
        match text {
            text if text.starts_with("version https://git-lfs") => Head::LfsPointer,
            text if text.starts_with("<!doctype html") || text.starts_with("<html") => Head::Html,
            _ => Head::Other,
        }
    }
}

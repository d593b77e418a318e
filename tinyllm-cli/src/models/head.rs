//! Recognises files that stand in a model file's place by their first bytes.

use std::{fs::File, io::Read, path::Path};

/// Kinds of such files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// A git-lfs pointer.
    LfsPointer,
    /// An HTML page.
    Html,
    Other,
}

/// Bytes that are read.
const BYTES: u64 = 256;

impl Head {
    /// The kind of a file; `Other` where it cannot be read.
    pub(super) fn of(path: &Path) -> Self {
        let mut bytes = Vec::new();
        // Opening a pipe would block.
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

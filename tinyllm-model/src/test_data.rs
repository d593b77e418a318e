//! Where tests find reference data: models with known answers, and malformed files. Absent data is reported, and skipped.

use std::path::{Path, PathBuf};

/// A file or folder of the reference models.
pub(crate) fn oracle(relative: &str) -> Option<PathBuf> {
    find("TINYLLM_ORACLE_DIR", "tests/oracle", relative)
}

/// A file or folder of the malformed inputs.
pub(crate) fn malformed(relative: &str) -> Option<PathBuf> {
    find("TINYLLM_MALFORMED_DIR", "tests/malformed", relative)
}

/// The folders inside a folder, by name.
pub(crate) fn folders(directory: &Path) -> Vec<PathBuf> {
    sorted(directory, |path| path.is_dir())
}

/// The files of an extension inside a folder, by name.
pub(crate) fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    sorted(directory, |path| path.extension().is_some_and(|found| found == extension))
}

fn sorted(directory: &Path, keep: impl Fn(&PathBuf) -> bool) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).filter(keep).collect();
    paths.sort();
    paths
}

fn find(variable: &str, default: &str, relative: &str) -> Option<PathBuf> {
    let base = std::env::var_os(variable)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(default), PathBuf::from);
    let path = base.join(relative);
    if !path.exists() {
        eprintln!("skipped: {} is absent; {variable} names the folder to look in", path.display());
        return None;
    }
    Some(path)
}

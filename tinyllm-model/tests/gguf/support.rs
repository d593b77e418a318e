//! Where the reference files are, and reading a checkpoint whole.

use std::path::{Path, PathBuf};

use tinyllm_model::{
    Result,
    checkpoint::{Checkpoint, TensorData, gguf::GgufCheckpoint},
};

/// A folder of reference files; `None`, with a word on stderr, where it is absent.
pub(crate) fn reference_dir(variable: &str, default: &str) -> Option<PathBuf> {
    let dir = match std::env::var_os(variable) {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(default),
    };
    if !dir.is_dir() {
        eprintln!("skipped: {} is absent; {variable} names such a folder", dir.display());
        return None;
    }
    Some(dir)
}

/// Files of a folder with this extension, in order of name; none where the folder is absent.
pub(crate) fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        eprintln!("skipped: {} is absent", dir.display());
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// All values of a tensor.
pub(crate) fn read(checkpoint: &GgufCheckpoint, index: usize) -> Result<Vec<f32>> {
    let TensorData::Float(rows) = checkpoint.open(index)? else { panic!("a GGUF reads as floats") };
    let (n, k) = rows.shape();
    let mut values = vec![f32::NAN; n * k];
    // In two pieces, so that rows are read from the middle too.
    let (first, second) = values.split_at_mut(n / 2 * k);
    rows.read(0..n / 2, first).unwrap();
    rows.read(n / 2..n, second).unwrap();
    Ok(values)
}

/// Opens a file and reads every tensor; the number of values.
pub(crate) fn read_everything(path: &Path) -> Result<usize> {
    let checkpoint = GgufCheckpoint::open(path)?;
    let mut total = 0;
    for index in 0..checkpoint.tensors().len() {
        total += read(&checkpoint, index)?.len();
    }
    Ok(total)
}

//! What has been pulled of a model: written after each file, and marked whole only when all of them are there.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tinyllm_mem::FileBytes;

const NAME: &str = ".tinyllm-pull.json";

/// The most that is read of one.
const MAX_BYTES: u64 = 16 << 20;

/// What has been pulled into one folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The commit of the files.
    pub(super) commit: String,
    /// The files, with their bytes.
    pub(super) files: BTreeMap<String, u64>,
    /// What the model's name alone stands for: `.` for the folder, or a .gguf file. Absent until all of it is there.
    pub(super) model: Option<PathBuf>,
}

impl Manifest {
    /// The manifest of a folder; an empty one where there is none that can be read.
    pub(super) fn read(folder: &Path) -> Self {
        let file = FileBytes::read(&folder.join(NAME), MAX_BYTES).ok();
        file.and_then(|file| serde_json::from_slice(file.bytes()).ok()).unwrap_or_default()
    }

    /// Writes it beside, then gives it its name.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let write = || -> anyhow::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.flush()?;
            file.persist(folder.join(NAME))?;
            Ok(())
        };
        write().with_context(|| folder.join(NAME).display().to_string())
    }

    /// Whether a file is there whole.
    pub(super) fn has(&self, folder: &Path, file: &str) -> bool {
        let on_disk = fs::metadata(folder.join(file)).map(|metadata| metadata.len()).ok();
        on_disk.is_some() && self.files.get(file).copied() == on_disk
    }

    /// The path that the model's name stands for, where all of it is there.
    pub(super) fn model_path(&self, folder: &Path) -> Option<PathBuf> {
        let model = self.model.as_ref()?;
        let is_whole = self.files.keys().all(|file| self.has(folder, file));
        is_whole.then(|| if model == Path::new(".") { folder.to_owned() } else { folder.join(model) })
    }
}

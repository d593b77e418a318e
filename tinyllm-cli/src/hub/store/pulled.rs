//! The list of pulled models.

use std::{collections::BTreeSet, fs, path::Path};

use super::{
    folder_name,
    folders::{base, size_bytes},
    manifest::Manifest,
};

/// A model that has been pulled.
pub(crate) struct Pulled {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// Whether all of it is there.
    pub(crate) is_whole: bool,
}

/// What has been pulled, sorted by name.
pub(crate) fn pulled() -> anyhow::Result<Vec<Pulled>> {
    let mut models = Vec::new();
    let Ok(entries) = fs::read_dir(base()?) else { return Ok(models) };
    for entry in entries.flatten() {
        if let Some(repository) = entry.file_name().to_str().and_then(folder_name::repository) {
            models.extend(of_repository(&entry.path(), &repository));
        }
    }
    models.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(models)
}

/// The models of one repository: those that are whole, else what there is of it.
fn of_repository(folder: &Path, repository: &str) -> Vec<Pulled> {
    let manifest = Manifest::read(folder);
    let (mut seen, mut models) = (BTreeSet::new(), Vec::new());
    // The repository's own comes first: its name is the shorter one of the same file.
    for (key, model) in &manifest.models {
        let Some((path, bytes)) = manifest.model_on_disk(folder, model) else { continue };
        if seen.insert(path) {
            let name = if key.is_empty() { repository.to_owned() } else { format!("{repository}:{key}") };
            models.push(Pulled { name, bytes, is_whole: true });
        }
    }
    if models.is_empty() {
        models.push(Pulled { name: repository.to_owned(), bytes: size_bytes(folder), is_whole: false });
    }
    models
}

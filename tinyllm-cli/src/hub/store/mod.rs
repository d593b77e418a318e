//! Where pulled models are kept: a folder for each repository, in it
//!
//! - `snapshots/COMMIT/NAME/`: the files of a commit. Another commit gets a folder of its own, which counts as soon as the
//!   manifest names it;
//! - `partial/`: files that are being downloaded;
//! - `.tinyllm-pull.json`: the manifest, which alone says what is complete.
//!
//! What the first version of this program pulled lies in the folder itself, and is used there.

mod folder_name;
mod folders;
mod lock;
mod manifest;
mod partial;
mod pulled;
mod sweep;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use self::folders::{base, size_bytes};

pub(crate) use self::pulled::{Pulled, pulled};
pub(super) use self::{
    lock::Lock,
    manifest::{FileRecord, Manifest, Model},
    partial::Partial,
};

/// A repository's folder.
pub(super) struct Store {
    folder: PathBuf,
    /// `name` of `org/name`: what a snapshot's folder is called, and so the model.
    name: String,
}

impl Store {
    /// The folder of `org/name`, which need not exist.
    pub(super) fn of(repository: &str) -> anyhow::Result<Self> {
        let name = repository.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Store { folder: base()?.join(folder_name::of(repository)), name })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Locks it; other processes wait.
    pub(super) fn lock(&self) -> anyhow::Result<Lock> {
        lock::take(&base()?, self.folder.file_name().unwrap_or_default())
    }

    pub(super) fn manifest(&self) -> Manifest {
        Manifest::read(&self.folder)
    }

    /// Writes the manifest, in a folder that may be new.
    pub(super) fn write(&self, manifest: &Manifest) -> anyhow::Result<()> {
        fs::create_dir_all(&self.folder).with_context(|| self.folder.display().to_string())?;
        manifest.write(&self.folder)
    }

    /// The path of a model, if all its files are here.
    pub(super) fn whole(&self, manifest: &Manifest, model: &Model) -> Option<PathBuf> {
        manifest.model_on_disk(&self.folder, model).map(|(path, _)| path)
    }

    /// Where a commit's file is, or belongs; notes the commit's folder.
    pub(super) fn place(&self, manifest: &mut Manifest, commit: &str, file: &str) -> anyhow::Result<PathBuf> {
        let snapshot = manifest.snapshots.entry(commit.to_owned()).or_insert_with(|| manifest::Snapshot {
            folder: Path::new(sweep::SNAPSHOTS).join(commit).join(&self.name),
            ..manifest::Snapshot::default()
        });
        let path = snapshot.root(&self.folder).join(file);
        let parent = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        Ok(path)
    }

    /// Where another commit's version of a file is.
    pub(super) fn others<'a>(
        &'a self,
        manifest: &'a Manifest,
        commit: &'a str,
        file: &'a str,
    ) -> impl Iterator<Item = (PathBuf, &'a FileRecord)> {
        let others = manifest.snapshots.iter().filter(move |(other, _)| other.as_str() != commit);
        others.filter_map(move |(_, snapshot)| {
            Some((snapshot.root(&self.folder).join(file), snapshot.files.get(file)?))
        })
    }

    /// The part of a file that has come so far.
    pub(super) fn partial(&self, file: &str) -> Partial {
        Partial::of(&self.folder, file)
    }

    /// Removes what the manifest does not name, and parts of files that are not among those `wanted`. Returns the bytes
    /// freed.
    pub(super) fn sweep(&self, manifest: &Manifest, wanted: impl Fn(&Partial) -> bool) -> u64 {
        sweep::sweep(&self.folder, manifest, &wanted)
    }

    /// Whether nothing is here but an empty manifest.
    pub(super) fn is_empty(&self) -> bool {
        self.manifest() == Manifest::default() && !self.folder.join(partial::FOLDER).exists()
    }

    /// Removes all of it; returns the bytes freed.
    pub(super) fn remove(&self) -> anyhow::Result<u64> {
        let bytes = size_bytes(&self.folder);
        // Without its manifest it is no longer a model.
        let manifest = self.folder.join(manifest::NAME);
        match fs::remove_file(&manifest) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| manifest.display().to_string());
            }
            _ => {}
        }
        fs::remove_dir_all(&self.folder).with_context(|| self.folder.display().to_string())?;
        Ok(bytes)
    }
}

//! The manifest of a repository: snapshots of commits with their files, and the models that are complete.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tinyllm_mem::FileBytes;

use crate::hub::gguf_name;

/// Its file in the repository's folder.
pub(super) const NAME: &str = ".tinyllm-pull.json";

/// The most that is read of one.
const MAX_BYTES: u64 = 16 << 20;

/// What has been pulled of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::hub) struct Manifest {
    /// By commit.
    pub(in crate::hub) snapshots: BTreeMap<String, Snapshot>,
    /// Models of which all files are here: by the requested file (the first, of a split one), or by nothing where
    /// the repository's own was.
    pub(in crate::hub) models: BTreeMap<String, Model>,
}

/// Files of one commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::hub) struct Snapshot {
    /// Where they are, in the repository's folder.
    pub(in crate::hub) folder: PathBuf,
    pub(in crate::hub) files: BTreeMap<String, FileRecord>,
}

/// A file that came whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::hub) struct FileRecord {
    pub(in crate::hub) bytes: u64,
    /// What the hub calls this version of it.
    pub(in crate::hub) etag: Option<String>,
    /// Of what came. Not known of files that older versions of this program pulled.
    pub(in crate::hub) sha256: Option<String>,
}

/// A model that is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::hub) struct Model {
    /// The requested revision: a branch, tag or commit.
    pub(in crate::hub) revision: String,
    /// The commit that it resolved to.
    pub(in crate::hub) commit: String,
    /// What is opened: a file, or `.` for the snapshot's folder.
    pub(in crate::hub) path: PathBuf,
    pub(in crate::hub) files: Vec<String>,
}

impl Manifest {
    /// The manifest of a repository's folder; an empty one where there is none that can be read.
    pub(super) fn read(folder: &Path) -> Self {
        let file = FileBytes::read(&folder.join(NAME), MAX_BYTES).ok();
        let stored: Option<Stored> = file.and_then(|file| serde_json::from_slice(file.bytes()).ok());
        match stored {
            Some(Stored::Current(manifest)) => manifest,
            Some(Stored::First(first)) => first.convert(),
            None => Self::default(),
        }
    }

    /// Writes a temporary file and renames it.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let write = || -> anyhow::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.flush()?;
            file.as_file().sync_all()?;
            file.persist(folder.join(NAME))?;
            Ok(())
        };
        write().with_context(|| folder.join(NAME).display().to_string())
    }

    /// Records that a model is complete, under all of its names.
    pub(in crate::hub) fn complete(&mut self, key: &str, model: &Model) {
        self.models.insert(key.to_owned(), model.clone());
        for other in self.models.values_mut().filter(|other| other.path == model.path) {
            other.clone_from(model);
        }
    }

    /// Forgets files that no model needs, but for those of `commit`, of which another model may have come in part.
    pub(in crate::hub) fn prune(&mut self, commit: &str) {
        let models = &self.models;
        for (other, snapshot) in self.snapshots.iter_mut().filter(|(other, _)| *other != commit) {
            let is_needed = |file: &String| {
                models.values().any(|model| model.commit == *other && model.files.contains(file))
            };
            snapshot.files.retain(|file, _| is_needed(file));
        }
        self.snapshots.retain(|_, snapshot| !snapshot.files.is_empty());
    }

    /// Forgets these files, and models that need one of them.
    pub(in crate::hub) fn forget(&mut self, files: &BTreeSet<String>) {
        self.models.retain(|_, model| !model.files.iter().any(|file| files.contains(file)));
        for snapshot in self.snapshots.values_mut() {
            snapshot.files.retain(|file, _| !files.contains(file));
        }
        self.snapshots.retain(|_, snapshot| !snapshot.files.is_empty());
    }

    /// The path of a model, and its bytes, if all its files are here.
    pub(super) fn model_on_disk(&self, folder: &Path, model: &Model) -> Option<(PathBuf, u64)> {
        let snapshot = self.snapshots.get(&model.commit)?;
        let root = snapshot.root(folder);
        let mut bytes = 0;
        for file in &model.files {
            let record = snapshot.files.get(file)?;
            fs::metadata(root.join(file)).ok().filter(|metadata| metadata.len() == record.bytes)?;
            bytes += record.bytes;
        }
        Some((join(root, &model.path), bytes))
    }
}

impl Snapshot {
    /// Where its files are.
    pub(super) fn root(&self, folder: &Path) -> PathBuf {
        join(folder.to_owned(), &self.folder)
    }
}

/// `.` is the folder itself, and not shown.
fn join(folder: PathBuf, path: &Path) -> PathBuf {
    if path == Path::new(".") { folder } else { folder.join(path) }
}

/// What a manifest's file may hold.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Current(Manifest),
    First(First),
}

/// As the first version of this program wrote it: one commit, whose files lie in the repository's folder itself.
#[derive(Deserialize)]
struct First {
    commit: String,
    files: BTreeMap<String, u64>,
    model: Option<PathBuf>,
}

impl First {
    fn convert(self) -> Manifest {
        let model = |path: &Path, files: Vec<String>| Model {
            revision: "main".into(),
            commit: self.commit.clone(),
            path: path.to_owned(),
            files,
        };
        let mut models = BTreeMap::new();
        for file in self.files.keys().filter(|file| gguf_name::is_gguf(file)) {
            let parts = gguf_name::parts(file);
            if parts[0] == *file && parts.iter().all(|part| self.files.contains_key(part)) {
                models.insert(file.clone(), model(Path::new(file), parts));
            }
        }
        if let Some(path) = &self.model {
            let files = match path.to_str().filter(|name| gguf_name::is_gguf(name)) {
                Some(name) => gguf_name::parts(name),
                None => self.files.keys().filter(|file| !gguf_name::is_gguf(file)).cloned().collect(),
            };
            models.insert(String::new(), model(path, files));
        }
        let record = |(name, bytes)| (name, FileRecord { bytes, etag: None, sha256: None });
        let files = self.files.into_iter().map(record).collect();
        let snapshots = [(self.commit, Snapshot { folder: ".".into(), files })].into();
        Manifest { snapshots, models }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Manifest, NAME};

    #[test]
    fn what_the_first_version_pulled_is_still_here() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            "config.json",
            "model.safetensors",
            "q-00001-of-00002.gguf",
            "q-00002-of-00002.gguf",
            "s-00001-of-00002.gguf",
        ];
        for file in files {
            std::fs::write(folder.path().join(file), "bytes").unwrap();
        }
        let listed: Vec<String> = files.iter().map(|file| format!("\"{file}\": 5")).collect();
        let text =
            format!("{{\"commit\": \"c0ffee\", \"files\": {{{}}}, \"model\": \".\"}}", listed.join(", "));
        std::fs::write(folder.path().join(NAME), text).unwrap();
        let manifest = Manifest::read(folder.path());
        let on_disk = |key| manifest.model_on_disk(folder.path(), &manifest.models[key]);
        assert_eq!(on_disk(""), Some((folder.path().to_owned(), 10)));
        assert_eq!(on_disk("q-00001-of-00002.gguf"), Some((folder.path().join("q-00001-of-00002.gguf"), 10)));
        assert_eq!(manifest.models.len(), 2, "a split file without its second part is none");
        manifest.write(folder.path()).unwrap();
        assert_eq!(Manifest::read(folder.path()), manifest);
        assert_eq!(Manifest::read(Path::new("/nonexistent")), Manifest::default());
    }

    #[test]
    fn a_model_that_lost_a_byte_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("q.gguf"), "byte").unwrap();
        let text = r#"{"commit": "", "files": {"q.gguf": 5}, "model": "q.gguf"}"#;
        std::fs::write(folder.path().join(NAME), text).unwrap();
        let manifest = Manifest::read(folder.path());
        assert_eq!(manifest.model_on_disk(folder.path(), &manifest.models[""]), None);
    }
}

//! Models on the Hugging Face hub: which files a model needs, and where they are kept.

mod download;
mod http;
mod listing;
mod manifest;

use std::{
    fs::{self, File},
    path::{Component, Path, PathBuf},
};

use anyhow::Context;
use etcetera::BaseStrategy;

use self::{http::Client, listing::Listing, manifest::Manifest};

/// The program's folder in the user's cache directory.
pub(crate) fn cache() -> anyhow::Result<PathBuf> {
    let base = etcetera::choose_base_strategy().context("no home directory to keep models in")?;
    Ok(base.cache_dir().join("tinyllm"))
}

/// A model's name on the hub: `org/name`, `org/name:file.gguf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HubName {
    repository: String,
    file: Option<String>,
}

impl HubName {
    /// Reads a name; `None` where it is not of that form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (repository, file) = match text.split_once(':') {
            Some((repository, file)) => (repository, Some(file.to_owned())),
            None => (text, None),
        };
        let sound = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        let (organisation, name) = repository.split_once('/')?;
        (sound(organisation) && sound(name) && file.as_deref().is_none_or(is_safe))
            .then(|| HubName { repository: repository.to_owned(), file })
    }

    /// The folder of its files.
    fn folder(&self) -> anyhow::Result<PathBuf> {
        Ok(cache()?.join("hub").join(self.repository.replace('/', "--")))
    }

    /// The model's path, where all of it has been pulled.
    pub(crate) fn local(&self) -> anyhow::Result<Option<PathBuf>> {
        let folder = self.folder()?;
        let manifest = Manifest::read(&folder);
        Ok(match &self.file {
            Some(file) => manifest.has(&folder, file).then(|| folder.join(file)),
            None => manifest.model_path(&folder),
        })
    }

    /// Downloads what is not there yet and returns the model's path.
    pub(crate) fn pull(&self, revision: &str) -> anyhow::Result<PathBuf> {
        let client = Client::from_environment()?;
        let folder = self.folder()?;
        let listing = Listing::fetch(&client, &self.repository, revision)?;
        let wanted = match &self.file {
            Some(file) => listing.parts_of(file)?,
            None => listing.model_files()?,
        };
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let _lock = lock(&folder)?;
        let mut manifest = Manifest::read(&folder);
        if manifest.commit != listing.commit {
            manifest = Manifest { commit: listing.commit.clone(), ..Manifest::default() };
        }
        for file in &wanted {
            if manifest.has(&folder, file) {
                continue;
            }
            let path = folder.join(file);
            let parent = path.parent().unwrap_or(&folder);
            fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
            let url_path = format!("/{}/resolve/{revision}/{file}", self.repository);
            let bytes = download::fetch(&client, &url_path, &path)?;
            manifest.files.insert(file.clone(), bytes);
            manifest.write(&folder)?;
        }
        let first = wanted.first().map_or(Path::new("."), Path::new);
        let path = if is_gguf(first) { first } else { Path::new(".") };
        if self.file.is_none() {
            manifest.model = Some(path.to_owned());
            manifest.write(&folder)?;
        }
        Ok(if path == Path::new(".") { folder } else { folder.join(path) })
    }

    /// Removes everything that was pulled of it; returns the bytes freed.
    pub(crate) fn remove(&self) -> anyhow::Result<u64> {
        let path = match &self.file {
            Some(file) => self.folder()?.join(file),
            None => self.folder()?,
        };
        let bytes = size_bytes(&path);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("{}: not here", path.display()))?;
        if let Some(file) = &self.file {
            let folder = self.folder()?;
            let mut manifest = Manifest::read(&folder);
            manifest.files.remove(file);
            manifest.model = None;
            manifest.write(&folder)?;
        }
        Ok(bytes)
    }
}

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
    let Ok(entries) = fs::read_dir(cache()?.join("hub")) else { return Ok(models) };
    for entry in entries.flatten() {
        let folder = entry.path();
        let manifest = Manifest::read(&folder);
        let repository = entry.file_name().to_string_lossy().replacen("--", "/", 1);
        if manifest.model_path(&folder).is_some() {
            models.push(Pulled { name: repository, bytes: size_bytes(&folder), is_whole: true });
            continue;
        }
        let files: Vec<&String> = manifest.files.keys().filter(|file| is_gguf(Path::new(file))).collect();
        for file in &files {
            let bytes = size_bytes(&folder.join(file));
            models.push(Pulled { name: format!("{repository}:{file}"), bytes, is_whole: true });
        }
        if files.is_empty() {
            models.push(Pulled { name: repository, bytes: size_bytes(&folder), is_whole: false });
        }
    }
    models.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(models)
}

/// Keeps other processes from pulling the same model; they wait.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join(".lock");
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    if file.try_lock().is_err() {
        crate::output::note("another process is pulling this model; waiting for it");
        file.lock().with_context(|| path.display().to_string())?;
    }
    Ok(file)
}

fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// Whether a file name of the hub stays inside the model's folder.
fn is_safe(name: &str) -> bool {
    let path = Path::new(name);
    !name.is_empty()
        && !name.contains('\\')
        && path.components().all(|part| matches!(part, Component::Normal(_)))
}

fn size_bytes(path: &Path) -> u64 {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| size_bytes(&entry.path())).sum(),
        Err(_) => fs::metadata(path).map_or(0, |metadata| metadata.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        assert!(HubName::parse("org/name").is_some());
        assert_eq!(HubName::parse("org/name:q4.gguf").and_then(|name| name.file), Some("q4.gguf".into()));
        for bad in ["name", "../x", "org/..", "org/name:../x", "org/name:/etc/passwd", "a/b/c", "org/na me"] {
            assert!(HubName::parse(bad).is_none(), "{bad}");
        }
    }
}

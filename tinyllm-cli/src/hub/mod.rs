//! Models on the Hugging Face hub: which files a model needs, and where they are kept.

mod download;
mod http;

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, bail};
use etcetera::BaseStrategy;

use self::http::Client;

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

    /// The model's path, where it has been pulled.
    pub(crate) fn local(&self) -> anyhow::Result<Option<PathBuf>> {
        let folder = self.folder()?;
        let path = match &self.file {
            Some(file) => folder.join(file),
            None if folder.join("config.json").exists() => folder,
            None => match ggufs(&folder).as_slice() {
                [only] => only.clone(),
                _ => folder.join("config.json"),
            },
        };
        Ok(path.exists().then_some(path))
    }

    /// Downloads what is not there yet and returns the model's path.
    pub(crate) fn pull(&self, revision: &str) -> anyhow::Result<PathBuf> {
        let client = Client::from_environment()?;
        let folder = self.folder()?;
        let wanted = self.files(&client, revision)?;
        for file in &wanted {
            let path = folder.join(file);
            let parent = path.parent().unwrap_or(&folder);
            fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
            download::fetch(&client, &format!("/{}/resolve/{revision}/{file}", self.repository), &path)?;
        }
        match wanted.as_slice() {
            [file] if file.ends_with(".gguf") => Ok(folder.join(file)),
            _ => Ok(folder),
        }
    }

    /// The files a model needs: configuration, tokenizer and safetensors; or one GGUF.
    fn files(&self, client: &Client, revision: &str) -> anyhow::Result<Vec<String>> {
        let listing = client.json(&format!("/api/models/{}/revision/{revision}", self.repository))?;
        let names: Vec<&str> = listing["siblings"]
            .as_array()
            .with_context(|| format!("{}: the hub's answer lists no files", self.repository))?
            .iter()
            .filter_map(|sibling| sibling["rfilename"].as_str())
            .filter(|name| is_safe(name))
            .collect();
        if let Some(file) = &self.file {
            if !names.contains(&file.as_str()) {
                bail!("{} has no file {file}; it has {}", self.repository, names.join(", "));
            }
            return Ok(vec![file.clone()]);
        }
        if names.contains(&"config.json") && names.iter().any(|name| name.ends_with(".safetensors")) {
            let single = names.contains(&"model.safetensors");
            let is_wanted = |name: &&str| {
                matches!(
                    *name,
                    "config.json"
                        | "generation_config.json"
                        | "tokenizer.json"
                        | "tokenizer_config.json"
                        | "special_tokens_map.json"
                        | "chat_template.jinja"
                        | "model.safetensors"
                ) || (!single
                    && (*name == "model.safetensors.index.json"
                        || (name.starts_with("model-") && name.ends_with(".safetensors"))))
            };
            return Ok(names.into_iter().filter(is_wanted).map(String::from).collect());
        }
        let ggufs: Vec<&str> = names.into_iter().filter(|name| name.ends_with(".gguf")).collect();
        match ggufs.as_slice() {
            [] => bail!("{}: no safetensors with a config.json, and no .gguf", self.repository),
            [only] => Ok(vec![(*only).to_owned()]),
            several => {
                bail!("{0} has several: choose one as {0}:FILE of {1}", self.repository, several.join(", "))
            }
        }
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
        Ok(bytes)
    }
}

/// What has been pulled: name and bytes, sorted.
pub(crate) fn pulled() -> anyhow::Result<Vec<(String, u64)>> {
    let mut models = Vec::new();
    if let Ok(entries) = fs::read_dir(cache()?.join("hub")) {
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().replacen("--", "/", 1);
            models.push((name, size_bytes(&entry.path())));
        }
    }
    models.sort();
    Ok(models)
}

/// Whether a file name of the hub stays inside the model's folder.
fn is_safe(name: &str) -> bool {
    let path = Path::new(name);
    !name.is_empty()
        && !name.contains('\\')
        && path.components().all(|part| matches!(part, Component::Normal(_)))
}

fn ggufs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "gguf")).collect()
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

//! What a repository on the hub holds at one commit, and which of it a model needs.

use std::path::PathBuf;

use anyhow::{Context, bail};

use super::{
    gguf_name,
    http::{Client, encode_segment},
    name::{Choice, is_safe},
};

/// A repository's files at one commit.
pub(super) struct Listing {
    repository: String,
    pub(super) commit: String,
    names: Vec<String>,
}

/// The files of one model.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) files: Vec<String>,
    /// What is opened: the first file where that is a GGUF, else `.`, the folder.
    pub(super) path: PathBuf,
}

impl Listing {
    /// Asks the hub. Names that would leave the model's folder are left out.
    pub(super) fn fetch(client: &Client, repository: &str, revision: &str) -> anyhow::Result<Self> {
        let path = format!("/api/models/{repository}/revision/{}", encode_segment(revision));
        let answer = client.json(&path)?;
        let siblings = answer["siblings"]
            .as_array()
            .with_context(|| format!("{repository}: the hub's answer lists no files"))?;
        let names = siblings
            .iter()
            .filter_map(|sibling| sibling["rfilename"].as_str())
            .filter(|name| is_safe(name))
            .map(String::from)
            .collect();
        let commit = answer["sha"].as_str().filter(|commit| is_commit(commit)).with_context(|| {
            format!(
                "{repository}: the hub's answer names no commit, without which files of several could be mixed"
            )
        })?;
        Ok(Listing { repository: repository.to_owned(), commit: commit.to_owned(), names })
    }

    /// All of them.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    fn has(&self, file: &str) -> bool {
        self.names.iter().any(|name| name == file)
    }

    /// The files of the model that is meant.
    pub(super) fn select(&self, choice: &Choice) -> anyhow::Result<Selection> {
        match choice {
            Choice::Default => self.default_model(),
            Choice::Named(what) if self.has(what) => self.file(what),
            Choice::Named(tag) => match gguf_name::tagged(&self.ggufs(), tag).as_slice() {
                [only] => self.file(only),
                [] => {
                    bail!(
                        "{} has no file {tag} and no GGUF of that quantisation; it has {}",
                        self.repository,
                        self.names.join(", ")
                    )
                }
                several => bail!(
                    "{0} has several of {tag}: choose one as {0}:FILE of {1}",
                    self.repository,
                    several.join(", ")
                ),
            },
        }
    }

    /// The file, with the others where it is a part of a split GGUF.
    fn file(&self, file: &str) -> anyhow::Result<Selection> {
        let files = gguf_name::parts(file);
        if let Some(missing) = files.iter().find(|part| !self.has(part)) {
            bail!("{} has no file {missing}, a part of {file}", self.repository);
        }
        let path = gguf_name::first_part(file).into();
        Ok(Selection { files, path })
    }

    /// The files that the repository's name alone stands for: configuration, tokenizer and safetensors; or one GGUF.
    fn default_model(&self) -> anyhow::Result<Selection> {
        if self.has("config.json") && self.names.iter().any(|name| name.ends_with(".safetensors")) {
            let is_single = self.has("model.safetensors");
            let files = self.names.iter().filter(|name| is_model_file(name, is_single)).cloned().collect();
            return Ok(Selection { files, path: ".".into() });
        }
        let models = self.ggufs();
        if models.is_empty() {
            bail!("{}: no safetensors with a config.json, and no .gguf", self.repository);
        }
        match gguf_name::preferred(&models) {
            Some(file) => self.file(file),
            None => {
                bail!("{0} has several: choose one as {0}:FILE of {1}", self.repository, models.join(", "))
            }
        }
    }

    fn ggufs(&self) -> Vec<&str> {
        gguf_name::models(self.names())
    }
}

/// Whether this can be the name of a commit, and so of a folder.
fn is_commit(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_model_file(name: &str, is_single: bool) -> bool {
    match name {
        "config.json"
        | "generation_config.json"
        | "tokenizer.json"
        | "tokenizer_config.json"
        | "special_tokens_map.json"
        | "added_tokens.json"
        | "chat_template.jinja" => true,
        "model.safetensors" => is_single,
        "model.safetensors.index.json" => !is_single,
        _ => !is_single && name.starts_with("model-") && name.ends_with(".safetensors"),
    }
}

//! What a repository on the hub holds, and which of it a model needs.

use anyhow::{Context, bail};

use super::{http::Client, is_safe};

/// A repository's files at one commit.
pub(super) struct Listing {
    repository: String,
    pub(super) commit: String,
    names: Vec<String>,
}

impl Listing {
    /// Asks the hub. Names that would leave the model's folder are left out.
    pub(super) fn fetch(client: &Client, repository: &str, revision: &str) -> anyhow::Result<Self> {
        let answer = client.json(&format!("/api/models/{repository}/revision/{revision}"))?;
        let siblings = answer["siblings"]
            .as_array()
            .with_context(|| format!("{repository}: the hub's answer lists no files"))?;
        let names = siblings
            .iter()
            .filter_map(|sibling| sibling["rfilename"].as_str())
            .filter(|name| is_safe(name))
            .map(String::from)
            .collect();
        // A hub that names no commit is asked again each time.
        let commit = answer["sha"].as_str().unwrap_or_default().to_owned();
        Ok(Listing { repository: repository.to_owned(), commit, names })
    }

    /// The file, with the others where it is the first of a split GGUF.
    pub(super) fn parts_of(&self, file: &str) -> anyhow::Result<Vec<String>> {
        if !self.names.iter().any(|name| name == file) {
            bail!("{} has no file {file}; it has {}", self.repository, self.names.join(", "));
        }
        let Some((stem, count)) = split(file) else { return Ok(vec![file.to_owned()]) };
        let parts: Vec<String> =
            (1..=count).map(|part| format!("{stem}-{part:05}-of-{count:05}.gguf")).collect();
        if let Some(missing) = parts.iter().find(|part| !self.names.contains(part)) {
            bail!("{} has no file {missing}, a part of {file}", self.repository);
        }
        Ok(parts)
    }

    /// The files a model needs: configuration, tokenizer and safetensors; or one GGUF.
    pub(super) fn model_files(&self) -> anyhow::Result<Vec<String>> {
        let has = |wanted: &str| self.names.iter().any(|name| name == wanted);
        if has("config.json") && self.names.iter().any(|name| name.ends_with(".safetensors")) {
            let is_single = has("model.safetensors");
            let wanted = self.names.iter().filter(|name| is_model_file(name, is_single));
            return Ok(wanted.cloned().collect());
        }
        let is_first = |name: &&String| split(name).is_none_or(|_| name.contains("-00001-of-"));
        let ggufs: Vec<&String> =
            self.names.iter().filter(|name| name.ends_with(".gguf")).filter(is_first).collect();
        match ggufs.as_slice() {
            [] => bail!("{}: no safetensors with a config.json, and no .gguf", self.repository),
            [only] => self.parts_of(only),
            several => {
                let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
                bail!("{0} has several: choose one as {0}:FILE of {1}", self.repository, names.join(", "))
            }
        }
    }
}

fn is_model_file(name: &str, is_single: bool) -> bool {
    match name {
        "config.json"
        | "generation_config.json"
        | "tokenizer.json"
        | "tokenizer_config.json"
        | "special_tokens_map.json"
        | "chat_template.jinja" => true,
        "model.safetensors" => is_single,
        "model.safetensors.index.json" => !is_single,
        _ => !is_single && name.starts_with("model-") && name.ends_with(".safetensors"),
    }
}

/// Stem and number of parts of `stem-00001-of-00003.gguf`.
fn split(name: &str) -> Option<(&str, u32)> {
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, part) = rest.rsplit_once('-')?;
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(part) && is_number(count)).then(|| Some((stem, count.parse().ok()?))).flatten()
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn parts_of_a_split_file_are_numbered() {
        assert_eq!(split("m/q4-00002-of-00003.gguf"), Some(("m/q4", 3)));
        assert_eq!(split("q4.gguf"), None);
        assert_eq!(split("q4-2-of-3.gguf"), None);
    }
}

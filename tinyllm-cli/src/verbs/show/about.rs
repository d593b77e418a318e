//! What a model's files say apart from weights: special tokens, chat template, licence.

use std::path::Path;

use tinyllm_mem::FileBytes;
use tinyllm_model::{ModelFiles, Tokenizer, files::TextFiles};

/// Limit of a licence or a README; files are read whole.
const MAX_BYTES: u64 = 1 << 20;

/// How much of a list or a template is printed.
const MAX_LISTED: usize = 8;
const MAX_BEGINNING: usize = 60;

pub(super) struct About {
    /// The tokenizer's vocabulary size; `None` where the tokenizer cannot be read.
    pub(super) vocabulary: Option<usize>,
    pub(super) bos: Option<String>,
    pub(super) eos: Vec<String>,
    pub(super) special: Vec<String>,
    pub(super) template: Option<String>,
    pub(super) licence: Option<String>,
}

impl About {
    pub(super) fn of(files: &ModelFiles) -> Self {
        let (config, text) = (files.config(), files.text());
        let tokenizer = text.tokenizer().ok();
        let token = |id: u32| {
            let token = tokenizer.as_ref().and_then(|tokenizer| tokenizer.id_to_token(id));
            token.unwrap_or_else(|| format!("token {id}"))
        };
        About {
            vocabulary: tokenizer.as_ref().map(|tokenizer| tokenizer.vocab_size()),
            bos: config.bos_token_id.map(token),
            eos: config.eos_token_ids.iter().map(|id| token(*id)).collect(),
            special: tokenizer.as_ref().map(special_tokens).unwrap_or_default(),
            template: text.template_source().ok().flatten().map(|source| source.text),
            licence: in_gguf(text, "general.license").or_else(|| licence_of(text.path())),
        }
    }
}

/// The special tokens in the order of their ids.
fn special_tokens(tokenizer: &Tokenizer) -> Vec<String> {
    let mut tokens = tokenizer.special_tokens();
    tokens.sort_by_cached_key(|token| tokenizer.token_to_id(token));
    tokens
}

/// The first few of a list, and how many more there are.
pub(super) fn list(words: &[String]) -> String {
    if words.is_empty() {
        return "none".into();
    }
    let first = words.iter().take(MAX_LISTED).cloned().collect::<Vec<_>>().join(" ");
    match words.len().saturating_sub(MAX_LISTED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// How a text begins, on one line, and how long it is.
pub(super) fn beginning(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let beginning: String = line.chars().take(MAX_BEGINNING).collect();
    let more = if beginning.len() < line.len() { " …" } else { "" };
    format!("{} characters: {beginning}{more}", text.chars().count())
}

/// A text of a GGUF's metadata.
fn in_gguf(text: &TextFiles, key: &str) -> Option<String> {
    text.gguf()?.metadata().string(key).ok().flatten().map(str::to_owned)
}

/// What a model's directory says of its licence: `license:` at the head of its README, or the title of its LICENSE.
fn licence_of(folder: &Path) -> Option<String> {
    let read = |name: &str| {
        let file = FileBytes::read(&folder.join(name), MAX_BYTES).ok()?;
        String::from_utf8(file.into_vec()).ok()
    };
    let of_readme = read("README.md").and_then(|readme| {
        let head = readme.strip_prefix("---")?.split("\n---").next()?.to_owned();
        let value = head.lines().find_map(|line| line.strip_prefix("license:"))?;
        Some(value.trim().trim_matches(['"', '\'']).to_owned())
    });
    let title = |text: String| text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
    of_readme
        .or_else(|| ["LICENSE", "LICENSE.txt", "LICENSE.md"].into_iter().find_map(|name| title(read(name)?)))
        .filter(|licence| !licence.is_empty())
}

//! A tokenizer's special tokens by name, as chat templates call them: `bos_token`, `pad_token`, ….

use std::collections::BTreeMap;

use crate::{
    Result,
    checkpoint::gguf::{Metadata, Value},
};

/// The names that transformers knows.
pub(super) const NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The special tokens that a model's files name. A name that is null or absent is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    named: BTreeMap<String, String>,
    additional: Vec<String>,
}

impl SpecialTokens {
    /// Of these names.
    pub fn new<'a>(named: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let named = named.into_iter().map(|(name, token)| (name.to_owned(), token.to_owned())).collect();
        SpecialTokens { named, additional: Vec::new() }
    }

    /// Those that JSON files name; the first file that has a name counts, though it says null.
    pub(super) fn from_config<const FILES: usize>(files: [&serde_json::Value; FILES]) -> Self {
        let mut named = BTreeMap::<String, Option<String>>::new();
        for file in files {
            for name in NAMES {
                if let Some(value) = file.get(name) {
                    named.entry(name.to_owned()).or_insert_with(|| text(value).map(str::to_owned));
                }
            }
            for (name, value) in file["extra_special_tokens"].as_object().into_iter().flatten() {
                named.entry(name.clone()).or_insert_with(|| text(value).map(str::to_owned));
            }
        }
        let named = named.into_iter().filter_map(|(name, token)| Some((name, token?))).collect();
        let additional =
            additional(files.into_iter()).into_iter().flatten().filter_map(text).map(str::to_owned);
        SpecialTokens { named, additional: additional.collect() }
    }

    /// Those that a GGUF names.
    ///
    /// # Errors
    /// A key of the wrong type.
    pub fn from_gguf(metadata: &Metadata<'_>) -> Result<Self> {
        const KEYS: [(&str, &str); 7] = [
            ("bos_token", "tokenizer.ggml.bos_token_id"),
            ("eos_token", "tokenizer.ggml.eos_token_id"),
            ("unk_token", "tokenizer.ggml.unknown_token_id"),
            ("sep_token", "tokenizer.ggml.seperator_token_id"),
            ("pad_token", "tokenizer.ggml.padding_token_id"),
            ("cls_token", "tokenizer.ggml.cls_token_id"),
            ("mask_token", "tokenizer.ggml.mask_token_id"),
        ];
        let mut named = BTreeMap::new();
        for (name, key) in KEYS {
            // -1 is written for none.
            let id = match metadata.get(key) {
                Some(Value::Integer(id)) => usize::try_from(id).ok(),
                _ => None,
            };
            let mut tokens = metadata.strings("tokenizer.ggml.tokens")?;
            let token = id.zip(tokens.as_mut()).and_then(|(id, tokens)| tokens.nth(id));
            named.extend(token.map(|token| (name.to_owned(), token.to_owned())));
        }
        Ok(SpecialTokens { named, additional: Vec::new() })
    }

    /// The token of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.named.get(name).map(String::as_str)
    }

    /// Names and their tokens.
    pub fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        self.named.iter().map(|(name, token)| (name.as_str(), token.as_str()))
    }

    /// Special tokens without a name of their own: `additional_special_tokens`.
    pub fn additional(&self) -> &[String] {
        &self.additional
    }

    /// Every token.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.named.values().chain(&self.additional).map(String::as_str)
    }
}

/// The special tokens without a name: of the last file that lists any, tokenizer_config.json.
pub(super) fn additional<'a>(
    files: impl DoubleEndedIterator<Item = &'a serde_json::Value>,
) -> Option<&'a Vec<serde_json::Value>> {
    files.rev().find_map(|file| file["additional_special_tokens"].as_array())
}

/// A token as text, or as an object that holds it.
fn text(token: &serde_json::Value) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str())
}

//! The files that add tokens to a tokenizer.json: tokenizer_config.json and the older special_tokens_map.json and
//! added_tokens.json. Precedence follows transformers.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tokenizers::AddedToken;

use super::special::{NAMES, SpecialTokens, additional};
use crate::{
    ModelError, Result,
    config::{python_json, read_bounded},
};

/// The longest of these files that is read.
const MAX_BYTES: u64 = 16 << 20;

/// The files of a directory, parsed; null where one is not there.
pub(crate) struct TokenizerFiles {
    config_path: PathBuf,
    config: Value,
    /// Null where tokenizer_config.json lists the added tokens: the older files do not count then.
    special_tokens_map: Value,
    added_tokens: Value,
}

impl TokenizerFiles {
    /// # Errors
    /// A file that cannot be read or is no JSON.
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let config_path = directory.join("tokenizer_config.json");
        let config = json(&config_path)?;
        let (special_tokens_map, added_tokens) = if config["added_tokens_decoder"].is_null() {
            (json(&directory.join("special_tokens_map.json"))?, json(&directory.join("added_tokens.json"))?)
        } else {
            (Value::Null, Value::Null)
        };
        Ok(TokenizerFiles { config_path, config, special_tokens_map, added_tokens })
    }

    /// tokenizer_config.json, and where it is.
    pub(crate) fn config(&self) -> (&Path, &Value) {
        (&self.config_path, &self.config)
    }

    /// The special tokens by name. special_tokens_map.json counts before tokenizer_config.json.
    pub(crate) fn special_tokens(&self) -> SpecialTokens {
        SpecialTokens::from_config([&self.special_tokens_map, &self.config])
    }

    /// The tokens that these files add to a tokenizer.json, in the order of their ids: those that are listed, and then
    /// special tokens by name that `is_added` does not know. A token that the vocabulary does not have gets the next id,
    /// whatever the file says.
    pub(super) fn added_tokens(&self, is_added: impl Fn(&str) -> bool) -> Vec<AddedToken> {
        let special = self.special_tokens();
        let special: HashSet<&str> = special.all().collect();
        let mut numbered: Vec<(u64, AddedToken)> = Vec::new();
        for (id, token) in self.config["added_tokens_decoder"].as_object().into_iter().flatten() {
            numbered.extend(id.parse().ok().zip(added_token(token)));
        }
        for (content, id) in self.added_tokens.as_object().into_iter().flatten() {
            let is_special = special.contains(content.as_str());
            numbered.extend(id.as_u64().map(|id| (id, plain_token(content, is_special))));
        }
        numbered.sort_by_key(|(id, _)| *id);
        let mut tokens: Vec<AddedToken> = numbered.into_iter().map(|(_, token)| token).collect();
        let mut known: HashSet<String> = tokens.iter().map(|token| token.content.clone()).collect();
        for token in self.special_values() {
            let token =
                token.as_str().map(|content| plain_token(content, true)).or_else(|| added_token(token));
            if let Some(token) = token
                && !is_added(&token.content)
                && known.insert(token.content.clone())
            {
                tokens.push(AddedToken { special: true, ..token });
            }
        }
        tokens
    }

    /// The special tokens as they are written: those with a name in the names' order, then the others.
    fn special_values(&self) -> impl Iterator<Item = &Value> {
        let files = || [&self.special_tokens_map, &self.config].into_iter();
        let named = NAMES.into_iter().filter_map(move |name| files().find_map(|file| file.get(name)));
        let additional = additional(files()).into_iter().flatten();
        let extra = self.config["extra_special_tokens"].as_object();
        named.chain(additional).chain(extra.into_iter().flat_map(|extra| extra.values()))
    }
}

impl SpecialTokens {
    /// Those that the files of a directory name.
    ///
    /// # Errors
    /// A file that cannot be read or is no JSON.
    pub fn from_directory(directory: &Path) -> Result<Self> {
        Ok(TokenizerFiles::read(directory)?.special_tokens())
    }
}

/// A file's JSON; null where there is no such file.
fn json(path: &Path) -> Result<Value> {
    if !path.exists() {
        return Ok(Value::Null);
    }
    python_json::parse(&read_bounded(path, MAX_BYTES)?)
        .map_err(|error| ModelError::malformed(path, "JSON", error.to_string()))
}

fn plain_token(content: &str, special: bool) -> AddedToken {
    AddedToken::from(content, special).normalized(!special)
}

/// A token written as an object.
fn added_token(token: &Value) -> Option<AddedToken> {
    let content = token["content"].as_str()?;
    let flag = |name: &str, default: bool| token[name].as_bool().unwrap_or(default);
    let special = flag("special", false);
    Some(
        AddedToken::from(content, special)
            .single_word(flag("single_word", false))
            .lstrip(flag("lstrip", false))
            .rstrip(flag("rstrip", false))
            .normalized(flag("normalized", !special)),
    )
}

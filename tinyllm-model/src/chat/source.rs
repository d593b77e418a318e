//! Where a chat template is: beside a tokenizer, inside its configuration, or in a GGUF.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{ModelError, Result, checkpoint::gguf::Gguf, config::read_bounded};

/// The longest file with a template that is read.
const MAX_BYTES: u64 = 16 << 20;

/// A template's text, and the tokens it may name.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateSource {
    /// Where it came from, for errors.
    pub path: PathBuf,
    /// The template.
    pub text: String,
    /// The token that begins a sequence, or nothing.
    pub bos_token: String,
    /// The token that ends one, or nothing.
    pub eos_token: String,
}

impl TemplateSource {
    /// The template of a directory: chat_template.jinja, else the one in tokenizer_config.json. `None` where there is
    /// neither.
    ///
    /// # Errors
    /// A file that cannot be read or is malformed.
    pub fn from_directory(directory: &Path) -> Result<Option<Self>> {
        let config_path = directory.join("tokenizer_config.json");
        let config: Value = if config_path.exists() {
            serde_json::from_slice(&read_bounded(&config_path, MAX_BYTES)?)
                .map_err(|error| ModelError::malformed(&config_path, "JSON", error.to_string()))?
        } else {
            Value::Null
        };
        let jinja_path = directory.join("chat_template.jinja");
        if jinja_path.exists() {
            let bytes = read_bounded(&jinja_path, MAX_BYTES)?;
            let text = String::from_utf8(bytes)
                .map_err(|error| ModelError::malformed(&jinja_path, "UTF-8", error.to_string()))?;
            return Ok(Some(Self::with_config(jinja_path, text, &config)));
        }
        Ok(Self::from_config(config_path, &config))
    }

    /// The template inside a tokenizer_config.json.
    pub fn from_config(path: PathBuf, config: &Value) -> Option<Self> {
        let text = match &config["chat_template"] {
            Value::String(text) => text.clone(),
            Value::Array(named) => {
                let default = named.iter().find(|entry| entry["name"] == "default")?;
                default["template"].as_str()?.to_owned()
            }
            _ => return None,
        };
        Some(Self::with_config(path, text, config))
    }

    /// This text with the tokens of a tokenizer_config.json, which may be strings or objects.
    pub fn with_config(path: PathBuf, text: String, config: &Value) -> Self {
        let token = |name: &str| {
            let value = &config[name];
            value.as_str().or_else(|| value["content"].as_str()).unwrap_or_default().to_owned()
        };
        TemplateSource { path, text, bos_token: token("bos_token"), eos_token: token("eos_token") }
    }

    /// The template inside a GGUF.
    ///
    /// # Errors
    /// A key of the wrong type.
    pub fn from_gguf(gguf: &Gguf) -> Result<Option<Self>> {
        let metadata = gguf.metadata();
        let Some(text) = metadata.string("tokenizer.chat_template")? else { return Ok(None) };
        let token = |key: &str| -> Result<String> {
            let id = metadata.u32(key)?;
            let mut tokens = metadata.strings("tokenizer.ggml.tokens")?;
            let token = id.zip(tokens.as_mut()).and_then(|(id, tokens)| tokens.nth(id as usize));
            Ok(token.unwrap_or_default().to_owned())
        };
        Ok(Some(TemplateSource {
            path: gguf.path().to_owned(),
            text: text.to_owned(),
            bos_token: token("tokenizer.ggml.bos_token_id")?,
            eos_token: token("tokenizer.ggml.eos_token_id")?,
        }))
    }
}

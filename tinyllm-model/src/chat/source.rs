//! Where a chat template comes from: chat_template.jinja, tokenizer_config.json, or a GGUF's metadata.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{
    ModelError, Result,
    checkpoint::gguf::Gguf,
    config::read_bounded,
    tokenizer::{SpecialTokens, TokenizerFiles},
};

/// The longest file with a template that is read.
const MAX_BYTES: u64 = 16 << 20;

/// The name of the template that is used where there are several.
const DEFAULT: &str = "default";

/// A template's text, and the tokens it may name.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateSource {
    /// Where it came from, for errors.
    pub path: PathBuf,
    /// The template.
    pub text: String,
    /// The special tokens that it may name: `bos_token` and so on.
    pub tokens: SpecialTokens,
}

impl TemplateSource {
    /// The template of a directory: chat_template.jinja, else the one in tokenizer_config.json. `None` where there is
    /// neither.
    ///
    /// # Errors
    /// A file that cannot be read or is malformed; several templates of which none is the default one.
    pub fn from_directory(directory: &Path) -> Result<Option<Self>> {
        let files = TokenizerFiles::read(directory)?;
        let tokens = files.special_tokens();
        let jinja_path = directory.join("chat_template.jinja");
        if jinja_path.exists() {
            let bytes = read_bounded(&jinja_path, MAX_BYTES)?;
            let text = String::from_utf8(bytes)
                .map_err(|error| ModelError::malformed(&jinja_path, "UTF-8", error.to_string()))?;
            return Ok(Some(TemplateSource { path: jinja_path, text, tokens }));
        }
        let (path, config) = files.config();
        let text = in_config(path, &config["chat_template"])?;
        Ok(text.map(|text| TemplateSource { path: path.to_owned(), text: text.to_owned(), tokens }))
    }

    /// The template inside a GGUF.
    ///
    /// # Errors
    /// A key of the wrong type.
    pub fn from_gguf(gguf: &Gguf) -> Result<Option<Self>> {
        let metadata = gguf.metadata();
        let Some(text) = metadata.string("tokenizer.chat_template")? else { return Ok(None) };
        let tokens = SpecialTokens::from_gguf(&metadata)?;
        Ok(Some(TemplateSource { path: gguf.path().to_owned(), text: text.to_owned(), tokens }))
    }
}

/// The template in a tokenizer_config.json: a text, or several by name, as an object or a list.
fn in_config<'a>(path: &Path, template: &'a Value) -> Result<Option<&'a str>> {
    let named: Vec<(&str, &str)> = match template {
        Value::String(text) => return Ok(Some(text)),
        Value::Object(by_name) => {
            by_name.iter().filter_map(|(name, text)| Some((name.as_str(), text.as_str()?))).collect()
        }
        Value::Array(list) => list
            .iter()
            .filter_map(|entry| Some((entry["name"].as_str()?, entry["template"].as_str()?)))
            .collect(),
        _ => return Ok(None),
    };
    if let Some((_, text)) = named.iter().find(|(name, _)| *name == DEFAULT) {
        return Ok(Some(text));
    }
    let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
    let problem = format!("several templates and none named {DEFAULT:?}: {}", names.join(", "));
    if names.is_empty() { Ok(None) } else { Err(ModelError::malformed(path, "chat_template", problem)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_of_several_templates_is_the_default() {
        let find = |template: Value| in_config(Path::new("t"), &template).map(|text| text.map(str::to_owned));
        assert_eq!(find(json!({"tool_use": "T", "default": "D"})).unwrap().unwrap(), "D");
        let list = json!([{"name": "rag", "template": "R"}, {"name": "default", "template": "D"}]);
        assert_eq!(find(list).unwrap().unwrap(), "D");
        let problem = find(json!({"tool_use": "T", "rag": "R"})).unwrap_err().to_string();
        assert!(problem.contains("tool_use, rag"), "{problem}");
        assert_eq!(find(Value::Null).unwrap(), None);
        assert_eq!(find(json!({})).unwrap(), None);
    }
}

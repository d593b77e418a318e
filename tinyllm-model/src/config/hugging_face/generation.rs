//! generation_config.json: only the ids that end a sequence are taken from it.
//!
//! The file is advice on sampling, often hand-edited. What cannot be read is ignored, with a note: config.json
//! alone is enough to run a model.

use std::path::Path;

use serde_json::Value;

use crate::config::{ModelConfig, fields::as_size, python_json, read_bounded};

const MAX_GENERATION_CONFIG_BYTES: u64 = 1 << 20;

impl ModelConfig {
    /// Adds the `eos_token_id` of a generation_config.json to those of config.json. What was wrong with the file, if
    /// anything.
    pub(crate) fn add_generation_config(&mut self, generation_config_json: &Path) -> Option<String> {
        if !generation_config_json.exists() {
            return None;
        }
        let bytes = match read_bounded(generation_config_json, MAX_GENERATION_CONFIG_BYTES) {
            Ok(bytes) => bytes,
            Err(error) => return Some(format!("{error}; the file is not used")),
        };
        let problem = self.add_generation_eos(&bytes)?;
        Some(format!("{}: {problem}", generation_config_json.display()))
    }

    /// As [`ModelConfig::add_generation_config`], of the file's contents.
    pub(super) fn add_generation_eos(&mut self, generation_config_json: &[u8]) -> Option<String> {
        let generation = match python_json::parse(generation_config_json) {
            Ok(generation) => generation,
            Err(error) => return Some(format!("JSON: {error}; the file is not used")),
        };
        let listed = match &generation["eos_token_id"] {
            Value::Null => return None,
            Value::Array(ids) => ids.as_slice(),
            one => std::slice::from_ref(one),
        };
        let mut wrong = Vec::new();
        for value in listed {
            let id = as_size(value).filter(|id| *id < self.vocab_size).and_then(|id| u32::try_from(id).ok());
            match id {
                Some(id) if !self.eos_token_ids.contains(&id) => self.eos_token_ids.push(id),
                Some(_) => (),
                None => wrong.push(value.to_string()),
            }
        }
        let problem = || format!("eos_token_id: {} is no token of {}", wrong.join(", "), self.vocab_size);
        (!wrong.is_empty()).then(problem)
    }
}

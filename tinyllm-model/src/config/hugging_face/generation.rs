//! generation_config.json: only the ids that end a sequence are taken from it.
//!
//! The file is advice on sampling, often hand-edited. A key that cannot be read is as if absent, and so is a file that
//! cannot: config.json alone makes a model that runs.

use std::path::Path;

use serde_json::Value;

use crate::config::{ModelConfig, fields::as_size, read_bounded};

const MAX_GENERATION_CONFIG_BYTES: u64 = 1 << 20;

impl ModelConfig {
    /// Adds the `eos_token_id` of a generation_config.json to those of config.json.
    pub(super) fn add_generation_config(&mut self, generation_config_json: &Path) {
        let Ok(bytes) = read_bounded(generation_config_json, MAX_GENERATION_CONFIG_BYTES) else { return };
        self.add_generation_eos(&bytes);
    }

    /// As [`ModelConfig::add_generation_config`], of the file's contents.
    pub(super) fn add_generation_eos(&mut self, generation_config_json: &[u8]) {
        let Ok(generation) = serde_json::from_slice::<Value>(generation_config_json) else { return };
        for id in eos_token_ids(&generation).unwrap_or_default() {
            if !self.eos_token_ids.contains(&id) {
                self.eos_token_ids.push(id);
            }
        }
    }
}

/// The ids, or nothing where one of them is not an id.
fn eos_token_ids(generation: &Value) -> Option<Vec<u32>> {
    let id = |value: &Value| u32::try_from(as_size(value)?).ok();
    match generation.get("eos_token_id")? {
        Value::Array(ids) => ids.iter().map(id).collect(),
        one => Some(vec![id(one)?]),
    }
}

//! What was said so far, as messages and as tokens, and as a file.

use std::path::Path;

use anyhow::anyhow;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tinyllm_model::{
    Tokenizer,
    chat::{ChatTemplate, Message},
    tokenizer::EncodeOptions,
};

use super::settings::Settings;
use crate::files;

/// What was said so far.
#[derive(Default)]
pub(super) struct Conversation {
    /// What the model is told first; nothing where empty.
    pub(super) system: String,
    pub(super) messages: Vec<Message>,
}

/// A conversation on disk.
#[derive(Serialize, Deserialize)]
struct Saved {
    model: String,
    system: String,
    settings: Map<String, Value>,
    messages: Vec<Message>,
}

impl Conversation {
    pub(super) fn say(&mut self, role: &str, content: String) {
        self.messages.push(Message { role: role.into(), content });
    }

    /// The tokens of all of it, ready for the model's next turn. Without a template, the texts one after another.
    pub(super) fn tokens(
        &self,
        tokenizer: &Tokenizer,
        template: Option<&ChatTemplate>,
    ) -> anyhow::Result<Vec<u32>> {
        let Some(template) = template else {
            let texts =
                [self.system.as_str()].into_iter().chain(self.messages.iter().map(|m| m.content.as_str()));
            let text: String = texts.collect();
            return Ok(tokenizer.encode(&text, EncodeOptions { parse_special: false, add_special: true })?);
        };
        let system = Message { role: "system".into(), content: self.system.clone() };
        let system = (!self.system.is_empty()).then_some(system);
        let messages: Vec<Message> = system.into_iter().chain(self.messages.iter().cloned()).collect();
        Ok(template.encode(tokenizer, &messages, true)?)
    }

    /// Writes it beside `path`, then gives it its name.
    pub(super) fn save(&self, path: &Path, model: &str, settings: &Settings) -> anyhow::Result<()> {
        let saved = Saved {
            model: model.to_owned(),
            system: self.system.clone(),
            settings: settings.to_json(),
            messages: self.messages.clone(),
        };
        let mut text = serde_json::to_vec_pretty(&saved)?;
        text.push(b'\n');
        crate::output::write_file(path, &text)
    }

    /// Reads one, and its settings.
    pub(super) fn load(path: &Path, settings: &mut Settings) -> anyhow::Result<Self> {
        let name = || path.display().to_string();
        let saved: Saved = files::json(path, files::MAX_PROMPT_BYTES)?;
        settings.set_all(&saved.settings).map_err(|problem| anyhow!("{}: settings: {problem}", name()))?;
        Ok(Conversation { system: saved.system, messages: saved.messages })
    }
}

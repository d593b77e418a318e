//! The conversation so far: as messages, as tokens, and as a file.

use std::path::Path;

use anyhow::{anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tinyllm_model::{
    Tokenizer,
    chat::{ChatTemplate, Message},
    tokenizer::EncodeOptions,
};

use super::settings::Settings;
use crate::{input, output};

/// The conversation so far.
#[derive(Clone, Default)]
pub(super) struct Conversation {
    /// The system message; none where empty.
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

    /// How many turns there are: what the user said, and what was answered.
    pub(super) fn turns(&self) -> usize {
        self.starts().count()
    }

    /// Drops the `count` oldest turns and any messages before them.
    pub(super) fn drop_turns(&mut self, count: usize) {
        let first = self.starts().nth(count).unwrap_or(self.messages.len());
        self.messages.drain(..first);
    }

    /// Indices of the messages that begin a turn.
    fn starts(&self) -> impl Iterator<Item = usize> {
        self.messages.iter().enumerate().filter(|(_, message)| message.role == "user").map(|(index, _)| index)
    }

    /// Writes a temporary file and renames it to `path`. Replaces a saved conversation, and no other file.
    pub(super) fn save(&self, path: &Path, model: &str, settings: &Settings) -> anyhow::Result<()> {
        if path.exists() && input::json::<Saved>(path, input::MAX_PROMPT_BYTES).is_err() {
            bail!(
                "{}: exists and is no saved conversation; choose another name, or remove it",
                path.display()
            );
        }
        let saved = Saved {
            model: model.to_owned(),
            system: self.system.clone(),
            settings: settings.to_json(),
            messages: self.messages.clone(),
        };
        let mut text = serde_json::to_vec_pretty(&saved)?;
        text.push(b'\n');
        output::write_file(path, &text)
    }

    /// Reads one, and its settings.
    pub(super) fn load(path: &Path, settings: &mut Settings) -> anyhow::Result<Self> {
        let name = || path.display().to_string();
        let saved: Saved = input::json(path, input::MAX_PROMPT_BYTES)?;
        settings.set_all(&saved.settings).map_err(|problem| anyhow!("{}: settings: {problem}", name()))?;
        Ok(Conversation { system: saved.system, messages: saved.messages })
    }
}

//! Chat templates, rendered as transformers renders them.

mod bounds;
mod encode;
mod json;
mod render;
mod source;
mod stack;
mod syntax;

use minijinja::Value;
use serde::{Deserialize, Serialize};

pub use source::TemplateSource;

use crate::{ModelError, Result};

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// A template that was found sound, with the tokens it may name.
pub struct ChatTemplate {
    text: String,
    bos_token: String,
    eos_token: String,
}

impl ChatTemplate {
    /// Checks a template.
    ///
    /// # Errors
    /// A syntax error, with its line; a template beyond the limits on length and depth.
    pub fn new(source: &TemplateSource) -> Result<Self> {
        syntax::check_length(&source.text)
            .map_err(|error| ModelError::malformed(&source.path, "chat_template", error.to_string()))?;
        // `{% generation %}` marks the assistant's words for training; it renders nothing.
        let text = source.text.replace("{% generation %}", "").replace("{% endgeneration %}", "");
        let text = text.replace("{%- generation %}", "").replace("{%- endgeneration %}", "");
        let text = text.replace("{%- generation -%}", "").replace("{%- endgeneration -%}", "");
        stack::run(|| render::check(&text))
            .and_then(|checked| checked)
            .map_err(|problem| ModelError::malformed(&source.path, "chat_template", problem))?;
        Ok(ChatTemplate { text, bos_token: source.bos_token.clone(), eos_token: source.eos_token.clone() })
    }

    /// Renders a conversation (messages as a list of objects). What a template may spend grows with the conversation;
    /// a template that would go on for ever, or make more text than that, is an error.
    ///
    /// # Errors
    /// What the template raises, or what it does wrong with these messages.
    pub fn render(&self, messages: &serde_json::Value, add_generation_prompt: bool) -> Result<String> {
        let fuel = render::fuel(messages)?;
        let rendered = stack::run(|| {
            let context = minijinja::context! {
                messages => Value::from(minijinja::value::Serde(messages)),
                add_generation_prompt => add_generation_prompt,
                bos_token => self.bos_token.as_str(),
                eos_token => self.eos_token.as_str(),
            };
            render::render(&self.text, context, fuel)
        });
        rendered
            .and_then(|rendered| rendered)
            .map_err(|problem| ModelError::Request(format!("chat template: {problem}")))
    }
}

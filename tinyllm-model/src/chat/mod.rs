//! Chat templates, rendered as transformers renders them.
//!
//! A template is written for jinja2, and minijinja runs it. What differs is in `python`: the text is rewritten (`text.rs`),
//! its syntax tree so that operators and macros have Python's meaning (`rewrite.rs`), and values are printed and compared as
//! in Python. Special tokens that a message merely mentions must stay text: each of their characters is replaced by one for
//! private use before rendering (`marks.rs`), and encoding turns what lies between the template's own special tokens into
//! plain text. Which tokens end an answer: config.json, generation_config.json, and `tokenizer/end_tokens.rs`.

mod bounds;
mod encode;
mod marks;
mod python;
mod render;
mod source;
mod stack;
mod syntax;

use std::sync::Arc;

use minijinja::Value;
use serde::{Deserialize, Serialize};

pub use source::TemplateSource;

use self::marks::Marks;
use crate::{ModelError, Result, tokenizer::SpecialTokens};

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`.
    pub role: String,
    /// The text.
    pub content: String,
}

/// A checked template, with the special tokens that it may name.
pub struct ChatTemplate {
    text: String,
    tokens: SpecialTokens,
}

impl ChatTemplate {
    /// Checks a template.
    ///
    /// # Errors
    /// A syntax error, with its line; a template beyond the limits on length and depth.
    pub fn new(source: &TemplateSource) -> Result<Self> {
        syntax::check_length(&source.text)
            .map_err(|error| ModelError::malformed(&source.path, "chat_template", error.to_string()))?;
        let text = python::for_engine(&source.text);
        stack::run(|| render::check(&text))
            .and_then(|checked| checked)
            .map_err(|problem| ModelError::malformed(&source.path, "chat_template", problem))?;
        Ok(ChatTemplate { text, tokens: source.tokens.clone() })
    }

    /// Renders a conversation (messages as a list of objects). The template's fuel grows with the conversation; a
    /// template that runs out of it is an error.
    ///
    /// # Errors
    /// What the template raises, or what it does wrong with these messages.
    pub fn render(&self, messages: &serde_json::Value, add_generation_prompt: bool) -> Result<String> {
        self.render_marked(messages, add_generation_prompt, &Arc::default())
    }

    /// As [`ChatTemplate::render`], of messages in which special tokens are marked; so they are in what is rendered.
    fn render_marked(
        &self,
        messages: &serde_json::Value,
        add_generation_prompt: bool,
        marks: &Arc<Marks>,
    ) -> Result<String> {
        let fuel = render::fuel(messages)?;
        let rendered = stack::run(|| {
            render::render(&self.text, self.context(messages, add_generation_prompt), fuel, marks)
        });
        rendered
            .and_then(|rendered| rendered)
            .map_err(|problem| ModelError::Template { problem: marks.true_text(&problem).into_owned() })
    }

    /// The template's variables. `tools` and `documents` are none.
    fn context(&self, messages: &serde_json::Value, add_generation_prompt: bool) -> Value {
        let tokens = self.tokens.named().map(|(name, token)| (name.to_owned(), Value::from(token)));
        let additional = Some(self.tokens.additional()).filter(|tokens| !tokens.is_empty());
        let additional =
            additional.map(|tokens| ("additional_special_tokens".to_owned(), Value::from_iter(tokens)));
        let given = [
            ("messages", Value::from(minijinja::value::Serde(messages))),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value));
        Value::from_pairs(tokens.chain(additional).chain(given))
    }
}

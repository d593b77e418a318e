//! Chat templates, rendered as transformers renders them.

mod encode;
mod json;
mod source;

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value, syntax::SyntaxConfig};
use serde::{Deserialize, Serialize};

pub use source::TemplateSource;

use crate::{ModelError, Result};

/// Instructions a template may take: thousands of messages, and the end of an endless loop.
const FUEL: u64 = 2_000_000;

/// The longest `range` a template may make.
const MAX_RANGE: i64 = 100_000;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// A compiled template with the tokens it may name.
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

impl ChatTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// A syntax error, with its line.
    pub fn new(source: &TemplateSource) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(|error| ModelError::malformed(&source.path, "chat_template", describe(&error)))?;
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", json::to_json);
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("range", range);
        // `{% generation %}` marks the assistant's words for training; it renders nothing.
        let text = source.text.replace("{% generation %}", "").replace("{% endgeneration %}", "");
        let text = text.replace("{%- generation %}", "").replace("{%- endgeneration %}", "");
        let text = text.replace("{%- generation -%}", "").replace("{%- endgeneration -%}", "");
        environment
            .add_template_owned("chat_template", text)
            .map_err(|error| ModelError::malformed(&source.path, "chat_template", describe(&error)))?;
        Ok(ChatTemplate {
            environment,
            bos_token: source.bos_token.clone(),
            eos_token: source.eos_token.clone(),
        })
    }

    /// Renders a conversation (messages as a list of objects).
    ///
    /// # Errors
    /// What the template raises, or what it does wrong with these messages.
    pub fn render(&self, messages: &serde_json::Value, add_generation_prompt: bool) -> Result<String> {
        let context = minijinja::context! {
            messages => Value::from(minijinja::value::Serde(messages)),
            add_generation_prompt => add_generation_prompt,
            bos_token => self.bos_token.as_str(),
            eos_token => self.eos_token.as_str(),
        };
        self.environment
            .get_template("chat_template")
            .and_then(|template| template.render(context))
            .map_err(|error| ModelError::Request(format!("chat template: {}", describe(&error))))
    }
}

/// The error with its line and its causes.
fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// Python's range, bounded.
fn range(first: i64, second: Option<i64>, step: Option<i64>) -> Result<Vec<i64>, Error> {
    let (start, end) = second.map_or((0, first), |end| (first, end));
    let step = step.unwrap_or(1);
    let span = end.saturating_sub(start);
    let count = if step == 0 || (span > 0) != (step > 0) {
        0
    } else {
        (span.saturating_sub(step.signum())) / step + 1
    };
    if count > MAX_RANGE || step == 0 {
        let problem = format!("range({start}, {end}, {step}): at most {MAX_RANGE} steps");
        return Err(Error::new(ErrorKind::InvalidOperation, problem));
    }
    Ok((0..count).map(|index| start + index * step).collect())
}

//! Renders a template: parse, compile, insert checks, run with fuel.
//!
//! A template is compiled for each rendering: that takes a fraction of a millisecond, and compiled templates borrow
//! their text.

use std::sync::Arc;

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value,
    machinery::{CodeGenerator, eval, make_string_output},
    syntax::SyntaxConfig,
};

use super::{bounds, marks::Marks, python, syntax};
use crate::{ModelError, Result};

/// What errors call a template.
const NAME: &str = "chat_template";

/// Fuel of a short conversation: about so many instructions, or 64 times as many bytes, of which two copies may be there
/// at a time. Published templates take some thousands.
const FUEL: u64 = 1_500_000;

/// The most fuel of any conversation: two seconds, roughly.
const MAX_FUEL: u64 = 48_000_000;

/// The longest `range` a template may make.
const MAX_RANGE: i64 = 100_000;

/// The longest error that is passed on; a template may raise any.
const MAX_ERROR_CHARS: usize = 2000;

/// The fuel for `messages`: more for long ones, which are copied, compared and trimmed some ten times;
/// more for many, because templates look at all messages for each, and join them one by one.
pub(super) fn fuel(messages: &serde_json::Value) -> Result<u64> {
    let bytes = bytes_of(messages, bounds::MAX_NESTING)
        .ok_or(ModelError::MessagesTooDeep { limit: bounds::MAX_NESTING })?;
    let count = messages.as_array().map_or(1, Vec::len) as u64;
    let pairs = count.saturating_mul(count).saturating_mul(16);
    let joined = count.saturating_mul(bytes) / 32;
    Ok(FUEL.saturating_add(bytes).saturating_add(pairs).saturating_add(joined).min(MAX_FUEL))
}

/// The text in a value; `None` if it is nested more deeply than `depth`.
fn bytes_of(value: &serde_json::Value, depth: usize) -> Option<u64> {
    let depth = depth.checked_sub(1)?;
    match value {
        serde_json::Value::Array(items) => items.iter().map(|item| bytes_of(item, depth)).sum(),
        serde_json::Value::Object(map) => {
            map.iter().map(|(key, item)| Some(key.len() as u64 + bytes_of(item, depth)?)).sum()
        }
        serde_json::Value::String(text) => Some(text.len() as u64),
        _ => Some(8),
    }
}

/// Why a template cannot be used, if it cannot.
pub(super) fn check(text: &str) -> std::result::Result<(), String> {
    let tree = tree(text).map_err(|error| describe(&error))?;
    CodeGenerator::new(NAME, text).compile_stmt(&python::rewrite(&tree));
    Ok(())
}

/// The rendered text, or what went wrong.
pub(super) fn render(
    text: &str,
    context: Value,
    fuel: u64,
    marks: &Arc<Marks>,
) -> std::result::Result<String, String> {
    run(text, context, fuel, marks).map_err(|error| describe(&error))
}

fn tree(text: &str) -> std::result::Result<minijinja::machinery::ast::Stmt<'_>, Error> {
    syntax::tree(NAME, text, SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?)
}

fn run(text: &str, context: Value, fuel: u64, marks: &Arc<Marks>) -> std::result::Result<String, Error> {
    let tree = python::rewrite(&tree(text)?);
    let mut generator = CodeGenerator::new(NAME, text);
    generator.compile_stmt(&tree);
    let (instructions, blocks) = generator.finish();
    let instructions = bounds::checked(&instructions, marks.are_set());
    let blocks =
        blocks.iter().map(|(name, block)| (*name, bounds::checked(block, marks.are_set()))).collect();
    let environment = environment(fuel, marks);
    let mut rendered = String::new();
    eval(
        &environment,
        &instructions,
        context,
        &blocks,
        &mut make_string_output(&mut rendered),
        AutoEscape::None,
    )?;
    Ok(rendered)
}

fn environment(fuel: u64, marks: &Arc<Marks>) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_debug(false);
    environment.set_fuel(Some(fuel));
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    python::add_to(&mut environment, marks);
    bounds::add_to(&mut environment, marks);
    environment.add_function("raise_exception", |message: String| -> std::result::Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("range", range);
    environment
}

/// The error with its line and its causes.
fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    match text.char_indices().nth(MAX_ERROR_CHARS) {
        Some((end, _)) => text[..end].to_owned() + "…",
        None => text,
    }
}

/// Python's range, bounded.
fn range(first: i64, second: Option<i64>, step: Option<i64>) -> std::result::Result<Vec<i64>, Error> {
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

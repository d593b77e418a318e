//! Where jinja2 differs from the engine, because it is Python.
//!
//! A template is written for jinja2 as transformers sets it up. `text` makes the engine read the same template;
//! `rewrite` gives its operators and macros Python's meaning, by calls of functions that no template can name; `print`
//! and `json` write values as Python does; `strings`, `methods` and `filters` are the methods and filters of values; `date`
//! is the date. Texts may hold marks (`marks`), which all of these treat as the characters they stand for.

mod date;
mod filters;
mod json;
mod methods;
mod operators;
mod print;
mod rewrite;
mod strings;
mod text;
mod variadic;

use std::sync::Arc;

use minijinja::{AutoEscape, Environment, Error, State, Value};

pub(super) use self::{rewrite::rewrite, text::for_engine};
use super::{bounds, marks::Marks};

/// Gives an environment Python's values, operators, methods, filters and tests.
pub(super) fn add_to(environment: &mut Environment<'_>, marks: &Arc<Marks>) {
    let kept = marks.clone();
    environment.set_formatter(move |out, state, value| {
        bounds::charge_printed(state, value)?;
        if !matches!(state.auto_escape(), AutoEscape::None) {
            return minijinja::escape_formatter(out, state, value);
        }
        match value.as_str() {
            Some(text) => out.write_str(text)?,
            None => out.write_str(&print::str(value, &kept))?,
        }
        Ok(())
    });
    filters::add_to(environment, marks);
    for name in ["\u{1}==", "\u{1}!=", "\u{1}<", "\u{1}<=", "\u{1}>", "\u{1}>=", "\u{1}in", "\u{1}not in"] {
        let kept = marks.clone();
        environment.add_function(name, move |left: &Value, right: &Value| -> Result<bool, Error> {
            operators::compare(&name[1..], left, right, &kept)
        });
    }
    let kept = marks.clone();
    environment.add_function("\u{1}%", move |state: &State<'_, '_>, left: &Value, right: &Value| {
        kept.aside([left, right].into_iter(), |shown| {
            let [left, right] = shown else { return Ok(Value::UNDEFINED) };
            if let Some(text) = left.as_str() {
                bounds::charge_format(state, text, std::slice::from_ref(right))?;
            }
            operators::remainder(left, right, &kept)
        })
    });
    let kept = marks.clone();
    environment.add_function("\u{1}~", move |state: &State<'_, '_>, left: &Value, right: &Value| {
        operators::concatenate(state, left, right, &kept)
    });
    environment.add_function("\u{1}variadic", variadic::variadic);
    let kept = marks.clone();
    environment.set_unknown_method_callback(move |state, value, name, arguments| {
        methods::call(state, &kept, value, name, arguments)
    });
}

//! Filters, tests and functions that differ from the engine's.

use std::sync::Arc;

use minijinja::{
    Environment, Error, State, Value,
    formatting::FormatStyle,
    value::{Kwargs, Rest, ValueKind, ValueOrKwargs},
};

use super::{
    date, json,
    operators::{printed, type_error, type_name},
    print, strings,
};
use crate::chat::{
    bounds::{self, BYTES_PER_FUEL},
    marks::Marks,
};

pub(super) fn add_to(environment: &mut Environment<'_>, marks: &Arc<Marks>) {
    let kept = marks.clone();
    environment.add_filter(
        "tojson",
        move |state: &State<'_, '_>, value: &Value, rest: Rest<Value>, keywords: Kwargs| {
            json::to_json(state, &kept, value, &rest, &keywords)
        },
    );
    let kept = marks.clone();
    let as_text = move |value: Value| match value.as_str() {
        Some(_) => value,
        None => Value::from(print::str(&value, &kept)),
    };
    environment.add_filter("string", as_text.clone());
    environment.add_function("\u{1}str", as_text);
    let kept = marks.clone();
    environment.add_filter(
        "join",
        move |state: &State<'_, '_>,
              value: &Value,
              separator: Option<Value>,
              attribute: Option<Value>,
              keywords: Kwargs| {
            let separator = match separator {
                Some(separator) => Some(separator),
                None => keywords.get::<Option<Value>>("d")?,
            };
            let attribute = match attribute {
                Some(attribute) => Some(attribute),
                None => keywords.get::<Option<Value>>("attribute")?,
            };
            keywords.assert_all_used()?;
            join(state, &kept, value, separator, attribute)
        },
    );
    let kept = marks.clone();
    environment.add_filter(
        "format",
        move |state: &mut State<'_, '_>, value: &Value, arguments: Rest<ValueOrKwargs>| {
            format(state, value, arguments, &kept)
        },
    );
    environment.add_filter("title", title);
    environment.add_filter("capitalize", strings::capitalize);
    environment.add_filter("trim", |state: &State<'_, '_>, text: &str, characters: Option<&str>| {
        strings::strip(state, text, characters, true, true)
    });
    for name in ["e", "escape"] {
        environment.add_filter(name, escape);
    }
    environment.add_filter("forceescape", |state: &State<'_, '_>, text: &str| entities(state, text));
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    for name in ["default", "d"] {
        environment.add_filter(name, default);
    }
    environment.add_filter("list", |state: &State<'_, '_>, value: &Value| -> Result<Value, Error> {
        if value.is_none() {
            return Err(type_error("'NoneType' object is not iterable".into()));
        }
        minijinja::filters::list(state, value.clone())
    });
    environment.add_filter("wordcount", |text: &str| {
        text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).count()
    });
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Bytes)
            || value.kind() == ValueKind::Map
                && value.as_object().is_some_and(|map| map.enumerator_len().is_some())
    });
    environment.add_test("iterable", |value: &Value| {
        !value.is_none()
            && !value.is_number()
            && value.kind() != ValueKind::Bool
            && (value.is_undefined() || value.try_iter().is_ok())
    });
    environment
        .add_test("number", |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool));
    environment.add_test("callable", |value: &Value| value.kind() == ValueKind::Plain);
    environment.add_function("strftime_now", |format: &str| date::strftime_now(format));
    // It prints as Rust does, not as Python.
    environment.remove_filter("pprint");
}

/// Words begin after white space, hyphens and opening brackets, as jinja2 has it.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut begins = true;
    for c in text.chars() {
        if begins {
            out.extend(c.to_uppercase())
        } else {
            out.extend(c.to_lowercase())
        }
        begins = strings::is_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<');
    }
    out
}

/// Characters with a meaning in HTML as entities, in markupsafe's spelling.
fn escape(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    if value.is_safe() {
        return Ok(value.clone());
    }
    entities(state, value.as_str().unwrap_or_default())
}

fn entities(state: &State<'_, '_>, text: &str) -> Result<Value, Error> {
    state.consume_fuel(text.len() as u64 * 5 / BYTES_PER_FUEL)?;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        }
    }
    Ok(Value::from_safe_string(out))
}

/// `int(value, default=0, base=10)`: what is no number is `default`.
fn int(value: &Value, default: Option<Value>, base: Option<u32>, keywords: Kwargs) -> Result<Value, Error> {
    let default = default.or(keywords.get("default")?).unwrap_or_else(|| Value::from(0));
    let base = base.or(keywords.get("base")?).unwrap_or(10);
    keywords.assert_all_used()?;
    let number = match value.as_str() {
        Some(text) => integer(text, base).map(Value::from).or_else(|| truncated(number(text)?)),
        None if value.kind() == ValueKind::Bool => Some(Value::from(i64::from(value.is_true()))),
        None if value.is_integer() => Some(value.clone()),
        None => f64::try_from(value.clone()).ok().and_then(truncated),
    };
    Ok(number.unwrap_or(default))
}

/// `float(value, default=0.0)`.
fn float(value: &Value, default: Option<Value>, keywords: Kwargs) -> Result<Value, Error> {
    let default = default.or(keywords.get("default")?).unwrap_or_else(|| Value::from(0.0));
    keywords.assert_all_used()?;
    let number = match value.as_str() {
        Some(text) => number(text),
        None if value.kind() == ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        None => f64::try_from(value.clone()).ok(),
    };
    Ok(number.map_or(default, Value::from))
}

/// `default(value, default_value='', boolean=False)`.
fn default(
    value: Value,
    other: Option<Value>,
    boolean: Option<bool>,
    keywords: Kwargs,
) -> Result<Value, Error> {
    let other = other.or(keywords.get("default_value")?).unwrap_or_else(|| Value::from(""));
    let boolean = boolean.or(keywords.get("boolean")?).unwrap_or(false);
    keywords.assert_all_used()?;
    Ok(if value.is_undefined() || boolean && !value.is_true() { other } else { value })
}

/// What Python's `int(text, base)` reads.
fn integer(text: &str, base: u32) -> Option<i64> {
    let text = text.trim_matches(strings::is_space);
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixed =
        [("0x", 16), ("0o", 8), ("0b", 2)].into_iter().find(|(prefix, _)| lower.starts_with(prefix));
    let (digits, base) = match (prefixed, base) {
        (Some((prefix, of_prefix)), base) if base == of_prefix || base == 0 => {
            (&digits[prefix.len()..], of_prefix)
        }
        (None, 0) => (digits, 10),
        (_, 2..=36) => (digits, base),
        _ => return None,
    };
    let is_digit_first = digits.chars().next().is_some_and(|c| c.is_digit(base));
    i64::from_str_radix(&digits.replace('_', ""), base)
        .ok()
        .filter(|_| is_digit_first)
        .map(|number| sign * number)
}

/// What Python's `float(text)` reads.
fn number(text: &str) -> Option<f64> {
    text.trim_matches(strings::is_space).replace('_', "").parse().ok()
}

fn truncated(number: f64) -> Option<Value> {
    let whole = number.trunc();
    // Within these every whole number fits.
    (whole.abs() < 2f64.powi(63)).then(|| Value::from(whole as i64))
}

fn join(
    state: &State<'_, '_>,
    marks: &Marks,
    value: &Value,
    separator: Option<Value>,
    attribute: Option<Value>,
) -> Result<Value, Error> {
    if value.is_undefined() {
        return Ok(Value::from(""));
    }
    if matches!(value.kind(), ValueKind::None | ValueKind::Bool | ValueKind::Number) {
        return Err(type_error(format!("'{}' object is not iterable", type_name(value))));
    }
    let separator = separator.map_or_else(String::new, |separator| print::str(&separator, marks));
    let mut out = String::new();
    for (index, item) in value.try_iter()?.enumerate() {
        if index > 0 {
            out.push_str(&separator);
        }
        let item = match attribute.as_ref().map(|attribute| (attribute, attribute.as_str())) {
            None => item,
            Some((_, Some(path))) => {
                path.split('.').try_fold(item, |item, part| match part.parse::<usize>() {
                    Ok(index) => item.get_item_by_index(index),
                    Err(_) => item.get_attr(part),
                })?
            }
            Some((attribute, None)) => item.get_item(attribute)?,
        };
        let before = out.len();
        print::write_str(&mut out, &item, marks);
        state.consume_fuel((separator.len() + out.len() - before) as u64 / BYTES_PER_FUEL)?;
    }
    Ok(Value::from(out))
}

/// Python's `%` by the filter's name. The arguments are what Python would print.
fn format(
    state: &mut State<'_, '_>,
    value: &Value,
    arguments: Rest<ValueOrKwargs>,
    marks: &Marks,
) -> Result<Value, Error> {
    let printed = |argument: Value| if argument.is_kwargs() { argument } else { printed(argument, marks) };
    let arguments: Vec<Value> = arguments.into_values().into_iter().map(printed).collect();
    let text = value.as_str().unwrap_or_default();
    bounds::charge_format(state, text, &arguments)?;
    minijinja::formatting::format(FormatStyle::Printf, text, &arguments).map(Value::from)
}

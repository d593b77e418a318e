//! Filters and methods whose output can be much larger than their input: the output is charged for first.

use std::sync::Arc;

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, State, Value,
    value::{Kwargs, Rest, StringInput, ValueOrKwargs, from_args},
};

use super::{BYTES_PER_FUEL, program, size};
use crate::chat::marks::Marks;

/// Adds the checks, and the bounded form of each filter that needs one.
pub(in crate::chat) fn add_to(environment: &mut Environment<'_>, marks: &Arc<Marks>) {
    program::add_checks(environment, marks);
    environment.remove_global("debug");
    environment.add_filter("indent", indent);
    environment.add_filter("split", split);
    environment.add_filter("lines", lines);
    environment.add_filter("sort", sort);
    environment.add_filter("sum", sum);
}

/// Charges for what is about to be printed.
pub(in crate::chat) fn charge_printed(state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.as_object().is_some() {
        size::charge(state, value, size::Charge::Printed)?;
    } else if !matches!(state.auto_escape(), AutoEscape::None) {
        // `"` is written as `&#34;`, or longer.
        charge_bytes(state, value.as_bytes().map_or(0, |bytes| bytes.len().saturating_mul(6)))?;
    }
    Ok(())
}

fn charge_bytes(state: &State<'_, '_>, bytes: usize) -> Result<(), Error> {
    state.consume_fuel(bytes as u64 / BYTES_PER_FUEL)
}

/// `count` values of a list.
fn charge_values(state: &State<'_, '_>, count: usize) -> Result<(), Error> {
    state.consume_fuel(count as u64 / 2)
}

/// The width is the template's to say, and is written once for each line, or not at all.
fn indent(state: &State<'_, '_>, arguments: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let arguments = arguments.into_values();
    type Arguments<'a> = (StringInput<'a>, Option<usize>, Option<bool>, Option<bool>, Kwargs);
    let (value, width, first, blank, keywords): Arguments<'_> = from_args(&arguments)?;
    let width = match width {
        Some(width) => width,
        None => keywords.get::<Option<usize>>("width")?.unwrap_or(4),
    };
    let lines = value.as_str().bytes().filter(|byte| *byte == b'\n').count() + 1;
    charge_bytes(state, width.saturating_mul(lines))?;
    minijinja::filters::indent(value, Some(width), first, blank, keywords)
}

/// A list's slot takes 24 bytes, a separator perhaps one.
fn charge_parts<T>(state: &State<'_, '_>, parts: impl Iterator<Item = T>) -> Result<(), Error> {
    let (_, fuel) = state.fuel_levels().unwrap_or((0, u64::MAX));
    let most = usize::try_from(fuel.saturating_mul(2)).unwrap_or(usize::MAX);
    charge_values(state, parts.take(most.saturating_add(2)).count())
}

fn charge_split(state: &State<'_, '_>, text: &str, separator: Option<&str>) -> Result<(), Error> {
    match separator {
        Some(separator) => charge_parts(state, text.matches(separator)),
        None => charge_parts(state, text.split_whitespace()),
    }
}

fn split(
    state: &State<'_, '_>,
    value: &Value,
    separator: Option<std::sync::Arc<str>>,
    most: Option<i64>,
) -> Result<Value, Error> {
    charge_split(state, value.as_str().unwrap_or_default(), separator.as_deref())?;
    minijinja::filters::split(value, separator, most)
}

fn lines(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    charge_parts(state, value.as_str().unwrap_or_default().lines())?;
    minijinja::filters::lines(value)
}

/// Each value gets a key of as many parts as the attribute has.
fn sort(state: &State<'_, '_>, value: Value, keywords: Kwargs) -> Result<Value, Error> {
    let parts = match keywords.get::<Option<&str>>("attribute") {
        Ok(Some(attribute)) => attribute.matches(',').count() + 1,
        _ => 1,
    };
    charge_values(state, value.len().unwrap_or(0).saturating_mul(parts))?;
    minijinja::filters::sort(state, value, keywords)
}

/// Lists are joined two by two, so that the first is copied again and again.
fn sum(
    state: &State<'_, '_>,
    value: Value,
    attribute: Option<&str>,
    start: Option<Value>,
    keywords: Kwargs,
) -> Result<Value, Error> {
    let start = match start {
        Some(start) => Some(start),
        None => keywords.get::<Option<Value>>("start")?,
    };
    if start.as_ref().is_some_and(|start| !start.is_number()) {
        let values = value.len().unwrap_or(0);
        charge_values(state, values.saturating_mul(values) / 8)?;
    }
    minijinja::filters::sum(state, value, attribute, start, keywords)
}

/// Widths are numbers in the format, and are filled by way of several copies; each field may name the longest argument.
pub(in crate::chat) fn charge_format(
    state: &State<'_, '_>,
    format: &str,
    arguments: &[Value],
) -> Result<(), Error> {
    let numbers = format.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let widths = numbers.map(|digits| digits.parse().unwrap_or(usize::MAX)).fold(0, usize::saturating_add);
    charge_bytes(state, widths.saturating_mul(6))?;
    let fields = format.bytes().filter(|byte| matches!(byte, b'{' | b'%')).count() as u64;
    let before = state.fuel_levels().map_or(0, |(used, _)| used);
    arguments.iter().try_for_each(|argument| size::charge(state, argument, size::Charge::Printed))?;
    let once = state.fuel_levels().map_or(0, |(used, _)| used).saturating_sub(before);
    if fields > 1 {
        state.consume_fuel(once.saturating_mul(fields - 1))?;
    }
    let limit = 1 << 20;
    if fields > limit {
        return Err(Error::new(ErrorKind::InvalidOperation, format!("a format of more than {limit} fields")));
    }
    Ok(())
}

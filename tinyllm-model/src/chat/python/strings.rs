//! The methods of Python's `str`.

use std::sync::OnceLock;

use minijinja::{
    Error, ErrorKind, State, Value,
    formatting::{FormatStyle, format},
    value::{Kwargs, Tuple, from_args},
};
use regex::Regex;

use super::{
    operators::{type_error, type_name},
    print,
};
use crate::chat::bounds::{self, BYTES_PER_FUEL};

/// Calls a method of `text`. Marks are neither in the text nor in the arguments.
pub(super) fn method(
    state: &State<'_, '_>,
    text: &str,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    let no_more = || from_args::<()>(arguments);
    let all = |holds: fn(char) -> bool| {
        no_more().map(|()| Value::from(!text.is_empty() && text.chars().all(holds)))
    };
    Ok(match name {
        "upper" => no_more().map(|()| Value::from(text.to_uppercase()))?,
        "lower" => no_more().map(|()| Value::from(text.to_lowercase()))?,
        "casefold" => no_more().map(|()| Value::from(text.to_lowercase().replace('ß', "ss")))?,
        "title" => no_more().map(|()| Value::from(title(text)))?,
        "capitalize" => no_more().map(|()| Value::from(capitalize(text)))?,
        "swapcase" => no_more().map(|()| Value::from(swap_case(text)))?,
        "isalnum" => return all(char::is_alphanumeric),
        "isalpha" => return all(char::is_alphabetic),
        "isascii" => no_more().map(|()| Value::from(text.is_ascii()))?,
        "isdecimal" => return all(is_decimal),
        "isdigit" => {
            return all(|c| is_decimal(c) || matches!(c, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹' | '₀'..='₉'));
        }
        "isnumeric" => return all(char::is_numeric),
        "isspace" => return all(is_space),
        "isprintable" => no_more().map(|()| Value::from(text.chars().all(print::is_printable)))?,
        "isidentifier" => no_more().map(|()| Value::from(is_identifier(text)))?,
        "islower" => no_more().map(|()| {
            Value::from(text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase))
        })?,
        "isupper" => no_more().map(|()| {
            Value::from(text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase))
        })?,
        "istitle" => {
            no_more().map(|()| Value::from(text.chars().any(char::is_alphabetic) && title(text) == text))?
        }
        "strip" | "lstrip" | "rstrip" => {
            let (characters,): (Option<&str>,) = from_args(arguments)?;
            strip(state, text, characters, name != "rstrip", name != "lstrip")?
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(arguments)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(arguments)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "startswith" | "endswith" => {
            let (affixes, start, end): (&Value, Option<i64>, Option<i64>) = from_args(arguments)?;
            let part = between(text, start, end);
            let has = |affix: &Value| match (part, affix.as_str()) {
                (Some((_, part)), Some(affix)) if name == "startswith" => Ok(part.starts_with(affix)),
                (Some((_, part)), Some(affix)) => Ok(part.ends_with(affix)),
                (None, Some(_)) => Ok(false),
                (_, None) => Err(type_error(format!(
                    "{name} first arg must be str or a tuple of str, not {}",
                    type_name(affix)
                ))),
            };
            if affixes.is_tuple() {
                let found: Vec<bool> =
                    affixes.try_iter()?.map(|affix| has(&affix)).collect::<Result<_, _>>()?;
                Value::from(found.contains(&true))
            } else {
                Value::from(has(affixes)?)
            }
        }
        "find" | "rfind" | "index" | "rindex" => {
            let (needle, start, end): (&str, Option<i64>, Option<i64>) = from_args(arguments)?;
            let found = between(text, start, end).and_then(|(first, part)| {
                let at = if name.starts_with('r') { part.rfind(needle) } else { part.find(needle) }?;
                Some(first + part[..at].chars().count())
            });
            match found {
                Some(at) => Value::from(at),
                None if name.ends_with("find") => Value::from(-1),
                None => return Err(type_error("substring not found".into())),
            }
        }
        "count" => {
            let (needle, start, end): (&str, Option<i64>, Option<i64>) = from_args(arguments)?;
            Value::from(between(text, start, end).map_or(0, |(_, part)| part.matches(needle).count()))
        }
        "replace" => {
            let (old, new, most, keywords): (&str, &str, Option<i64>, Kwargs) = from_args(arguments)?;
            let most = most.or(keywords.get("count")?).and_then(|most| usize::try_from(most).ok());
            keywords.assert_all_used()?;
            let count = text.matches(old).count().min(most.unwrap_or(usize::MAX));
            charge(state, count.saturating_mul(new.len()))?;
            Value::from(text.replacen(old, new, count))
        }
        "split" | "rsplit" => {
            let (separator, most, keywords): (Option<&str>, Option<i64>, Kwargs) = from_args(arguments)?;
            let separator = match separator {
                Some(separator) => Some(separator.to_owned()),
                None => keywords.get::<Option<String>>("sep")?,
            };
            let most = most.or(keywords.get("maxsplit")?).and_then(|most| usize::try_from(most).ok());
            keywords.assert_all_used()?;
            split(state, text, separator.as_deref(), most, name == "rsplit")?
        }
        "splitlines" => {
            let (keep, keywords): (Option<bool>, Kwargs) = from_args(arguments)?;
            let keep = keep.or(keywords.get("keepends")?).unwrap_or(false);
            keywords.assert_all_used()?;
            split_lines(state, text, keep)?
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(arguments)?;
            if separator.is_empty() {
                return Err(type_error("empty separator".into()));
            }
            let at = if name == "partition" { text.find(separator) } else { text.rfind(separator) };
            let parts = match at {
                Some(at) => [&text[..at], separator, &text[at + separator.len()..]],
                None if name == "partition" => [text, "", ""],
                None => ["", "", text],
            };
            Value::from(Tuple::from(parts.map(Value::from).to_vec()))
        }
        "join" => {
            let (items,): (&Value,) = from_args(arguments)?;
            join(state, text, items)?
        }
        "zfill" => {
            let (width,): (i64,) = from_args(arguments)?;
            let missing = missing(state, text, width, '0')?;
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
            Value::from(format!("{sign}{}{digits}", "0".repeat(missing)))
        }
        "ljust" | "rjust" | "center" => {
            let (width, fill): (i64, Option<char>) = from_args(arguments)?;
            let fill = fill.unwrap_or(' ');
            let missing = missing(state, text, width, fill)?;
            let before = match name {
                "ljust" => 0,
                "rjust" => missing,
                // As Python rounds it.
                _ => missing / 2 + (missing & usize::try_from(width).unwrap_or(0) & 1),
            };
            let fill = |count: usize| String::from_iter(std::iter::repeat_n(fill, count));
            Value::from(fill(before) + text + &fill(missing - before))
        }
        "expandtabs" => {
            let (width, keywords): (Option<usize>, Kwargs) = from_args(arguments)?;
            let width = width.or(keywords.get("tabsize")?).unwrap_or(8);
            keywords.assert_all_used()?;
            charge(state, text.matches('\t').count().saturating_mul(width))?;
            Value::from(expand_tabs(text, width))
        }
        "format" => {
            bounds::charge_format(state, text, arguments)?;
            Value::from(format(FormatStyle::StrFormat, text, arguments)?)
        }
        _ => return Err(Error::from(ErrorKind::UnknownMethod)),
    })
}

fn charge(state: &State<'_, '_>, bytes: usize) -> Result<(), Error> {
    state.consume_fuel(bytes as u64 / BYTES_PER_FUEL)
}

/// What Python's `str.isspace` and `str.strip` take for white space.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// A decimal digit of any script: what is a number and has a value from 0 to 9 in a run of ten.
fn is_decimal(c: char) -> bool {
    c.is_ascii_digit() || !c.is_ascii() && c.is_numeric() && is_decimal_beyond_ascii(c)
}

fn is_decimal_beyond_ascii(c: char) -> bool {
    static DECIMAL: OnceLock<Option<Regex>> = OnceLock::new();
    let decimal = DECIMAL.get_or_init(|| Regex::new(r"\A\p{Nd}\z").ok());
    decimal.as_ref().is_some_and(|decimal| decimal.is_match(c.encode_utf8(&mut [0; 4])))
}

fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c == '_' || c.is_alphabetic())
        && chars.all(|c| c == '_' || c.is_alphanumeric())
}

pub(super) fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_word = false;
    for c in text.chars() {
        let cased = c.is_lowercase() || c.is_uppercase();
        match (cased, in_word) {
            (true, false) => out.extend(c.to_uppercase()),
            (true, true) => out.extend(c.to_lowercase()),
            (false, _) => out.push(c),
        }
        in_word = cased;
    }
    out
}

pub(super) fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    first + &chars.as_str().to_lowercase()
}

fn swap_case(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_uppercase() { out.extend(c.to_lowercase()) } else { out.extend(c.to_uppercase()) }
    }
    out
}

/// The characters from `start` to `end`, which count from the end where they are negative, and how many come before.
/// `None` where `start` lies beyond the end.
fn between(text: &str, start: Option<i64>, end: Option<i64>) -> Option<(usize, &str)> {
    if start.is_none() && end.is_none() {
        return Some((0, text));
    }
    let length = text.chars().count();
    let place = |index: Option<i64>, default: usize| match index {
        None => default,
        Some(index) if index < 0 => {
            length.saturating_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX))
        }
        Some(index) => usize::try_from(index).unwrap_or(usize::MAX),
    };
    let (start, end) = (place(start, 0), place(end, length).min(length));
    if start > end {
        return None;
    }
    let byte = |index: usize| text.char_indices().nth(index).map_or(text.len(), |(at, _)| at);
    Some((start, &text[byte(start)..byte(end)]))
}

/// Characters that `text` lacks to be `width` long, charged for.
fn missing(state: &State<'_, '_>, text: &str, width: i64, fill: char) -> Result<usize, Error> {
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count());
    charge(state, missing.saturating_mul(fill.len_utf8()))?;
    Ok(missing)
}

pub(super) fn strip(
    state: &State<'_, '_>,
    text: &str,
    characters: Option<&str>,
    left: bool,
    right: bool,
) -> Result<Value, Error> {
    let characters: Option<Vec<char>> = match characters {
        None => None,
        Some(characters) => {
            // Each character may be compared with all that are stripped.
            charge(state, text.len().saturating_mul(characters.len().saturating_sub(8)))?;
            Some(characters.chars().collect())
        }
    };
    let is_stripped =
        |c: char| characters.as_ref().map_or_else(|| is_space(c), |characters| characters.contains(&c));
    let text = if left { text.trim_start_matches(is_stripped) } else { text };
    Ok(Value::from(if right { text.trim_end_matches(is_stripped) } else { text }))
}

/// A list's slot takes 24 bytes, a separator perhaps one.
fn list<'a>(state: &State<'_, '_>, parts: impl Iterator<Item = &'a str>) -> Result<Vec<Value>, Error> {
    let mut list = Vec::new();
    for part in parts {
        if list.len() % 2 == 1 {
            state.consume_fuel(1)?;
        }
        list.push(Value::from(part));
    }
    Ok(list)
}

fn split(
    state: &State<'_, '_>,
    text: &str,
    separator: Option<&str>,
    most: Option<usize>,
    from_right: bool,
) -> Result<Value, Error> {
    let most = most.map_or(usize::MAX, |most| most.saturating_add(1));
    let parts = match (separator, from_right) {
        (Some(""), _) => return Err(type_error("empty separator".into())),
        (Some(separator), false) => list(state, text.splitn(most, separator))?,
        (Some(separator), true) => {
            let mut parts = list(state, text.rsplitn(most, separator))?;
            parts.reverse();
            parts
        }
        (None, false) => list(state, words(text, most))?,
        (None, true) => {
            let mut parts = list(state, words_from_right(text, most))?;
            parts.reverse();
            parts
        }
    };
    Ok(Value::from(parts))
}

/// Words between white space; the last of `most` is all that is left.
fn words(text: &str, most: usize) -> impl Iterator<Item = &str> {
    let mut rest = text.trim_start_matches(is_space);
    (1..=most).map_while(move |index| {
        if rest.is_empty() {
            return None;
        }
        let end = if index == most { rest.len() } else { rest.find(is_space).unwrap_or(rest.len()) };
        let word = &rest[..end];
        rest = rest[end..].trim_start_matches(is_space);
        // What is left keeps its white space, but not that at the end.
        Some(if index == most { word.trim_end_matches(is_space) } else { word })
    })
}

fn words_from_right(text: &str, most: usize) -> impl Iterator<Item = &str> {
    let mut rest = text.trim_end_matches(is_space);
    (1..=most).map_while(move |index| {
        if rest.is_empty() {
            return None;
        }
        let last_space = rest.char_indices().rev().find(|(_, c)| is_space(*c));
        let start = match last_space {
            Some((at, c)) if index < most => at + c.len_utf8(),
            _ => 0,
        };
        let word = &rest[start..];
        rest = rest[..start].trim_end_matches(is_space);
        Some(if index == most { word.trim_start_matches(is_space) } else { word })
    })
}

fn split_lines(state: &State<'_, '_>, text: &str, keep: bool) -> Result<Value, Error> {
    let is_end =
        |c: char| matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut rest = text;
    let lines = std::iter::from_fn(|| {
        if rest.is_empty() {
            return None;
        }
        let (end, next) = match rest.char_indices().find(|(_, c)| is_end(*c)) {
            Some((at, '\r')) if rest[at..].starts_with("\r\n") => (at, at + 2),
            Some((at, c)) => (at, at + c.len_utf8()),
            None => (rest.len(), rest.len()),
        };
        let line = &rest[..if keep { next } else { end }];
        rest = &rest[next..];
        Some(line)
    });
    Ok(Value::from(list(state, lines)?))
}

fn join(state: &State<'_, '_>, separator: &str, items: &Value) -> Result<Value, Error> {
    let mut out = String::new();
    for (index, item) in items.try_iter()?.enumerate() {
        let Some(text) = item.as_str() else {
            let kind = type_name(&item);
            return Err(type_error(format!("sequence item {index}: expected str instance, {kind} found")));
        };
        let separator = if index > 0 { separator } else { "" };
        charge(state, separator.len() + text.len())?;
        out.push_str(separator);
        out.push_str(text);
    }
    Ok(Value::from(out))
}

fn expand_tabs(text: &str, width: usize) -> String {
    let (mut out, mut column) = (String::new(), 0);
    for c in text.chars() {
        match c {
            '\t' if width > 0 => {
                let spaces = width - column % width;
                out.extend(std::iter::repeat_n(' ', spaces));
                column += spaces;
            }
            '\t' => (),
            c => {
                out.push(c);
                column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
            }
        }
    }
    out
}

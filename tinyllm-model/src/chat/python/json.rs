//! `tojson` as transformers has it: `json.dumps` with Python's arguments, numbers and order, and nothing escaped for HTML.

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Kwargs, ValueKind},
};

use super::print;
use crate::chat::marks::Marks;

/// How `json.dumps` is asked to write.
struct Style {
    ensure_ascii: bool,
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

/// `tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
pub(super) fn to_json(
    state: &State<'_, '_>,
    marks: &Marks,
    value: &Value,
    positional: &[Value],
    keywords: &Kwargs,
) -> Result<Value, Error> {
    if positional.len() > 4 {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    let argument = |at: usize, name: &str| -> Result<Option<Value>, Error> {
        let named: Option<Value> = keywords.get(name)?;
        Ok(positional.get(at).cloned().or(named).filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let indent = argument(1, "indent")?.map(|indent| indentation(&indent)).transpose()?.flatten();
    let separators = match argument(2, "separators")? {
        None => None,
        Some(pair) => {
            let pair: Vec<Value> = pair.try_iter()?.collect();
            match pair.as_slice() {
                [item, key] if item.as_str().is_some() && key.as_str().is_some() => {
                    Some((print::str(item, marks), print::str(key, marks)))
                }
                _ => return Err(refuse("tojson: separators are two texts")),
            }
        }
    };
    let default = (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned());
    let (item_separator, key_separator) = separators.unwrap_or(default);
    let style = Style {
        ensure_ascii: argument(0, "ensure_ascii")?.is_some_and(|value| value.is_true()),
        indent,
        item_separator,
        key_separator,
        sort_keys: argument(3, "sort_keys")?.is_some_and(|value| value.is_true()),
    };
    keywords.assert_all_used()?;
    // Escapes and indentation can make much of what was charged for little.
    let (_, fuel) = state.fuel_levels().unwrap_or((0, u64::MAX));
    let limit = usize::try_from(fuel.saturating_mul(64)).unwrap_or(usize::MAX);
    let mut writer = Writer { out: String::new(), limit, style, marks };
    writer.value(value, 1)?;
    Ok(Value::from(writer.out))
}

/// Spaces, or a text; none for 0 levels of nothing.
fn indentation(indent: &Value) -> Result<Option<String>, Error> {
    if let Some(text) = indent.as_str() {
        return Ok(Some(text.to_owned()));
    }
    let width = i64::try_from(indent.clone()).map_err(|_| refuse("tojson: indent is a number or a text"))?;
    match usize::try_from(width.max(0)) {
        Ok(width) if width <= 1000 => Ok(Some(" ".repeat(width))),
        _ => Err(refuse("tojson: an indent of more than 1000 spaces")),
    }
}

fn refuse(problem: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadSerialization, problem.into())
}

struct Writer<'a> {
    out: String,
    limit: usize,
    style: Style,
    marks: &'a Marks,
}

impl Writer<'_> {
    fn check(&self) -> Result<(), Error> {
        if self.out.len() > self.limit {
            return Err(refuse("longer than the fuel that is left pays for"));
        }
        Ok(())
    }

    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.number(value),
            ValueKind::String => self.text(value.as_str().unwrap_or_default())?,
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                if items.is_empty() {
                    self.out.push_str("[]");
                    return Ok(());
                }
                self.out.push('[');
                for (index, item) in items.iter().enumerate() {
                    self.separate(index, depth)?;
                    self.value(item, depth + 1)?;
                }
                self.line(depth - 1);
                self.out.push(']');
            }
            ValueKind::Map if value.as_object().is_some_and(|map| map.enumerator_len().is_some()) => {
                let pairs = value.as_object().and_then(|map| map.try_iter_pairs());
                let mut pairs = pairs
                    .into_iter()
                    .flatten()
                    .map(|(key, item)| Ok((self.key(&key)?, item)))
                    .collect::<Result<Vec<(String, Value)>, Error>>()?;
                if self.style.sort_keys {
                    pairs.sort_by(|a, b| self.marks.true_text(&a.0).cmp(&self.marks.true_text(&b.0)));
                }
                if pairs.is_empty() {
                    self.out.push_str("{}");
                    return Ok(());
                }
                self.out.push('{');
                for (index, (key, item)) in pairs.iter().enumerate() {
                    self.separate(index, depth)?;
                    self.text(key)?;
                    self.out.push_str(&self.style.key_separator);
                    self.value(item, depth + 1)?;
                }
                self.line(depth - 1);
                self.out.push('}');
            }
            _ => {
                let what =
                    if value.is_undefined() { "Undefined".to_owned() } else { value.kind().to_string() };
                return Err(refuse(format!("Object of type {what} is not JSON serializable")));
            }
        }
        self.check()
    }

    fn separate(&mut self, index: usize, depth: usize) -> Result<(), Error> {
        if index > 0 {
            self.out.push_str(&self.style.item_separator);
        }
        self.line(depth);
        self.check()
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = &self.style.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(indent.as_str(), depth));
        }
    }

    fn number(&mut self, value: &Value) {
        match f64::try_from(value.clone()) {
            Ok(number) if number.is_nan() => self.out.push_str("NaN"),
            Ok(number) if number.is_infinite() => {
                self.out.push_str(if number > 0.0 { "Infinity" } else { "-Infinity" });
            }
            _ => print::write_number(&mut self.out, value),
        }
    }

    fn key(&self, key: &Value) -> Result<String, Error> {
        Ok(match key.kind() {
            ValueKind::String => key.as_str().unwrap_or_default().to_owned(),
            ValueKind::None => "null".into(),
            ValueKind::Bool => if key.is_true() { "true" } else { "false" }.into(),
            ValueKind::Number => print::str(key, self.marks),
            kind => return Err(refuse(format!("keys must be str, int, float, bool or None, not {kind}"))),
        })
    }

    fn text(&mut self, text: &str) -> Result<(), Error> {
        self.out.push('"');
        for c in text.chars() {
            match self.marks.true_char(c) {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                shown if shown < ' ' => self.out.push_str(&format!("\\u{:04x}", u32::from(shown))),
                shown if self.style.ensure_ascii && shown > '~' => {
                    for unit in shown.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                _ => self.out.push(c),
            }
            if self.out.len() > self.limit {
                break;
            }
        }
        self.out.push('"');
        self.check()
    }
}

//! Typed access to the keys of a JSON object, with errors that name the file and the key.
//!
//! Bounded reading of small files is here too. The meaning of keys belongs to the reader of each format.

use std::path::Path;

use serde_json::{Map, Value};
use tinyllm_mem::FileBytes;

use crate::{ModelError, Result};

/// A JSON object of a file, and where in the file it is.
#[derive(Clone)]
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: &'a Path,
    prefix: String,
}

impl<'a> Fields<'a> {
    /// The object at the top of the file.
    pub(crate) fn top(value: &'a Value, path: &'a Path) -> Result<Self> {
        let object = value.as_object().ok_or_else(|| {
            ModelError::malformed(path, "top level", format!("must be a JSON object, is {}", kind(value)))
        })?;
        Ok(Fields { object, path, prefix: String::new() })
    }

    /// The key's full name: `rope_scaling.factor`.
    pub(crate) fn full_name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The value of a key; null counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// Whether the key is there, null or not.
    pub(crate) fn has_key(&self, key: &str) -> bool {
        self.object.contains_key(key)
    }

    /// The object's keys and values, in file order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        self.object.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// A string.
    pub(crate) fn string(&self, key: &str) -> Result<Option<&'a str>> {
        self.typed(key, "a string", Value::as_str)
    }

    /// A boolean.
    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// A finite number.
    pub(crate) fn float(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a finite number", |value| value.as_f64().filter(|number| number.is_finite()))
    }

    /// A count: an integer that is not negative.
    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a non-negative integer", as_size)
    }

    /// A count that has no default.
    pub(crate) fn required_size(&self, key: &str) -> Result<usize> {
        self.size(key)?.ok_or_else(|| self.malformed(key, "missing; it has no default"))
    }

    /// An array of strings.
    pub(crate) fn strings(&self, key: &str) -> Result<Option<Vec<&'a str>>> {
        self.typed(key, "an array of strings", |value| {
            value.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<_>>>()
        })
    }

    /// An object inside this one.
    pub(crate) fn object(&self, key: &str) -> Result<Option<Fields<'a>>> {
        let object = self.typed(key, "a JSON object", Value::as_object)?;
        Ok(object.map(|object| Fields {
            object,
            path: self.path,
            prefix: format!("{}.", self.full_name(key)),
        }))
    }

    /// An error about a key.
    pub(crate) fn malformed(&self, key: &str, problem: impl Into<String>) -> ModelError {
        ModelError::malformed(self.path, self.full_name(key), problem)
    }

    /// A refusal of a key's value.
    pub(crate) fn unsupported(
        &self,
        key: &str,
        what: impl Into<String>,
        supported: impl Into<String>,
    ) -> ModelError {
        ModelError::unsupported(self.path, self.full_name(key), what, supported)
    }

    fn typed<T>(
        &self,
        key: &str,
        wanted: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match convert(value) {
            Some(converted) => Ok(Some(converted)),
            None => Err(self.malformed(key, format!("must be {wanted}, is {}", shown(value)))),
        }
    }
}

/// An integer that fits a `usize`.
pub(crate) fn as_size(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok())
}

/// Whether a value is null, or an array or object that holds nothing at any depth.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().all(is_empty),
        Value::Object(object) => object.values().all(is_empty),
        _ => false,
    }
}

/// A value for a message: scalars in full (cut where long), the rest by kind.
pub(crate) fn shown(value: &Value) -> String {
    const LONGEST_CHARS: usize = 60;
    match value {
        Value::Array(_) | Value::Object(_) => kind(value).to_owned(),
        scalar => {
            let text = scalar.to_string();
            match text.char_indices().nth(LONGEST_CHARS) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Reads a regular file of at most `most_bytes`.
///
/// # Errors
/// Where it is not a regular file, cannot be read, or is longer.
pub(crate) fn read_bounded(path: &Path, most_bytes: u64) -> Result<Vec<u8>> {
    Ok(FileBytes::read(path, most_bytes)?.into_vec())
}

//! Typed access to a file's metadata. A value of the wrong type is an error that names the key; an absent one is `None`.

use std::{collections::HashMap, ops::Range, path::Path};

use super::{
    cursor::shown,
    value::{Array, Strings, Value, ValueType},
};
use crate::{ModelError, Result};

/// Where a value lies in the file.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) value_type: ValueType,
    /// Type and number of an array's elements.
    pub(super) elements: Option<(ValueType, usize)>,
    /// The value's own bytes: text without its length, elements without their type and count.
    pub(super) bytes: Range<usize>,
}

/// Keys in file order, and where their values lie.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    pub(super) keys: Vec<String>,
    pub(super) by_key: HashMap<String, Entry>,
}

/// A GGUF's metadata: a view that borrows the open file.
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a> {
    pub(super) path: &'a Path,
    /// The file's beginning, to the end of the header at least.
    pub(super) header: &'a [u8],
    pub(super) entries: &'a Entries,
}

impl<'a> Metadata<'a> {
    /// The file, for messages.
    pub fn path(&self) -> &'a Path {
        self.path
    }

    /// The keys, in file order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        self.entries.keys.iter().map(String::as_str)
    }

    /// Whether the key is there.
    pub fn contains(&self, key: &str) -> bool {
        self.entries.by_key.contains_key(key)
    }

    /// The value of a key, whatever its type.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        let entry = self.entries.by_key.get(key)?;
        let bytes = self.header.get(entry.bytes.clone())?;
        match (entry.value_type, entry.elements) {
            (ValueType::Array, Some((element, len))) => Some(Value::Array(Array { element, len, bytes })),
            (ValueType::String, _) => std::str::from_utf8(bytes).ok().map(Value::String),
            (number, _) => number.decode(bytes),
        }
    }

    /// Text.
    ///
    /// # Errors
    /// Where the value is of another type.
    pub fn string(&self, key: &str) -> Result<Option<&'a str>> {
        self.typed(key, "a string", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
    }

    /// An integer of any width that fits u32.
    ///
    /// # Errors
    /// Where the value is of another type or does not fit.
    pub fn u32(&self, key: &str) -> Result<Option<u32>> {
        self.typed(key, "an integer from 0 to 4294967295", |value| match value {
            Value::Integer(number) => u32::try_from(number).ok(),
            _ => None,
        })
    }

    /// A float of either width, rounded to f32.
    ///
    /// # Errors
    /// Where the value is of another type.
    pub fn f32(&self, key: &str) -> Result<Option<f32>> {
        self.typed(key, "a float", |value| match value {
            Value::Float(number) => Some(number as f32),
            _ => None,
        })
    }

    /// A boolean.
    ///
    /// # Errors
    /// Where the value is of another type.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "a boolean", |value| match value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        })
    }

    /// An array of strings. An empty array of any type will do.
    ///
    /// # Errors
    /// Where the value is of another type.
    pub fn strings(&self, key: &str) -> Result<Option<Strings<'a>>> {
        self.typed(key, "an array of strings", |value| match value {
            Value::Array(array) if array.element == ValueType::String || array.is_empty() => {
                Some(array.strings())
            }
            _ => None,
        })
    }

    /// An array of floats of either width, rounded to f32. An empty array of any type will do.
    ///
    /// # Errors
    /// Where the value is of another type.
    pub fn f32s(&self, key: &str) -> Result<Option<impl ExactSizeIterator<Item = f32> + Clone + use<'a>>> {
        let array = self.typed(key, "an array of floats", |value| match value {
            Value::Array(array)
                if matches!(array.element, ValueType::F32 | ValueType::F64) || array.is_empty() =>
            {
                Some(array)
            }
            _ => None,
        })?;
        Ok(array.map(|array| {
            array.numbers().map(|number| match number {
                Value::Float(number) => number as f32,
                _ => 0.0,
            })
        }))
    }

    /// An array of integers of any width that all fit i32. An empty array of any type will do.
    ///
    /// # Errors
    /// Where the value is of another type or an element does not fit.
    pub fn i32s(&self, key: &str) -> Result<Option<impl ExactSizeIterator<Item = i32> + Clone + use<'a>>> {
        fn as_i32(value: Value<'_>) -> Option<i32> {
            match value {
                Value::Integer(number) => i32::try_from(number).ok(),
                _ => None,
            }
        }
        let array = self.typed(key, "an array of integers that fit 32 bits", |value| match value {
            Value::Array(array) if array.is_empty() => Some(array),
            Value::Array(array) if array.element != ValueType::String => {
                array.numbers().all(|number| as_i32(number).is_some()).then_some(array)
            }
            _ => None,
        })?;
        Ok(array.map(|array| array.numbers().map(|number| as_i32(number).unwrap_or(0))))
    }

    /// The error for a key that has to be there.
    pub fn missing(&self, key: &str) -> ModelError {
        self.malformed(key, "is missing from the metadata")
    }

    /// An error about this key.
    pub fn malformed(&self, key: &str, problem: impl Into<String>) -> ModelError {
        ModelError::malformed(self.path, shown(key), problem)
    }

    fn typed<T>(
        &self,
        key: &str,
        wanted: &str,
        convert: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match convert(value) {
            Some(value) => Ok(Some(value)),
            None => Err(self.malformed(key, format!("is {}, and must be {wanted}", describe(value)))),
        }
    }
}

/// A value as messages show it.
fn describe(value: Value<'_>) -> String {
    match value {
        Value::Integer(number) => format!("the integer {number}"),
        Value::Float(number) => format!("the float {number}"),
        Value::Bool(flag) => format!("the boolean {flag}"),
        Value::String(text) => format!("the string \"{}\"", shown(text)),
        Value::Array(array) => format!("an array of {} {}", array.len, array.element.name()),
    }
}

//! Methods of texts, lists and maps: what templates call as in Python.

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Tuple, ValueKind, from_args},
};

use super::{
    operators::{equal, type_error, type_name},
    strings,
};
use crate::chat::marks::Marks;

/// A method that the engine does not know.
pub(super) fn call(
    state: &State<'_, '_>,
    marks: &Marks,
    value: &Value,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    match value.kind() {
        // Joining leaves texts as they are.
        ValueKind::String if name == "join" => {
            strings::method(state, value.as_str().unwrap_or_default(), name, arguments)
        }
        ValueKind::String => marks.aside([value].into_iter().chain(arguments), |shown| {
            let (text, arguments) = shown.split_first().ok_or(ErrorKind::UnknownMethod)?;
            strings::method(state, text.as_str().unwrap_or_default(), name, arguments)
        }),
        ValueKind::Map => of_map(marks, value, name, arguments),
        ValueKind::Seq => of_list(marks, value, name, arguments),
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

fn of_map(marks: &Marks, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    let Some(map) = value.as_object() else { return Err(Error::from(ErrorKind::UnknownMethod)) };
    let pairs = || map.try_iter_pairs().into_iter().flatten();
    Ok(match name {
        "keys" => from_args(arguments).map(|()| pairs().map(|(key, _)| key).collect())?,
        "values" => from_args(arguments).map(|()| pairs().map(|(_, item)| item).collect())?,
        "items" => from_args(arguments)
            .map(|()| pairs().map(|(key, item)| Value::from(Tuple::from(vec![key, item]))).collect())?,
        "copy" => from_args(arguments).map(|()| Value::from_pairs(pairs()))?,
        "get" => {
            let (key, default): (&Value, Option<Value>) = from_args(arguments)?;
            let shown = marks.true_value(key);
            match map.get_value(shown.as_ref().unwrap_or(key)) {
                Some(item) => item,
                None => default.unwrap_or_else(|| Value::from(())),
            }
        }
        _ => return Err(Error::from(ErrorKind::UnknownMethod)),
    })
}

fn of_list(marks: &Marks, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    let shown = marks.true_value(value);
    let items = || shown.as_ref().unwrap_or(value).try_iter();
    Ok(match name {
        "copy" => from_args(arguments).map(|()| value.clone())?,
        "count" | "index" => {
            let (needle,): (&Value,) = from_args(arguments)?;
            let shown = marks.true_value(needle);
            let needle = shown.as_ref().unwrap_or(needle);
            if name == "count" {
                Value::from(items()?.filter(|item| equal(item, needle)).count())
            } else {
                let found = items()?.position(|item| equal(&item, needle));
                Value::from(found.ok_or_else(|| type_error(format!("value is not in {}", type_name(value))))?)
            }
        }
        _ => return Err(Error::from(ErrorKind::UnknownMethod)),
    })
}

//! Operators where Python's differ from the engine's: comparisons, `in`, `%` and `~`.

use std::cmp::Ordering;

use minijinja::{
    Error, ErrorKind, State, Value,
    formatting::{FormatStyle, format},
    value::ValueKind,
};

use super::print;
use crate::chat::{bounds::BYTES_PER_FUEL, marks::Marks};

/// What a value's type is called in Python.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "Undefined",
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Bytes => "bytes",
        ValueKind::Seq if value.is_tuple() => "tuple",
        ValueKind::Seq => "list",
        ValueKind::Map => "dict",
        ValueKind::Iterable => "generator",
        _ => "object",
    }
}

pub(super) fn type_error(problem: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem)
}

/// A number, where a boolean is one too.
#[derive(Clone, Copy)]
enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    fn of(value: &Value) -> Option<Self> {
        match value.kind() {
            ValueKind::Bool => Some(Number::Integer(value.is_true().into())),
            ValueKind::Number => match i128::try_from(value.clone()) {
                Ok(number) if value.is_integer() => Some(Number::Integer(number)),
                _ => f64::try_from(value.clone()).ok().map(Number::Float),
            },
            _ => None,
        }
    }

    fn as_float(self) -> f64 {
        match self {
            Number::Integer(number) => number as f64,
            Number::Float(number) => number,
        }
    }

    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Number::Integer(left), Number::Integer(right)) => Some(left.cmp(&right)),
            _ => self.as_float().partial_cmp(&other.as_float()),
        }
    }
}

/// `left == right`.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    if let (Some(left), Some(right)) = (Number::of(left), Number::of(right)) {
        return left.compare(right) == Some(Ordering::Equal);
    }
    match (left.kind(), right.kind()) {
        (ValueKind::Seq, ValueKind::Seq) => {
            let (Ok(mut left_items), Ok(mut right_items)) = (left.try_iter(), right.try_iter()) else {
                return false;
            };
            left.is_tuple() == right.is_tuple()
                && left.len() == right.len()
                && left_items.by_ref().zip(right_items.by_ref()).all(|(left, right)| equal(&left, &right))
        }
        (ValueKind::Map, ValueKind::Map) => {
            let (Some(left), Some(right)) = (left.as_object(), right.as_object()) else { return false };
            left.enumerator_len() == right.enumerator_len()
                && left
                    .try_iter_pairs()
                    .into_iter()
                    .flatten()
                    .all(|(key, item)| right.get_value(&key).is_some_and(|other| equal(&item, &other)))
        }
        _ => left == right,
    }
}

/// `left < right` and its kin; `None` where they have no order (a NaN).
fn order(left: &Value, right: &Value, sign: &str) -> Result<Option<Ordering>, Error> {
    if let (Some(left), Some(right)) = (Number::of(left), Number::of(right)) {
        return Ok(left.compare(right));
    }
    if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
        return Ok(Some(left.cmp(right)));
    }
    if left.kind() == ValueKind::Seq && right.kind() == ValueKind::Seq && left.is_tuple() == right.is_tuple()
    {
        for (left, right) in left.try_iter()?.zip(right.try_iter()?) {
            if !equal(&left, &right) {
                return order(&left, &right, sign);
            }
        }
        return Ok(Some(left.len().cmp(&right.len())));
    }
    let (left, right) = (type_name(left), type_name(right));
    Err(type_error(format!("'{sign}' not supported between instances of '{left}' and '{right}'")))
}

/// `needle in container`.
pub(super) fn contains(needle: &Value, container: &Value) -> Result<bool, Error> {
    match container.kind() {
        ValueKind::Undefined => Ok(false),
        ValueKind::String => match (needle.as_str(), container.as_str()) {
            (Some(needle), Some(text)) => Ok(text.contains(needle)),
            _ => Err(type_error(format!(
                "'in <string>' requires string as left operand, not {}",
                type_name(needle)
            ))),
        },
        ValueKind::Seq | ValueKind::Iterable => Ok(container.try_iter()?.any(|item| equal(&item, needle))),
        ValueKind::Map => Ok(container.as_object().is_some_and(|map| map.get_value(needle).is_some())),
        ValueKind::Plain => {
            Ok(container.try_iter().is_ok_and(|mut items| items.any(|item| equal(&item, needle))))
        }
        _ => Err(type_error(format!("argument of type '{}' is not iterable", type_name(container)))),
    }
}

/// A comparison by its sign.
pub(super) fn compare(sign: &str, left: &Value, right: &Value, marks: &Marks) -> Result<bool, Error> {
    let (true_left, true_right) = (marks.true_value(left), marks.true_value(right));
    let (left, right) = (true_left.as_ref().unwrap_or(left), true_right.as_ref().unwrap_or(right));
    Ok(match sign {
        "==" => equal(left, right),
        "!=" => !equal(left, right),
        "in" => contains(left, right)?,
        "not in" => !contains(left, right)?,
        _ => {
            let order = order(left, right, sign)?;
            match sign {
                "<" => order.is_some_and(Ordering::is_lt),
                "<=" => order.is_some_and(Ordering::is_le),
                ">" => order.is_some_and(Ordering::is_gt),
                _ => order.is_some_and(Ordering::is_ge),
            }
        }
    })
}

/// `left % right`: a text with its fields filled, or the remainder with the divisor's sign.
pub(super) fn remainder(left: &Value, right: &Value, marks: &Marks) -> Result<Value, Error> {
    if let Some(text) = left.as_str() {
        return printf(text, right, marks);
    }
    let (Some(a), Some(b)) = (Number::of(left), Number::of(right)) else {
        let (left, right) = (type_name(left), type_name(right));
        return Err(type_error(format!("unsupported operand type(s) for %: '{left}' and '{right}'")));
    };
    match (a, b) {
        (Number::Integer(_), Number::Integer(0)) => Err(type_error("integer modulo by zero".into())),
        (Number::Integer(a), Number::Integer(b)) => {
            let rest = a.checked_rem(b).unwrap_or(0);
            Ok(Value::from(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }))
        }
        _ => {
            let (a, b) = (a.as_float(), b.as_float());
            if b == 0.0 {
                return Err(type_error("float modulo".into()));
            }
            let rest = a % b;
            Ok(Value::from(if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }))
        }
    }
}

/// `text % arguments`. Marks are not kept within fields that a width fills or a conversion changes.
fn printf(text: &str, arguments: &Value, marks: &Marks) -> Result<Value, Error> {
    let arguments: Vec<Value> = match arguments.kind() {
        ValueKind::Seq if arguments.is_tuple() => arguments.try_iter()?.collect(),
        _ => vec![arguments.clone()],
    };
    let arguments: Vec<Value> = arguments.into_iter().map(|argument| printed(argument, marks)).collect();
    format(FormatStyle::Printf, text, &arguments).map(Value::from)
}

/// What `%s` prints as itself; numbers, texts and maps of names are left to the engine.
pub(super) fn printed(argument: Value, marks: &Marks) -> Value {
    match argument.kind() {
        ValueKind::Number | ValueKind::String | ValueKind::Map => argument,
        _ => Value::from(print::str(&argument, marks)),
    }
}

/// `left ~ right`.
pub(super) fn concatenate(
    state: &State<'_, '_>,
    left: &Value,
    right: &Value,
    marks: &Marks,
) -> Result<Value, Error> {
    let mut text = print::str(left, marks);
    print::write_str(&mut text, right, marks);
    state.consume_fuel(text.len() as u64 / BYTES_PER_FUEL)?;
    Ok(Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(sign: &str, left: impl Into<Value>, right: impl Into<Value>) -> Result<bool, Error> {
        compare(sign, &left.into(), &right.into(), &Marks::default())
    }

    /// From Python 3.13.
    #[test]
    fn comparisons() {
        assert!(
            sign("==", 1, true).unwrap() && sign("==", 1, 1.0).unwrap() && sign("<", false, 0.5).unwrap()
        );
        assert!(sign("==", (), ()).unwrap() && sign("!=", (), 0).unwrap() && sign("!=", "1", 1).unwrap());
        assert!(sign("<", "Z", "a").unwrap() && sign("<", vec![1, 2], vec![1, 2, 0]).unwrap());
        assert!(sign("==", vec![1, 0], vec![true, false]).unwrap());
        assert!(!sign("<", f64::NAN, 1).unwrap() && !sign(">=", f64::NAN, 1).unwrap());
        assert!(sign("in", "b", "abc").unwrap() && sign("in", 1.0, vec![0, 1]).unwrap());
        assert!(sign("not in", "x", Value::UNDEFINED).unwrap());
        let problem = |result: Result<bool, Error>| result.unwrap_err().to_string();
        assert!(
            problem(sign("<", (), 1)).contains("'<' not supported between instances of 'NoneType' and 'int'")
        );
        assert!(
            problem(sign(">=", "1", 1)).contains("'>=' not supported between instances of 'str' and 'int'")
        );
        assert!(problem(sign("in", 1, "1")).contains("requires string as left operand, not int"));
        assert!(problem(sign("in", 1, ())).contains("argument of type 'NoneType' is not iterable"));
    }

    /// From Python 3.13.
    #[test]
    fn remainders() {
        let rest = |left: Value, right: Value| {
            remainder(&left, &right, &Marks::default()).map(|value| value.to_string())
        };
        for (left, right, expected) in
            [(7, 3, "1"), (-7, 3, "2"), (7, -3, "-2"), (-7, -3, "-1"), (6, -3, "0")]
        {
            assert_eq!(rest(left.into(), right.into()).unwrap(), expected);
        }
        assert_eq!(rest(Value::from(-7.5), Value::from(2)).unwrap(), "0.5");
        assert!(rest(1.into(), 0.into()).is_err() && rest(().into(), 1.into()).is_err());
        let two = Value::from(minijinja::value::Tuple::from(vec![Value::from("a"), Value::from(3)]));
        assert_eq!(rest("%s-%02d%%".into(), two).unwrap(), "a-03%");
        assert_eq!(rest("%s".into(), Value::from(())).unwrap(), "None");
        assert!(rest("%s %s".into(), "x".into()).is_err());
    }
}

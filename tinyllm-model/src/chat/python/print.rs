//! `str(value)` and `repr(value)` of Python.

use std::sync::OnceLock;

use minijinja::{Value, value::ValueKind};
use regex::Regex;

use crate::chat::marks::Marks;

/// Appends `str(value)`.
pub(super) fn write_str(out: &mut String, value: &Value, marks: &Marks) {
    match value.as_str() {
        Some(text) => out.push_str(text),
        None if value.is_undefined() => (),
        None => write_repr(out, value, marks),
    }
}

/// `str(value)`.
pub(super) fn str(value: &Value, marks: &Marks) -> String {
    let mut out = String::new();
    write_str(&mut out, value, marks);
    out
}

/// Appends `repr(value)`.
pub(super) fn write_repr(out: &mut String, value: &Value, marks: &Marks) {
    match value.kind() {
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => write_number(out, value),
        ValueKind::String => write_text(out, value.as_str().unwrap_or_default(), marks),
        ValueKind::Seq | ValueKind::Iterable => {
            let (open, close) = if value.is_tuple() { ('(', ')') } else { ('[', ']') };
            out.push(open);
            let mut count = 0;
            for item in value.try_iter().into_iter().flatten() {
                out.push_str(if count > 0 { ", " } else { "" });
                write_repr(out, &item, marks);
                count += 1;
            }
            if value.is_tuple() && count == 1 {
                out.push(',');
            }
            out.push(close);
        }
        ValueKind::Map if value.as_object().is_some_and(|map| map.enumerator_len().is_some()) => {
            out.push('{');
            let pairs = value.as_object().and_then(|map| map.try_iter_pairs());
            for (index, (key, item)) in pairs.into_iter().flatten().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_repr(out, &key, marks);
                out.push_str(": ");
                write_repr(out, &item, marks);
            }
            out.push('}');
        }
        // Namespaces, loops, macros, bytes: as the engine has them.
        _ => out.push_str(&value.to_string()),
    }
}

/// Appends a number: integers in full, floats as [`float`].
pub(super) fn write_number(out: &mut String, value: &Value) {
    match f64::try_from(value.clone()) {
        Ok(number) if !value.is_integer() => out.push_str(&float(number)),
        _ => out.push_str(&value.to_string()),
    }
}

/// `repr(number)` of a float: the shortest digits that give it back; an exponent below 1e-4 and from 1e16 on.
pub(super) fn float(number: f64) -> String {
    if !number.is_finite() {
        return if number.is_nan() {
            "nan".into()
        } else if number > 0.0 {
            "inf".into()
        } else {
            "-inf".into()
        };
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => {
            let plain = number.to_string();
            if plain.contains('.') { plain } else { plain + ".0" }
        }
    }
}

/// Appends a text in quotes: single ones, unless it has those and no double ones.
fn write_text(out: &mut String, text: &str, marks: &Marks) {
    let has = |quote: char| text.chars().any(|c| marks.true_char(c) == quote);
    let quote = if has('\'') && !has('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match marks.true_char(c) {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            shown if shown == quote => out.extend(['\\', quote]),
            shown if is_printable(shown) => out.push(c),
            shown => out.push_str(&match u32::from(shown) {
                code @ 0..0x100 => format!("\\x{code:02x}"),
                code @ 0x100..0x1_0000 => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
    }
    out.push(quote);
}

/// `str.isprintable` of Python: letters, marks, numbers, punctuation, symbols and the space.
pub(super) fn is_printable(c: char) -> bool {
    static PRINTABLE: OnceLock<Option<Regex>> = OnceLock::new();
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    let printable = PRINTABLE.get_or_init(|| Regex::new(r"\A[\p{L}\p{M}\p{N}\p{P}\p{S}]\z").ok());
    printable.as_ref().is_some_and(|printable| printable.is_match(c.encode_utf8(&mut [0; 4])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repr(value: &Value) -> String {
        let mut out = String::new();
        write_repr(&mut out, value, &Marks::default());
        out
    }

    /// From Python 3.13.
    #[test]
    fn floats() {
        for (number, expected) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (2.5e-7, "2.5e-07"),
            (0.1 + 0.2, "0.30000000000000004"),
            (5e-324, "5e-324"),
            (123_456_789.125, "123456789.125"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(float(number), expected);
        }
    }

    /// From Python 3.13.
    #[test]
    fn texts_and_what_holds_them() {
        for (text, expected) in [
            ("it's", "\"it's\""),
            ("it's \"so\"", "'it\\'s \"so\"'"),
            ("a\\b\n\t\r\0\u{7f}\u{a0}\u{ad}é\u{301}", "'a\\\\b\\n\\t\\r\\x00\\x7f\\xa0\\xadé\u{301}'"),
            ("\u{200b}\u{2028}\u{e000}\u{10ffff}🙂漢", "'\\u200b\\u2028\\ue000\\U0010ffff🙂漢'"),
        ] {
            assert_eq!(repr(&Value::from(text)), expected);
        }
        let value = serde_json::json!({"a": [1, 2.0, null, true, "b"], "c": {}});
        assert_eq!(
            repr(&Value::from(minijinja::value::Serde(value))),
            "{'a': [1, 2.0, None, True, 'b'], 'c': {}}"
        );
        let tuple = |items: Vec<Value>| Value::from(minijinja::value::Tuple::from(items));
        assert_eq!(repr(&tuple(vec![])), "()");
        assert_eq!(repr(&tuple(vec![Value::from(1)])), "(1,)");
        assert_eq!(repr(&tuple(vec![Value::from(1), Value::UNDEFINED])), "(1, Undefined)");
        assert_eq!(str(&Value::UNDEFINED, &Marks::default()), "");
        assert_eq!(str(&Value::from(()), &Marks::default()), "None");
    }
}

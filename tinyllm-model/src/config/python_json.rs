//! JSON as Python's `json` writes it: with NaN and Infinity as words.
//!
//! Configurations that transformers saves hold them (`"model_max_length": Infinity`). They are read as strings, so that
//! a field that is not read is skipped, and one that should be a number is refused by name.

use serde_json::{Result, Value};

const WORDS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];

/// Parses JSON, Python's words included.
///
/// # Errors
/// The parser's, of the bytes as they are.
pub(crate) fn parse(json: &[u8]) -> Result<Value> {
    serde_json::from_slice(json).or_else(|error| match quoted(json) {
        Some(quoted) => serde_json::from_slice(&quoted).map_err(|_| error),
        None => Err(error),
    })
}

/// The same with quotes around Python's words; `None` where there is none.
fn quoted(json: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut found, mut at) = (Vec::with_capacity(json.len() + 64), false, 0);
    let mut in_text = false;
    while let Some(byte) = json.get(at) {
        let word = WORDS.into_iter().find(|word| !in_text && json[at..].starts_with(word));
        if let Some(word) = word {
            found = true;
            out.push(b'"');
            out.extend_from_slice(word);
            out.push(b'"');
            at += word.len();
            continue;
        }
        out.push(*byte);
        at += 1;
        match byte {
            b'"' => in_text = !in_text,
            b'\\' if in_text => {
                out.extend(json.get(at));
                at += 1;
            }
            _ => (),
        }
    }
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_of_python_are_texts() {
        let read = parse(br#"{"a":NaN,"b":[-Infinity, Infinity,1],"c":"x\"NaN,Infinity","d":{"NaN":null}}"#);
        let expected = json!({"a": "NaN", "b": ["-Infinity", "Infinity", 1], "c": "x\"NaN,Infinity", "d": {"NaN": null}});
        assert_eq!(read.unwrap(), expected);
    }

    #[test]
    fn what_is_no_json_stays_an_error_where_it_is() {
        for (json, column) in [("{\"a\":NaN,}", 6), ("[NaN", 2), ("[1,]", 4), ("Na", 1), ("\"\\", 2)] {
            let error = parse(json.as_bytes()).unwrap_err();
            assert_eq!(error.column(), column, "{json}");
        }
        assert!(parse(b"NaNNaN").is_err());
    }
}

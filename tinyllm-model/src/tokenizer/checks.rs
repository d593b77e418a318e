//! Refuses what would make the library panic, abort or loop, before it parses a tokenizer.json. Remaining panics are
//! caught (`library_panics`).

use serde_json::Value;
use tokenizers::{PreTokenizerWrapper, models::bpe::Vocab};

type Outcome = Result<(), String>;

/// Normalisers, pre-tokenizers, decoders or post-processors in a row. Published files have at most ten.
pub(super) const MAX_STEPS: usize = 64;

/// Objects within objects.
const MAX_NESTING: usize = 24;

/// The longest text in a part of the pipeline: what replaces a pattern, say.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// All regular expressions of a part: compiling them takes time. Published ones are below 2 KB.
const MAX_REGEX_BYTES: usize = 4 << 10;

/// The longest Precompiled map, in base64; published ones are below 400 KB.
const MAX_CHARSMAP_BYTES: usize = 8 << 20;

/// The longest text that a Precompiled map puts for a character; Unicode's own longest has 33 bytes.
const MAX_MAPPED_BYTES: usize = 256;

/// The highest token id. Published vocabularies end below a million.
const MAX_ID: u64 = (1 << 24) - 1;

/// The longest token of a Unigram model, which keeps a tree as deep as that.
const MAX_PIECE_BYTES: usize = 1024;

/// All tokens of a Unigram model: its tree takes some two hundred bytes for each.
const MAX_PIECES_BYTES: usize = 16 << 20;

/// The longest word, in characters, that a WordPiece model is asked to take apart: the work grows with its cube.
const MAX_WORD_CHARS: u64 = 1000;

/// The longest prefix or suffix of subwords.
const MAX_AFFIX_BYTES: usize = 256;

/// Tokens that a post-processor adds.
const MAX_ADDED_TOKENS: usize = 1024;

/// A part of the pipeline as it is written, before it is read.
pub(super) fn written(part: &Value) -> Outcome {
    let regexes = nested(part, MAX_NESTING)?;
    if regexes > MAX_REGEX_BYTES {
        return Err(format!("regular expressions of {regexes} bytes, at most {MAX_REGEX_BYTES} are read"));
    }
    Ok(())
}

/// How many bytes of regular expressions there are.
fn nested(value: &Value, depth: usize) -> Result<usize, String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(format!("objects nested more than {MAX_NESTING} deep"));
    };
    match value {
        Value::Array(items) => items.iter().map(|item| nested(item, depth)).sum(),
        Value::Object(map) => map
            .iter()
            .map(|(key, item)| match (key.as_str(), item) {
                ("precompiled_charsmap", Value::String(map)) => charsmap(map).map(|()| 0),
                ("precompiled_charsmap", _) => Err("precompiled_charsmap is text in base64".into()),
                ("Regex", Value::String(regex)) => Ok(regex.len()),
                _ => nested(item, depth),
            })
            .sum(),
        Value::String(text) if text.len() > MAX_TEXT_BYTES => {
            Err(format!("a text of {} bytes, at most {MAX_TEXT_BYTES} are read", text.len()))
        }
        _ => Ok(0),
    }
}

/// A Precompiled map: the length of a table of 32-bit numbers, the table, then texts that end in zero bytes.
fn charsmap(base64: &str) -> Outcome {
    let fail = |problem: &str| Err(format!("precompiled_charsmap {problem}"));
    if base64.len() > MAX_CHARSMAP_BYTES {
        return fail("is longer than 8 MiB");
    }
    let Some(bytes) = from_base64(base64) else { return fail("is not base64") };
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return fail("is shorter than its own length");
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length == 0 || !length.is_multiple_of(4) || length > rest.len() {
        return fail(&format!("says that its table has {length} bytes of {}", rest.len()));
    }
    let texts = &rest[length..];
    if std::str::from_utf8(texts).is_err() {
        return fail("has texts that are not UTF-8");
    }
    if texts.split(|byte| *byte == 0).any(|text| text.len() > MAX_MAPPED_BYTES) {
        return fail(&format!("puts more than {MAX_MAPPED_BYTES} bytes for a character"));
    }
    Ok(())
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').bytes().map(|byte| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    });
    let digits: Vec<u8> = digits.collect::<Option<_>>()?;
    let bytes = digits.chunks(4).flat_map(|chunk| {
        let bits =
            chunk.iter().fold(0u32, |bits, digit| bits << 6 | u32::from(*digit)) << (6 * (4 - chunk.len()));
        bits.to_be_bytes().into_iter().skip(1).take(chunk.len() - 1)
    });
    Some(bytes.collect())
}

/// A pre-tokenizer. Each ByteLevel may double the text.
pub(super) fn pre_tokenizer(whole: &PreTokenizerWrapper) -> Outcome {
    let (mut steps, mut byte_levels) = (0, 0);
    let mut rest = vec![whole];
    while let Some(step) = rest.pop() {
        steps += 1;
        match step {
            PreTokenizerWrapper::Sequence(sequence) => rest.extend(sequence.as_ref()),
            PreTokenizerWrapper::FixedLength(fixed) if fixed.length == 0 => {
                return Err("FixedLength: length is 0; pieces have at least 1 character".into());
            }
            PreTokenizerWrapper::ByteLevel(_) => byte_levels += 1,
            _ => (),
        }
        if steps > MAX_STEPS || byte_levels > 3 {
            return Err(format!("more than {MAX_STEPS} steps, or more than 3 of ByteLevel"));
        }
    }
    Ok(())
}

/// A post-processor, as the library writes it. A TemplateProcessing must name special tokens that it has.
pub(super) fn post_processor(whole: &Value) -> Outcome {
    let (mut steps, mut added) = (0, 0);
    let mut rest = vec![whole];
    while let Some(step) = rest.pop() {
        steps += 1;
        if let Some(processors) = step["processors"].as_array() {
            rest.extend(processors);
        }
        if let Some(single) = step["single"].as_array() {
            added += template(single, &step["special_tokens"])?;
        }
        if steps > MAX_STEPS || added > MAX_ADDED_TOKENS {
            return Err(format!("more than {MAX_STEPS} steps, or more than {MAX_ADDED_TOKENS} added tokens"));
        }
    }
    Ok(())
}

/// The tokens that a template adds.
fn template(single: &[Value], special_tokens: &Value) -> Result<usize, String> {
    let (mut texts, mut added) = (0, 0);
    for piece in single {
        if let Some(id) = piece["Sequence"]["id"].as_str() {
            texts += 1;
            if id != "A" || texts > 1 {
                return Err(format!(
                    "TemplateProcessing: single is for one text, A, and has {id} as text {texts}"
                ));
            }
        } else if let Some(id) = piece["SpecialToken"]["id"].as_str() {
            let count = |field: &str| special_tokens[id][field].as_array().map(Vec::len);
            let (Some(ids), Some(tokens)) = (count("ids"), count("tokens")) else {
                return Err(format!("TemplateProcessing: the special token {id:?} is not in special_tokens"));
            };
            if ids != tokens {
                return Err(format!("TemplateProcessing: {id:?} has {ids} ids for {tokens} tokens"));
            }
            added += ids;
        }
    }
    Ok(added)
}

/// The ids of a vocabulary.
pub(super) fn ids(vocabulary: &Vocab) -> Outcome {
    vocabulary.iter().try_for_each(|(token, id)| id_of(token, u64::from(*id)))
}

fn id_of(token: &str, id: u64) -> Outcome {
    if id <= MAX_ID { Ok(()) } else { Err(format!("the id {id} of {token:.40?} is above {MAX_ID}")) }
}

/// A prefix or suffix of subwords.
pub(super) fn affix(name: &str, text: &str) -> Outcome {
    let bytes = text.len();
    if bytes <= MAX_AFFIX_BYTES {
        Ok(())
    } else {
        Err(format!("{name} has {bytes} bytes, at most {MAX_AFFIX_BYTES} are read"))
    }
}

/// A model that is not BPE, as it is written.
pub(super) fn model(model: &Value) -> Outcome {
    for name in ["continuing_subword_prefix", "end_of_word_suffix"] {
        affix(name, model[name].as_str().unwrap_or_default())?;
    }
    if model["max_input_chars_per_word"].as_u64().is_some_and(|most| most > MAX_WORD_CHARS) {
        return Err(format!("max_input_chars_per_word is above {MAX_WORD_CHARS}"));
    }
    match &model["vocab"] {
        Value::Object(vocabulary) => {
            vocabulary.iter().try_for_each(|(token, id)| id_of(token, id.as_u64().unwrap_or(0)))
        }
        Value::Array(pieces) => {
            let lengths = || pieces.iter().map(|piece| piece[0].as_str().unwrap_or_default().len());
            if lengths().any(|bytes| bytes > MAX_PIECE_BYTES) {
                return Err(format!("a token has more than {MAX_PIECE_BYTES} bytes"));
            }
            if lengths().sum::<usize>() > MAX_PIECES_BYTES {
                return Err(format!("the tokens have more than {MAX_PIECES_BYTES} bytes"));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn base64_is_read_as_it_is_written() {
        // RFC 4648, 10.
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmE=", "fooba")]
        {
            assert_eq!(from_base64(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(from_base64("Zg\n"), None);
    }

    #[test]
    fn maps_that_lie_about_their_table_are_refused() {
        let map = |text: &str| written(&json!({"type": "Precompiled", "precompiled_charsmap": text}));
        // No table, one of 4,294,967,295 bytes, one of 2 GiB, one of 4 bytes that are not there, a length of 3.
        for wrong in ["", "/////w==", "AAAAgAAA", "BAAAAA==", "AwAAAEFCQw==", "????"] {
            assert!(map(wrong).is_err(), "{wrong}");
        }
        // A table of 4 bytes, then "a\0".
        assert_eq!(map("BAAAAAAAAABhAA=="), Ok(()));
        assert!(written(&json!([{"precompiled_charsmap": 7}])).is_err());
    }

    #[test]
    fn what_is_deep_or_long_is_refused() {
        let deep = (0..30).fold(json!({}), |inner, _| json!({"type": "Sequence", "normalizers": [inner]}));
        assert!(written(&deep).is_err());
        assert!(written(&json!({"pattern": {"Regex": "a".repeat(70_000)}})).is_err());
        assert!(model(&json!({"type": "Unigram", "vocab": [["a".repeat(2000), 0.0]]})).is_err());
        assert!(
            model(&json!({"type": "WordPiece", "max_input_chars_per_word": 1u64 << 40, "vocab": {}}))
                .is_err()
        );
        assert!(model(&json!({"type": "WordLevel", "vocab": {"a": u32::MAX}})).is_err());
    }
}

//! Encodes long text in chunks, because the library needs a hundred times a text's size while encoding. A text is cut
//! only where the tokens of its chunks are provably those of the whole; where that cannot be shown, it is encoded
//! whole.
//!
//! Why a cut changes nothing, for each part that a tokenizer may have (any other part forbids cuts):
//! - Added tokens: none of them is written across a cut or next to it, so each match, and the spaces it takes along, is
//!   inside a chunk.
//! - Normalisers: the characters on both sides of a cut are a letter and a space or a line's end, which NFC joins to
//!   nothing. `Prepend` puts at the beginning of a chunk what `Replace` makes of the one space that is left out there.
//! - Pre-tokenisers: none of the patterns that are known ([`BRANCHES`]) matches a letter and the white space after it, or
//!   a line's end and the letter after it, so that one match ends at the cut and another begins. What looks ahead,
//!   `\s+(?!\S)`, does so after white space, and there is none before a cut, or only one line's end, for which it and `\s+`
//!   give the same.
//!   `Metaspace` begins a pre-token with each space, and puts none before one.
//! - The model works on each pre-token alone. Where all text is one pre-token, a cut is before `▁`, and no token of the
//!   vocabulary has `▁` after another character: no merge reaches across, and merges on one side do not depend on the other.
//! - What post-processors add stands before and after the whole.

use serde_json::Value;
use tokenizers::{ModelWrapper, models::bpe::BPE};

use super::parts::Library;

/// How long chunks are, in bytes.
#[derive(Clone, Copy, Debug)]
struct Lengths {
    /// Text up to this is encoded whole.
    whole: usize,
    /// Chunks are cut at the first possible place after this many.
    shortest: usize,
    /// Without a place to cut within this many the text is encoded whole: the library stops splitting a run of
    /// characters that is too long for it, and would resume in the next chunk.
    longest: usize,
}

const LENGTHS: Lengths = Lengths { whole: 128 << 10, shortest: 64 << 10, longest: 256 << 10 };

const SPACE: char = '▁';

/// Branches of the patterns that published tokenizers split text by: of GPT-2, LLaMA 3, Qwen2 and those between, and of
/// llama.cpp's own.
const BRANCHES: [&str; 25] = [
    r"[\p{P}\$\+<=>\^~\|]+",
    "[0-9][0-9][0-9]",
    "'s",
    "'t",
    "'re",
    "'ve",
    "'m",
    "'ll",
    "'d",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    "'(?i:[sdmt]|ll|ve|re)",
    r" ?\p{L}+",
    r"\p{L}+",
    r"[^\r\n\p{L}\p{N}]?\p{L}+",
    r"[^\r\n\p{L}\p{N}]?+\p{L}+",
    r" ?\p{N}+",
    r"\p{N}",
    r"\p{N}+",
    r"\p{N}{1,3}",
    r" ?[^\s\p{L}\p{N}]+",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"\s*[\r\n]+",
    r"\s*[\r\n]",
    r"\s+(?!\S)",
    r"\s+",
];

/// The tokens of `text`.
pub(super) fn encode(tokenizer: &Library, text: &str, add_special: bool) -> tokenizers::Result<Vec<u32>> {
    encode_as(tokenizer, text, add_special, LENGTHS)
}

fn encode_as(
    tokenizer: &Library,
    text: &str,
    add_special: bool,
    lengths: Lengths,
) -> tokenizers::Result<Vec<u32>> {
    if text.len() > lengths.whole
        && let Some(chunks) = Seams::of(tokenizer).and_then(|seams| seams.chunks(text, lengths))
        && let Some((before, after)) = surroundings(tokenizer, add_special)?
    {
        let mut ids = before;
        for chunk in chunks {
            ids.extend_from_slice(tokenizer.encode_fast(chunk, false)?.get_ids());
        }
        ids.extend(after);
        return Ok(ids);
    }
    Ok(tokenizer.encode_fast(text, add_special)?.get_ids().to_vec())
}

/// What the post-processor puts before and after any text; `None` where it does something else.
fn surroundings(tokenizer: &Library, add_special: bool) -> tokenizers::Result<Option<(Vec<u32>, Vec<u32>)>> {
    const SAMPLE: &str = "a";
    if !add_special {
        return Ok(Some((Vec::new(), Vec::new())));
    }
    let plain = tokenizer.encode_fast(SAMPLE, false)?;
    let processed = tokenizer.encode(SAMPLE, true)?;
    let (ids, mask) = (processed.get_ids(), processed.get_special_tokens_mask());
    let before = mask.iter().take_while(|special| **special == 1).count();
    let end = before + plain.get_ids().len();
    let is_around = !plain.get_ids().is_empty()
        && ids.get(before..end) == Some(plain.get_ids())
        && mask[end..].iter().all(|special| *special == 1);
    Ok(is_around.then(|| (ids[..before].to_vec(), ids[end..].to_vec())))
}

/// Rules for where a tokenizer's text may be cut.
#[derive(Debug)]
struct Seams {
    /// Whether a chunk may begin with a line's end, or behind one.
    at_lines: bool,
    /// Whether the space at a cut is left out: the normaliser puts another there.
    without_space: bool,
    /// Whether a letter must follow a space.
    before_letters: bool,
    /// The added tokens, as they are written.
    added: Vec<String>,
}

impl Seams {
    /// `None` where the tokenizer has a part of which nothing is known.
    fn of(tokenizer: &Library) -> Option<Self> {
        let ModelWrapper::BPE(model) = tokenizer.get_model() else { return None };
        let is_random = model.dropout.is_some_and(|dropout| dropout != 0.0);
        if is_random {
            return None;
        }
        let tokens = tokenizer.get_added_tokens_decoder();
        // Those that are sought in normalised text are then written there as they are here.
        let is_plain = |text: &str| text.is_ascii() && !text.contains(|c: char| c.is_ascii_whitespace());
        if tokens.values().any(|token| token.normalized && !is_plain(&token.content)) {
            return None;
        }
        let added = tokens.into_values().map(|token| token.content).collect();
        let normalizers = parts(serde_json::to_value(tokenizer.get_normalizer()).ok()?, "normalizers");
        let pre_tokenizers =
            parts(serde_json::to_value(tokenizer.get_pre_tokenizer()).ok()?, "pretokenizers");
        let is_composed = normalizers.iter().all(|part| part["type"] == "NFC");
        if let (true, [part]) = (is_composed, pre_tokenizers.as_slice())
            && part["type"] == "Metaspace"
        {
            // A chunk that begins with a space gets no other, whatever the scheme.
            let is_split = part["split"] != false || has_no_token_across_spaces(tokenizer, model);
            let fits = part["replacement"] == "▁" && is_split;
            let seams = Seams { at_lines: false, without_space: false, before_letters: true, added };
            return fits.then_some(seams);
        }
        if is_composed && !pre_tokenizers.is_empty() {
            let at_lines = is_split_by_patterns(&pre_tokenizers)?;
            return Some(Seams { at_lines, without_space: false, before_letters: false, added });
        }
        let without_space = spaces_replaced(&normalizers)?;
        let is_one_word = pre_tokenizers.is_empty() && has_no_token_across_spaces(tokenizer, model);
        is_one_word.then_some(Seams { at_lines: false, without_space, before_letters: true, added })
    }

    /// The text's chunks; `None` where there is no cut for too long.
    fn chunks<'a>(&self, text: &'a str, lengths: Lengths) -> Option<Vec<&'a str>> {
        let (mut chunks, mut start) = (Vec::new(), 0);
        while text.len() - start > lengths.shortest {
            let from = text.ceil_char_boundary(start + lengths.shortest);
            let to = text.floor_char_boundary((start + lengths.longest).min(text.len())).max(from);
            let cut = text[from..to].char_indices().map(|(at, _)| from + at).find(|at| self.fits(text, *at));
            match cut {
                Some(cut) => {
                    chunks.push(&text[start..cut]);
                    start = cut + usize::from(self.without_space);
                }
                None if to == text.len() => break,
                None => return None,
            }
        }
        chunks.push(&text[start..]);
        Some(chunks)
    }

    /// Whether the text may be cut at a character, which then begins a chunk (or is left out).
    fn fits(&self, text: &str, at: usize) -> bool {
        let mut before = text[..at].chars().rev();
        let (last, next) = (before.next(), text[at..].chars().next());
        let fits = match (last, next) {
            (Some(letter), Some(' ')) if is_letter(letter) => {
                !self.before_letters || text[at + 1..].starts_with(is_letter)
            }
            (Some(letter), Some('\n')) => self.at_lines && is_letter(letter),
            (Some('\n'), Some(letter)) => {
                let is_single = before.next().is_some_and(|other| !other.is_whitespace());
                self.at_lines && is_letter(letter) && is_single
            }
            _ => false,
        };
        fits && !self.added.iter().any(|token| touches(text, at, token))
    }
}

/// Whether a token is written in `text` across or next to a cut, or next to the character behind it.
fn touches(text: &str, at: usize, token: &str) -> bool {
    let (text, token) = (text.as_bytes(), token.as_bytes());
    let first = at.saturating_sub(token.len());
    let last = (at + 1 + token.len()).min(text.len());
    !token.is_empty() && text[first..last].windows(token.len()).any(|window| window == token)
}

/// Letters of the commonest alphabets: in every pattern's `\p{L}`, and composed with nothing that follows at a cut.
fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic()
        || matches!(c, 'А'..='я' | 'ぁ'..='ゖ' | 'ァ'..='ヺ' | '\u{4e00}'..='\u{9fff}' | '가'..='힣')
}

/// The parts of a sequence, or the one part; none of null.
fn parts(value: Value, key: &str) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        mut sequence if sequence["type"] == "Sequence" => match sequence[key].take() {
            Value::Array(all) => all.into_iter().flat_map(|part| parts(part, key)).collect(),
            other => vec![other],
        },
        part => vec![part],
    }
}

/// Whether text is split by known patterns alone, before its bytes become other characters: whether that is so at the
/// ends of lines too. `None` where it is not.
fn is_split_by_patterns(parts: &[Value]) -> Option<bool> {
    let (mut is_split, mut is_bytes, mut at_lines) = (false, false, true);
    for part in parts {
        match part["type"].as_str()? {
            // A digit is none of the characters at a cut.
            "Digits" => {}
            "Split" => {
                let pattern = part["pattern"]["Regex"].as_str()?;
                if part["behavior"] != "Isolated" || part["invert"] != false || !is_known(pattern) {
                    return None;
                }
                is_split |= !is_bytes;
            }
            "ByteLevel" => {
                is_split |= part["use_regex"] == true && !is_bytes;
                // A chunk that begins with a space gets no other.
                at_lines &= part["add_prefix_space"] == false;
                is_bytes = true;
            }
            _ => return None,
        }
    }
    is_split.then_some(at_lines)
}

/// Whether a pattern is made of known branches.
fn is_known(pattern: &str) -> bool {
    let mut rest = pattern;
    loop {
        // The longest first: branches may begin with each other.
        let longest = BRANCHES
            .iter()
            .filter_map(|branch| rest.strip_prefix(branch))
            .filter(|rest| rest.is_empty() || rest.starts_with('|'))
            .min_by_key(|rest| rest.len());
        match longest {
            Some("") => return true,
            Some(others) => rest = &others[1..],
            None => return false,
        }
    }
}

/// Whether normalisers put the sign for a space at a text's beginning; `None` where they do anything but that and
/// replacing spaces.
fn spaces_replaced(parts: &[Value]) -> Option<bool> {
    let prepend = serde_json::json!({"type": "Prepend", "prepend": "▁"});
    let replace = serde_json::json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    match parts {
        [one] if *one == replace => Some(false),
        [first, second] if *first == prepend && *second == replace => Some(true),
        _ => None,
    }
}

/// Whether no token has the sign for a space after another character, so that text without pre-tokens falls apart
/// before it.
fn has_no_token_across_spaces(tokenizer: &Library, model: &BPE) -> bool {
    let is_plain = !model.ignore_merges
        && model.continuing_subword_prefix.is_none()
        && model.end_of_word_suffix.is_none()
        && tokenizer.token_to_id("▁").is_some();
    let reaches_across = |token: &String| token.trim_start_matches(SPACE).contains(SPACE);
    is_plain && !tokenizer.get_vocab(false).keys().any(reaches_across)
}

#[cfg(test)]
mod tests;

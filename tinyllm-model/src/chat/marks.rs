//! Marks special tokens in the text of messages, to tell them from those that the template writes.
//!
//! Such a token is text, and must stay text when the conversation is encoded, whatever the template does to it. So each
//! of its characters is replaced by another that stands for it, one that no message has: the template copies, cuts and
//! joins those like any others, and what compares or changes text is shown the true one (`python`).

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet, hash_map::Entry},
    ops::Range,
};

use aho_corasick::{AhoCorasick, MatchKind};
use minijinja::{Error, Value};

use crate::{ModelError, Result, Tokenizer};

/// A tokenizer's special tokens, found in one pass, the longest first where one begins with another.
pub(super) struct Specials {
    automaton: Option<AhoCorasick>,
}

impl Specials {
    pub(super) fn of(tokenizer: &Tokenizer) -> Result<Self> {
        Self::new(&tokenizer.special_tokens())
    }

    fn new(tokens: &[String]) -> Result<Self> {
        let tokens: Vec<&String> = tokens.iter().filter(|token| !token.is_empty()).collect();
        if tokens.is_empty() {
            return Ok(Specials { automaton: None });
        }
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(tokens);
        let automaton =
            automaton.map_err(|error| ModelError::SpecialTokens { problem: error.to_string() })?;
        Ok(Specials { automaton: Some(automaton) })
    }

    /// Where special tokens are in `text`.
    pub(super) fn find<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
        let found = self.automaton.iter().flat_map(move |automaton| automaton.find_iter(text));
        found.map(|found| found.range())
    }
}

/// The characters that stand for those of mentioned special tokens; none where no message mentions any.
#[derive(Default)]
pub(super) struct Marks {
    specials: Option<Specials>,
    mark_of: HashMap<char, char>,
    true_of: HashMap<char, char>,
}

impl Marks {
    /// Replaces the special tokens in every text of `messages`.
    ///
    /// # Errors
    /// Messages that use up the characters that Unicode leaves for private use.
    pub(super) fn set(specials: Specials, messages: &mut serde_json::Value) -> Result<Self> {
        let mut marks = Marks { specials: Some(specials), ..Marks::default() };
        let mut mentioned = Vec::new();
        for_each_text(messages, &mut |text| {
            mentioned.extend(marks.specials_in(text).flat_map(|range| text[range].chars()));
        });
        if mentioned.is_empty() {
            return Ok(Marks::default());
        }
        let mut used = HashSet::new();
        for_each_text(messages, &mut |text| used.extend(text.chars().filter(|c| is_private(*c))));
        let mut free =
            ('\u{f0000}'..='\u{ffffd}').chain('\u{100000}'..='\u{10fffd}').filter(|c| !used.contains(c));
        for c in mentioned {
            if let Entry::Vacant(place) = marks.mark_of.entry(c) {
                let mark = free.next().ok_or(ModelError::NoPrivateCharacter)?;
                place.insert(mark);
                marks.true_of.insert(mark, c);
            }
        }
        for_each_text_mut(messages, &mut |text| *text = marks.marked(text));
        Ok(marks)
    }

    /// Whether there are any.
    pub(super) fn are_set(&self) -> bool {
        !self.true_of.is_empty()
    }

    /// Where `text` has special tokens that are not marked.
    pub(super) fn specials_in<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
        self.specials.iter().flat_map(move |specials| specials.find(text))
    }

    /// The character that `c` stands for.
    pub(super) fn true_char(&self, c: char) -> char {
        if self.are_set() && is_private(c) { self.true_of.get(&c).copied().unwrap_or(c) } else { c }
    }

    /// Whether `text` holds a mark.
    pub(super) fn are_in(&self, text: &str) -> bool {
        self.are_set() && text.chars().any(|c| is_private(c) && self.true_of.contains_key(&c))
    }

    /// The text that `text` stands for.
    pub(super) fn true_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.are_in(text) {
            Cow::Owned(text.chars().map(|c| self.true_char(c)).collect())
        } else {
            Cow::Borrowed(text)
        }
    }

    /// `text` with every special token in it marked.
    fn marked(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut end = 0;
        for range in self.specials_in(text) {
            out.push_str(&text[end..range.start]);
            out.extend(text[range.clone()].chars().map(|c| self.mark_of.get(&c).copied().unwrap_or(c)));
            end = range.end;
        }
        out.push_str(&text[end..]);
        out
    }

    /// The value that `value` stands for, if that is another.
    pub(super) fn true_value(&self, value: &Value) -> Option<Value> {
        self.changed(value, &|text| self.are_in(text).then(|| self.true_text(text).into_owned()))
    }

    /// `value` with every special token in it marked: what was made of a text with marks.
    pub(super) fn marked_value(&self, value: Value) -> Value {
        let mark = |text: &str| self.specials_in(text).next().map(|_| self.marked(text));
        self.changed(&value, &mark).unwrap_or(value)
    }

    /// What `work` makes of the values that `values` stand for; marked where there was a mark among them.
    pub(super) fn aside<'v>(
        &self,
        values: impl Iterator<Item = &'v Value>,
        work: impl FnOnce(&[Value]) -> std::result::Result<Value, Error>,
    ) -> std::result::Result<Value, Error> {
        let mut changed = false;
        let shown: Vec<Value> = values
            .map(|value| match self.true_value(value) {
                Some(shown) => {
                    changed = true;
                    shown
                }
                None => value.clone(),
            })
            .collect();
        let made = work(&shown)?;
        Ok(if changed { self.marked_value(made) } else { made })
    }

    /// `value` with its texts changed, in lists and maps too; `None` where none is.
    fn changed(&self, value: &Value, change: &dyn Fn(&str) -> Option<String>) -> Option<Value> {
        use minijinja::value::{Tuple, ValueKind};
        if !self.are_set() {
            return None;
        }
        match value.kind() {
            ValueKind::String => change(value.as_str()?).map(Value::from),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter().ok()?.collect();
                let changed: Vec<Option<Value>> =
                    items.iter().map(|item| self.changed(item, change)).collect();
                if changed.iter().all(Option::is_none) {
                    return None;
                }
                let items = changed.into_iter().zip(items).map(|(changed, item)| changed.unwrap_or(item));
                let items: Vec<Value> = items.collect();
                Some(if value.is_tuple() { Value::from(Tuple::from(items)) } else { Value::from(items) })
            }
            ValueKind::Map => {
                let object = value.as_object()?;
                let pairs: Vec<(Value, Value)> = object.try_iter_pairs()?.collect();
                let changed: Vec<_> = pairs
                    .iter()
                    .map(|(key, item)| (self.changed(key, change), self.changed(item, change)))
                    .collect();
                if changed.iter().all(|(key, item)| key.is_none() && item.is_none()) {
                    return None;
                }
                let pairs = changed.into_iter().zip(pairs);
                let pairs = pairs.map(|(new, old)| (new.0.unwrap_or(old.0), new.1.unwrap_or(old.1)));
                Some(Value::from_pairs(pairs))
            }
            _ => None,
        }
    }
}

fn is_private(c: char) -> bool {
    c >= '\u{f0000}'
}

fn for_each_text(value: &serde_json::Value, see: &mut dyn FnMut(&str)) {
    match value {
        serde_json::Value::String(text) => see(text),
        serde_json::Value::Array(items) => items.iter().for_each(|item| for_each_text(item, see)),
        serde_json::Value::Object(map) => map.values().for_each(|item| for_each_text(item, see)),
        _ => (),
    }
}

fn for_each_text_mut(value: &mut serde_json::Value, change: &mut dyn FnMut(&mut String)) {
    match value {
        serde_json::Value::String(text) => change(text),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| for_each_text_mut(item, change)),
        serde_json::Value::Object(map) => map.values_mut().for_each(|item| for_each_text_mut(item, change)),
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn specials() -> Specials {
        Specials::new(&["<s>".into(), "<s>>".into(), "</s>".into(), "\u{200b}".into(), String::new()])
            .unwrap()
    }

    #[test]
    fn marked_text_has_no_special_token_and_stands_for_what_it_was() {
        for text in ["", "plain", "a<s>b</s></s>", "7\u{200b}8", "<<s>s>\u{f0000}<s>>"] {
            let mut messages = json!([{"content": text, "role": "user"}]);
            let marks = Marks::set(specials(), &mut messages).unwrap();
            let marked = messages[0]["content"].as_str().unwrap();
            assert!(specials().find(marked).next().is_none(), "{text}");
            assert_eq!(marks.true_text(marked), text);
            assert_eq!(marked.chars().count(), text.chars().count());
            assert_eq!(marks.are_set(), marked != text);
        }
    }

    #[test]
    fn the_longest_special_token_counts() {
        let found: Vec<_> = specials().find("a<s>><s>b").collect();
        assert_eq!(found, [1..5, 5..8]);
    }

    #[test]
    fn values_are_changed_where_they_hold_marks() {
        let marks = Marks::set(specials(), &mut json!(["<s>"])).unwrap();
        let value = Value::from(minijinja::value::Serde(json!({"a": ["x", marks.marked("y<s>")], "b": 1})));
        let shown = marks.true_value(&value).unwrap();
        assert_eq!(shown, Value::from(minijinja::value::Serde(json!({"a": ["x", "y<s>"], "b": 1}))));
        assert_eq!(marks.true_value(&shown), None);
        assert_eq!(marks.marked_value(shown), value);
    }
}

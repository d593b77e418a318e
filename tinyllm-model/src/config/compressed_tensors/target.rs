//! `targets` and `ignore`: a layer's class, its name, or a pattern after `re:`.

use regex::bytes::{Regex, RegexBuilder};

use crate::{Result, config::fields::Fields};

/// The torch class of a layer with weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayerClass {
    /// `torch.nn.Linear`.
    Linear,
    /// `torch.nn.Embedding`.
    Embedding,
}

impl LayerClass {
    /// The class's name, and those it inherits from.
    fn names(self) -> [&'static str; 2] {
        match self {
            LayerClass::Linear => ["Linear", "Module"],
            LayerClass::Embedding => ["Embedding", "Module"],
        }
    }
}

/// One entry of `targets` or `ignore`.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// A layer's name, or a class's.
    Exact(String),
    /// What follows `re:`; it must match from the beginning of the name, not to its end.
    Regex { source: String, regex: Regex },
}

/// Which of several matching targets counts: the least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Precedence<'a> {
    Name,
    Regex(&'a str),
    Class,
}

/// Memory of one compiled pattern; together with the next two it bounds the time of a hostile list.
const MAX_REGEX_BYTES: usize = 64 << 10;
/// Most patterns of a list; usual ones have a handful.
const MAX_REGEXES: usize = 32;
/// Most entries of a list, which may name every layer.
pub(super) const MAX_PATTERNS: usize = 4096;

impl Pattern {
    /// An array of entries; absent is empty.
    pub(super) fn list(fields: &Fields<'_>, key: &str) -> Result<Vec<Pattern>> {
        let entries = fields.strings(key)?.unwrap_or_default();
        let regexes = entries.iter().filter(|entry| entry.starts_with("re:")).count();
        if entries.len() > MAX_PATTERNS || regexes > MAX_REGEXES {
            let problem = format!("must have at most {MAX_PATTERNS} entries, {MAX_REGEXES} of them patterns");
            return Err(fields.malformed(key, problem));
        }
        entries.into_iter().map(|entry| Self::new(fields, key, entry)).collect()
    }

    fn new(fields: &Fields<'_>, key: &str, entry: &str) -> Result<Pattern> {
        let Some(source) = entry.strip_prefix("re:") else { return Ok(Pattern::Exact(entry.to_owned())) };
        let regex = RegexBuilder::new(&format!(r"\A(?:{source})"))
            // Layers' names are ASCII, and tables of Unicode would take most of the memory allowed.
            .unicode(false)
            .size_limit(MAX_REGEX_BYTES)
            .build()
            .map_err(|_| {
                let supported =
                    "patterns must be short regular expressions without look-around and backreferences";
                fields.unsupported(key, format!("the pattern {entry:?}"), supported)
            })?;
        Ok(Pattern::Regex { source: source.to_owned(), regex })
    }

    /// Whether the entry means this layer.
    pub(super) fn matches(&self, module: &str, class: LayerClass) -> bool {
        match self {
            Pattern::Exact(name) => name == module || class.names().contains(&name.as_str()),
            Pattern::Regex { regex, .. } => regex.is_match(module.as_bytes()),
        }
    }

    /// The rank of an entry that matches `module`.
    pub(super) fn precedence(&self, module: &str) -> Precedence<'_> {
        match self {
            Pattern::Exact(name) if name == module => Precedence::Name,
            Pattern::Exact(_) => Precedence::Class,
            Pattern::Regex { source, .. } => Precedence::Regex(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn pattern(entry: &str) -> Pattern {
        let value = json!({ "targets": [entry] });
        Pattern::list(&Fields::top(&value, Path::new("config.json")).unwrap(), "targets").unwrap().remove(0)
    }

    #[test]
    fn names_classes_and_patterns_match_as_in_compressed_tensors() {
        let layer = "model.layers.0.mlp.down_proj";
        for (entry, expected) in [
            ("Linear", true),
            ("Embedding", false),
            (layer, true),
            ("down_proj", false),
            ("re:.*down_proj", true),
            ("re:.*down_proj$", true),
            // Python's re.match is anchored at the beginning only.
            ("re:model.layers", true),
            ("re:down_proj", false),
            ("re:x|.*mlp", true),
        ] {
            assert_eq!(pattern(entry).matches(layer, LayerClass::Linear), expected, "{entry}");
        }
        assert!(pattern("Embedding").matches("model.embed_tokens", LayerClass::Embedding));
    }

    #[test]
    fn a_pattern_that_cannot_be_compiled_is_refused_by_name() {
        let value = json!({ "ignore": ["re:(?!lm_head).*"] });
        let error =
            Pattern::list(&Fields::top(&value, Path::new("config.json")).unwrap(), "ignore").unwrap_err();
        assert!(error.to_string().contains("(?!lm_head)"), "{error}");
    }
}

//! The library's normalisers and decoders with a bound on their output.
//!
//! A file may hold any number of replacements that each multiply a text's length. The library runs them one after
//! another without a limit; here the size of each step's output is estimated first.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Serialize, Serializer};
use tokenizers::{
    DecoderWrapper, NormalizedString, Normalizer as _, NormalizerWrapper, Result, normalizers::Replace,
    utils::SysRegex,
};

use super::checks::MAX_STEPS;

/// Bytes of output for each of the input: Unicode's compatibility forms make eleven of one at most.
const GROWTH: usize = 16;

/// Bytes of output in addition.
const ALLOWANCE_BYTES: usize = 64 << 10;

/// The budget for the output of one text.
pub(super) struct Budget(Mutex<Left>);

struct Left {
    bytes: usize,
    /// Why normalising stopped. The library itself continues without an error.
    problem: Option<String>,
}

impl Budget {
    /// A budget for what is normalised before any text is there: added tokens.
    fn new() -> Self {
        Budget(Mutex::new(Left { bytes: 64 << 20, problem: None }))
    }

    fn lock(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many bytes a step makes of a text, where that is more than a small multiple.
enum Growth {
    Small,
    Prefix(usize),
    Replace { pattern: Pattern, content_bytes: usize },
}

enum Pattern {
    Text(String),
    Regex(SysRegex),
}

impl Growth {
    fn of_replace(replace: &Replace) -> Result<Self> {
        let written = serde_json::to_value(replace)?;
        let pattern = match (written["pattern"]["String"].as_str(), written["pattern"]["Regex"].as_str()) {
            (Some(""), _) => return Err("Replace: the pattern is empty".into()),
            (Some(text), _) => Pattern::Text(text.to_owned()),
            (_, Some(regex)) => {
                let compiled = SysRegex::new(regex)?;
                // Most that match the empty string do so here; the others are found when they do.
                for sample in ["", "a", "a b", "\n"] {
                    matches(&compiled, sample)
                        .map_err(|problem| format!("Replace: {regex:.100?} {problem}"))?;
                }
                Pattern::Regex(compiled)
            }
            _ => return Err("Replace: a pattern is a String or a Regex".into()),
        };
        Ok(Growth::Replace { pattern, content_bytes: replace.content.len() })
    }

    /// At most so many bytes will be made of `text`, if it is more than `enough`.
    fn most(&self, text: &str, enough: usize) -> Result<usize> {
        match self {
            Growth::Small => Ok(0),
            Growth::Prefix(bytes) => Ok(text.len() + bytes),
            Growth::Replace { pattern: Pattern::Text(pattern), content_bytes } => {
                let rough = text.len().saturating_mul(content_bytes.div_ceil(pattern.len()).max(1));
                if rough <= enough {
                    return Ok(rough);
                }
                let count = text.matches(pattern.as_str()).count();
                Ok((text.len() - count * pattern.len()).saturating_add(count.saturating_mul(*content_bytes)))
            }
            Growth::Replace { pattern: Pattern::Regex(regex), content_bytes } => {
                let (count, bytes) = matches(regex, text)?;
                Ok((text.len() - bytes).saturating_add(count.saturating_mul(*content_bytes)))
            }
        }
    }
}

/// How many matches there are, and of how many bytes. The library panics over those of none.
fn matches(regex: &SysRegex, text: &str) -> Result<(usize, usize)> {
    regex.find_iter(text).try_fold((0, 0), |(count, bytes), (start, end)| {
        if start == end {
            Err("matches the empty string".into())
        } else {
            Ok((count + 1, bytes + end - start))
        }
    })
}

/// A file's normaliser.
pub(super) struct Normalizer {
    whole: NormalizerWrapper,
    steps: Vec<(NormalizerWrapper, Growth)>,
    budget: Budget,
}

impl Normalizer {
    pub(super) fn new(whole: NormalizerWrapper) -> Result<Self> {
        let mut flat = Vec::new();
        let mut rest = vec![&whole];
        while let Some(step) = rest.pop() {
            match step {
                NormalizerWrapper::Sequence(sequence) => rest.extend(sequence.as_ref().iter().rev()),
                step => flat.push(step.clone()),
            }
            if flat.len() + rest.len() > MAX_STEPS {
                return Err(format!("more than {MAX_STEPS} steps").into());
            }
        }
        let steps = flat.into_iter().map(|step| {
            let growth = match &step {
                NormalizerWrapper::Replace(replace) => Growth::of_replace(replace)?,
                NormalizerWrapper::Prepend(prepend) => Growth::Prefix(prepend.prepend.len()),
                _ => Growth::Small,
            };
            Ok((step, growth))
        });
        Ok(Normalizer { steps: steps.collect::<Result<_>>()?, whole, budget: Budget::new() })
    }

    /// Sets the budget for a text of `bytes`.
    pub(super) fn begin(&self, bytes: usize) {
        let bytes = bytes.saturating_mul(GROWTH).saturating_add(ALLOWANCE_BYTES);
        *self.budget.lock() = Left { bytes, problem: None };
    }

    /// What went wrong since [`Normalizer::begin`].
    pub(super) fn problem(&self) -> Option<String> {
        self.budget.lock().problem.take()
    }

    fn run(&self, text: &mut NormalizedString, left: usize) -> Result<()> {
        for (step, growth) in &self.steps {
            if growth.most(text.get(), left)? > left || text.len() > left {
                return Err("the text grows beyond all measure when it is normalised".into());
            }
            step.normalize(text)?;
        }
        Ok(())
    }
}

impl tokenizers::Normalizer for Normalizer {
    fn normalize(&self, text: &mut NormalizedString) -> Result<()> {
        let mut left = self.budget.lock();
        if left.problem.is_some() {
            return Ok(());
        }
        let outcome = self.run(text, left.bytes);
        left.bytes = left.bytes.saturating_sub(text.len());
        left.problem = outcome.as_ref().err().map(ToString::to_string);
        outcome
    }
}

/// A file's decoder.
pub(super) struct Decoder {
    whole: DecoderWrapper,
    steps: Vec<(DecoderWrapper, Growth)>,
}

impl Decoder {
    pub(super) fn new(whole: DecoderWrapper) -> Result<Self> {
        let mut flat = Vec::new();
        let mut rest = vec![&whole];
        while let Some(step) = rest.pop() {
            match step {
                DecoderWrapper::Sequence(sequence) => rest.extend(sequence.get_decoders().iter().rev()),
                step => flat.push(step.clone()),
            }
            if flat.len() + rest.len() > MAX_STEPS {
                return Err(format!("more than {MAX_STEPS} steps").into());
            }
        }
        let steps = flat.into_iter().map(|step| {
            let growth = match &step {
                DecoderWrapper::Replace(replace) => Growth::of_replace(replace)?,
                _ => Growth::Small,
            };
            Ok((step, growth))
        });
        Ok(Decoder { steps: steps.collect::<Result<_>>()?, whole })
    }
}

impl tokenizers::Decoder for Decoder {
    fn decode_chain(&self, mut tokens: Vec<String>) -> Result<Vec<String>> {
        let bytes = |tokens: &[String]| tokens.iter().map(String::len).sum::<usize>();
        let most = bytes(&tokens).saturating_mul(GROWTH).saturating_add(ALLOWANCE_BYTES);
        for (step, growth) in &self.steps {
            if !matches!(growth, Growth::Small) {
                let mut left = most;
                for token in &tokens {
                    let grown = growth.most(token, token.len())?;
                    left = left
                        .checked_sub(grown)
                        .ok_or("the text grows beyond all measure when it is decoded")?;
                }
            }
            tokens = step.decode_chain(tokens)?;
            if bytes(&tokens) > most {
                return Err("the text grows beyond all measure when it is decoded".into());
            }
        }
        Ok(tokens)
    }
}

impl Serialize for Normalizer {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.whole.serialize(serializer)
    }
}

impl Serialize for Decoder {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.whole.serialize(serializer)
    }
}

impl fmt::Debug for Normalizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.whole.fmt(formatter)
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.whole.fmt(formatter)
    }
}

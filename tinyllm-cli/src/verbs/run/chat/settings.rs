//! Settings that a chat may change between answers.

use std::str::FromStr;

use clap::ValueEnum;
use serde_json::{Map, Value, json};
use tinyllm_model::generation::GenerationParameters;

use super::super::sampling::{penalty_window, token_limit, top_k};
use super::Overflow;
use crate::output::numbers;

/// What answers are made with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) generation: GenerationParameters,
    pub(super) verbose: bool,
    pub(super) overflow: Overflow,
}

impl Settings {
    /// Changes one.
    ///
    /// # Errors
    /// An unknown name, or a value that it cannot have; in words for the user. Nothing changes then.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let mut changed = self.clone();
        let generation = &mut changed.generation;
        let sampling = &mut generation.sampling;
        match name.replace('-', "_").as_str() {
            "temp" | "temperature" => sampling.temperature = number(name, value)?,
            "top_k" => sampling.top_k = top_k(value).map_err(|problem| format!("{name}: {problem}"))?,
            "top_p" => sampling.top_p = number(name, value)?,
            "min_p" => sampling.min_p = number(name, value)?,
            "repeat_penalty" | "repetition_penalty" => sampling.repetition_penalty = number(name, value)?,
            "presence_penalty" => sampling.presence_penalty = number(name, value)?,
            "frequency_penalty" => sampling.frequency_penalty = number(name, value)?,
            "repeat_last_n" => {
                sampling.penalty_window =
                    penalty_window(value).map_err(|problem| format!("{name}: {problem}"))?
            }
            "seed" => sampling.seed = number(name, value)?,
            "max_tokens" | "num_predict" => {
                let limit = if value == "none" { "-1" } else { value };
                generation.max_tokens = token_limit(limit).map_err(|problem| format!("{name}: {problem}"))?.0;
            }
            "stop" => generation.stop_strings.push(value.to_owned()),
            "overflow" => changed.overflow = Overflow::from_str(value, true)?,
            "verbose" => {
                changed.verbose = match value {
                    "on" | "true" => true,
                    "off" | "false" => false,
                    _ => return Err(format!("{name}: on or off, not {value:?}")),
                }
            }
            _ => return Err(format!("{name} is no setting; /show settings lists them")),
        }
        if let Some((name, range)) = changed.generation.sampling.invalid() {
            return Err(format!("{name} must be {range}"));
        }
        *self = changed;
        Ok(())
    }

    /// All of them, in the names that [`Settings::set`] takes.
    pub(super) fn to_json(&self) -> Map<String, Value> {
        let sampling = &self.generation.sampling;
        let single = |value: f32| numbers::shortest(value.into());
        let all = json!({
            "temp": single(sampling.temperature),
            "top_k": sampling.top_k,
            "top_p": single(sampling.top_p),
            "min_p": single(sampling.min_p),
            "repeat_penalty": single(sampling.repetition_penalty),
            "presence_penalty": single(sampling.presence_penalty),
            "frequency_penalty": single(sampling.frequency_penalty),
            "repeat_last_n": i64::try_from(sampling.penalty_window).unwrap_or(-1),
            "seed": sampling.seed,
            "max_tokens": self.generation.max_tokens,
            "stop": self.generation.stop_strings,
            "verbose": self.verbose,
            "overflow": self.overflow.name(),
        });
        match all {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    /// Takes what [`Settings::to_json`] gave.
    ///
    /// # Errors
    /// As [`Settings::set`].
    pub(super) fn set_all(&mut self, settings: &Map<String, Value>) -> Result<(), String> {
        let mut changed = self.clone();
        for (name, value) in settings {
            match value {
                Value::Null => changed.set(name, "none")?,
                Value::String(text) => changed.set(name, text)?,
                Value::Array(several) => {
                    changed.generation.stop_strings.clear();
                    for text in several {
                        changed.set(name, text.as_str().ok_or_else(|| format!("{name}: not text"))?)?;
                    }
                }
                other => changed.set(name, &other.to_string())?,
            }
        }
        *self = changed;
        Ok(())
    }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name}: {value:?} is not a number it can have"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test ends where it fails
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { generation: GenerationParameters::default(), verbose: false, overflow: Overflow::Ask }
    }

    #[test]
    fn every_setting_survives_its_json() {
        let mut changed = settings();
        for (name, value) in [
            ("temp", "0.25"),
            ("seed", "18446744073709551615"),
            ("max_tokens", "7"),
            ("stop", "END"),
            ("repeat_last_n", "-1"),
            ("overflow", "drop"),
        ] {
            changed.set(name, value).unwrap();
        }
        changed.set("verbose", "on").unwrap();
        let mut restored = settings();
        restored.set_all(&changed.to_json()).unwrap();
        assert_eq!(restored, changed);
    }

    #[test]
    fn settings_are_said_as_they_were_given() {
        let mut changed = settings();
        changed.set("presence_penalty", "-0.1").unwrap();
        let all = changed.to_json();
        // The defaults, as llama.cpp's documentation has them.
        for (name, text) in
            [("temp", "0.8"), ("top_p", "0.95"), ("min_p", "0.05"), ("presence_penalty", "-0.1")]
        {
            assert_eq!(all[name].to_string(), text, "{name}");
        }
    }

    #[test]
    fn a_wrong_value_changes_nothing() {
        let mut changed = settings();
        for (name, value) in [
            ("temp", "-1"),
            ("temp", "hot"),
            ("top_p", "2"),
            ("colour", "red"),
            ("verbose", "maybe"),
            ("overflow", "often"),
        ] {
            assert!(changed.set(name, value).is_err(), "{name} {value}");
        }
        assert_eq!(changed, settings());
    }
}

//! Sampling on the command line.

use clap::Args;
use tinyllm_model::sampling::Sampling;

/// The most tokens of an answer; without one, the context is the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TokenLimit(pub(super) Option<usize>);

/// Reads a [`TokenLimit`]: -1 is none, as in llama.cpp and ollama, whose -2, until the context is full, is the same here.
pub(super) fn token_limit(text: &str) -> Result<TokenLimit, String> {
    match text {
        "-1" | "-2" => Ok(TokenLimit(None)),
        _ => {
            let tokens = text.parse().map_err(|_| "a number of tokens, or -1 for no limit".to_owned())?;
            Ok(TokenLimit(Some(tokens)))
        }
    }
}

/// Reads how many of the most likely tokens are kept: -1 is all of them, as 0 is.
pub(super) fn top_k(text: &str) -> Result<usize, String> {
    if text == "-1" {
        Ok(0)
    } else {
        text.parse().map_err(|_| "a number of tokens, or -1 for all".to_owned())
    }
}

/// Reads `--repeat-last-n`.
pub(super) fn penalty_window(text: &str) -> Result<usize, String> {
    match text {
        "-1" => Ok(usize::MAX),
        _ => text.parse().map_err(|_| "a number of tokens, 0 for none or -1 for all".into()),
    }
}

#[derive(Args)]
#[command(next_help_heading = "Sampling options")]
pub(super) struct SamplingOptions {
    /// 0 always takes the most likely token
    #[arg(long, visible_alias = "temperature", allow_negative_numbers = true, default_value_t = Sampling::default().temperature)]
    temp: f32,
    /// Keep this many of the most likely tokens (0 or -1: all)
    #[arg(long, allow_negative_numbers = true, value_parser = top_k, default_value_t = Sampling::default().top_k)]
    top_k: usize,
    /// Keep the most likely tokens up to this share
    #[arg(long, allow_negative_numbers = true, default_value_t = Sampling::default().top_p)]
    top_p: f32,
    /// Drop tokens below this share of the most likely one
    #[arg(long, allow_negative_numbers = true, default_value_t = Sampling::default().min_p)]
    min_p: f32,
    /// Divides the logits of seen tokens (1: off)
    #[arg(long, visible_alias = "repetition-penalty", allow_negative_numbers = true, default_value_t = 1.0)]
    repeat_penalty: f32,
    /// Taken off the logits of seen tokens
    #[arg(long, allow_negative_numbers = true, default_value_t = 0.0)]
    presence_penalty: f32,
    /// Taken off the logits of seen tokens for each time
    #[arg(long, allow_negative_numbers = true, default_value_t = 0.0)]
    frequency_penalty: f32,
    /// How many of the last tokens count as seen (0: none, -1: all)
    #[arg(long, allow_negative_numbers = true, value_parser = penalty_window, default_value_t = Sampling::default().penalty_window)]
    repeat_last_n: usize,
    /// The same seed gives the same answer [default: from the clock]
    #[arg(short, long, env = "TINYLLM_SEED")]
    seed: Option<u64>,
}

impl SamplingOptions {
    pub(super) fn sampling(&self) -> Sampling {
        let clock = || {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(0, |time| time.as_nanos() as u64)
        };
        Sampling::default()
            .with_temperature(self.temp)
            .with_top_k(self.top_k)
            .with_top_p(self.top_p)
            .with_min_p(self.min_p)
            .with_repetition_penalty(self.repeat_penalty)
            .with_presence_penalty(self.presence_penalty)
            .with_frequency_penalty(self.frequency_penalty)
            .with_penalty_window(self.repeat_last_n)
            .with_seed(self.seed.unwrap_or_else(clock))
    }
}

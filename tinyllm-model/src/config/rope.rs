//! Rotary inverse frequencies of every scaling, in f64, by the formulas of transformers' `modeling_rope_utils`.
//!
//! Tables of cos and sin are made elsewhere from these.

use std::f64::consts::PI;

use super::{RopeConfig, RopeScaling};
use crate::{ModelError, Result};

impl RopeConfig {
    /// The angle per token of each pair of a head's elements, and what cos and sin are multiplied with.
    ///
    /// # Shapes
    /// `head_dim / 2` frequencies, fastest first.
    ///
    /// # Errors
    /// [`ModelError::Request`] where dynamic scaling would leave the context within which it is plain RoPE: beyond it
    /// a token's angles would depend on the final length of the sequence.
    pub fn inverse_frequencies(&self, head_dim: usize, max_context_tokens: usize) -> Result<(Vec<f64>, f64)> {
        let plain: Vec<f64> = (0..head_dim / 2)
            .map(|pair| libm::pow(self.theta, -2.0 * pair as f64 / head_dim as f64))
            .collect();
        let scaled = |scale: &dyn Fn(usize, f64) -> f64| {
            plain.iter().enumerate().map(|(pair, &frequency)| scale(pair, frequency)).collect()
        };
        Ok(match &self.scaling {
            RopeScaling::Default => (plain, 1.0),
            RopeScaling::Linear { factor } => (scaled(&|_, frequency| frequency / factor), 1.0),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                let original = *original_max_position_embeddings as f64;
                let by_parts = |_: usize, frequency: f64| {
                    let turns = original * frequency / (2.0 * PI);
                    if turns < *low_freq_factor {
                        frequency / factor
                    } else if turns > *high_freq_factor {
                        frequency
                    } else {
                        let kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                        (1.0 - kept) * frequency / factor + kept * frequency
                    }
                };
                (scaled(&by_parts), 1.0)
            }
            RopeScaling::Yarn {
                factor,
                attention_factor,
                beta_fast,
                beta_slow,
                truncate,
                original_max_position_embeddings,
            } => {
                let turns = (*beta_fast, *beta_slow);
                let ramp = YarnRamp::new(
                    self.theta,
                    head_dim,
                    *original_max_position_embeddings as f64,
                    turns,
                    *truncate,
                );
                let blend = |pair: usize, frequency: f64| {
                    let divided = ramp.at(pair);
                    divided * frequency / factor + (1.0 - divided) * frequency
                };
                (scaled(&blend), *attention_factor)
            }
            RopeScaling::Dynamic { original_max_position_embeddings, .. } => {
                if max_context_tokens > *original_max_position_embeddings {
                    return Err(ModelError::Request(format!(
                        "dynamic NTK rotary scaling is supported up to the original context of \
                         {original_max_position_embeddings} tokens, and {max_context_tokens} were asked for; \
                         ask for a smaller context"
                    )));
                }
                (plain, 1.0)
            }
            RopeScaling::Divisors(divisors) => (
                scaled(&|pair, frequency| frequency / f64::from(divisors.get(pair).copied().unwrap_or(1.0))),
                1.0,
            ),
        })
    }
}

/// How far each pair is divided in YaRN: 0 is kept, 1 is divided, a straight line between.
struct YarnRamp {
    first: f64,
    last: f64,
}

impl YarnRamp {
    fn new(
        theta: f64,
        head_dim: usize,
        original_tokens: f64,
        (beta_fast, beta_slow): (f64, f64),
        truncate: bool,
    ) -> Self {
        let pair_of_turns = |turns: f64| {
            head_dim as f64 * libm::log(original_tokens / (turns * 2.0 * PI)) / (2.0 * libm::log(theta))
        };
        let (mut first, mut last) = (pair_of_turns(beta_fast), pair_of_turns(beta_slow));
        if truncate {
            (first, last) = (first.floor(), last.ceil());
        }
        (first, last) = (first.max(0.0), last.min(head_dim as f64 - 1.0));
        if first == last {
            last += 0.001;
        }
        YarnRamp { first, last }
    }

    fn at(&self, pair: usize) -> f64 {
        ((pair as f64 - self.first) / (self.last - self.first)).clamp(0.0, 1.0)
    }
}

//! Rotary inverse frequencies of every scaling, in f64, by the formulas of transformers' `modeling_rope_utils`.
//!
//! The tables of cos and sin are made from these by the backend.

use std::f64::consts::PI;

use super::{RopeConfig, RopeScaling};
use crate::{ModelError, Result};

impl RopeConfig {
    /// The longest context that the scaling allows, where it has a limit: dynamic NTK is plain RoPE within the original
    /// context, and beyond it a token's angles would depend on the final length of the sequence.
    pub fn longest_context(&self) -> Option<usize> {
        match self.scaling {
            RopeScaling::Dynamic { original_max_position_embeddings, .. } => {
                Some(original_max_position_embeddings)
            }
            _ => None,
        }
    }

    /// The angle per token of each pair of a head's elements, and what cos and sin are multiplied with.
    ///
    /// # Shapes
    /// `head_dim / 2` frequencies, fastest first.
    ///
    /// # Errors
    /// [`ModelError::ContextBeyondRope`] where dynamic scaling would leave the context within which it is plain RoPE: beyond it
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
                let (tokens, rope_limit) = (max_context_tokens, *original_max_position_embeddings);
                if tokens > rope_limit {
                    return Err(ModelError::ContextBeyondRope { path: None, tokens, rope_limit });
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

#[cfg(test)]
mod tests {
    //! The expected values come from a few lines of Python that repeat `_compute_*_parameters` of transformers 4.57.6
    //! in double precision, with `**` and `math.log`.

    use super::*;

    fn frequencies(theta: f64, head_dim: usize, scaling: RopeScaling) -> (Vec<f64>, f64) {
        RopeConfig { theta, scaling }.inverse_frequencies(head_dim, 64).unwrap()
    }

    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            // A few roundings of pow and log in double precision.
            assert!((found / expected - 1.0).abs() < 16.0 * f64::EPSILON, "{found} {expected}");
        }
    }

    const PLAIN_16: [f64; 8] = [
        1.0,
        0.316_227_766_016_837_94,
        0.1,
        0.031_622_776_601_683_79,
        0.01,
        0.003_162_277_660_168_379,
        0.001,
        0.000_316_227_766_016_837_94,
    ];

    #[test]
    fn plain_linear_and_divided() {
        assert_close(&frequencies(1e4, 16, RopeScaling::Default).0, &PLAIN_16);
        let quarter = PLAIN_16.map(|frequency| frequency / 4.0);
        assert_close(&frequencies(1e4, 16, RopeScaling::Linear { factor: 4.0 }).0, &quarter);
        assert_close(&frequencies(1e4, 16, RopeScaling::Divisors(vec![4.0; 8])).0, &quarter);
    }

    #[test]
    fn llama3_divides_by_parts() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 64,
        };
        let expected = [
            1.0,
            0.079_403_009_179_208_2,
            0.004_700_753_866_357_992,
            0.000_911_583_092_152_138_6,
            0.000_176_776_695_296_636_88,
            3.428_102_195_952_591e-5,
            6.647_869_871_181_236e-6,
            1.289_173_172_151_557_4e-6,
        ];
        assert_close(&frequencies(5e5, 16, scaling).0, &expected);
    }

    #[test]
    fn yarn_ramps_between_rounded_or_exact_ends() {
        let scaling = |truncate| RopeScaling::Yarn {
            factor: 4.0,
            attention_factor: 1.25,
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate,
            original_max_position_embeddings: 64,
        };
        let slow = [0.002_5, 0.000_790_569_415_042_094_7, 0.000_25, 7.905_694_150_420_948e-5];
        let rounded = [1.0, 0.237_170_824_512_628_47, 0.05, 0.007_905_694_150_420_948];
        let exact = [1.0, 0.198_583_520_153_693_18, 0.025_595_245_891_924_21, 0.007_905_694_150_420_948];
        let (found, attention) = frequencies(1e4, 16, scaling(true));
        assert_close(&found, &[rounded, slow].concat());
        assert_eq!(attention, 1.25);
        assert_close(&frequencies(1e4, 16, scaling(false)).0, &[exact, slow].concat());
    }

    #[test]
    fn dynamic_is_plain_within_the_original_context_and_refused_beyond() {
        let scaling = RopeScaling::Dynamic { factor: 2.0, original_max_position_embeddings: 64 };
        let rope = RopeConfig { theta: 1e4, scaling };
        assert_close(&rope.inverse_frequencies(16, 64).unwrap().0, &PLAIN_16);
        let refused = rope.inverse_frequencies(16, 65).unwrap_err();
        assert!(
            matches!(refused, ModelError::ContextBeyondRope { path: None, tokens: 65, rope_limit: 64 }),
            "{refused}"
        );
    }
}

//! Checks of a configuration that do not depend on the format it came from.
//!
//! Afterwards no tensor has more than 2⁴⁸ elements and every per-layer list is short, so readers may multiply sizes and
//! allocate without further checks.

use std::path::Path;

use super::{ModelConfig, RopeScaling};
use crate::{ModelError, Result};

/// Most layers; the largest known model has 126.
pub(crate) const MAX_LAYERS: usize = 4096;
const MAX_HIDDEN_SIZE: usize = 1 << 20;
const MAX_INTERMEDIATE_SIZE: usize = 1 << 22;
const MAX_HEADS: usize = 1 << 12;
const MAX_HEAD_DIM: usize = 1 << 12;
const MAX_VOCAB_SIZE: usize = 1 << 24;
const MAX_CONTEXT_TOKENS: usize = 1 << 30;
/// The largest base of rotary frequencies; published ones are below 1e9.
const MAX_THETA: f64 = 1e15;
/// What rotary scaling may multiply or divide with; published factors are from 0.1 to some hundreds.
const ROPE_FACTORS: std::ops::RangeInclusive<f64> = 1e-4..=1e6;

// The largest matrices, [vocab, hidden] and [heads · head_dim, hidden], in elements.
const _: () = assert!((MAX_VOCAB_SIZE as u128) * (MAX_HIDDEN_SIZE as u128) <= 1 << 48);
const _: () = assert!((MAX_HEADS * MAX_HEAD_DIM) as u128 * (MAX_HIDDEN_SIZE as u128) <= 1 << 48);

impl ModelConfig {
    /// Checks ranges and what must divide what.
    ///
    /// `field_name` turns the Hugging Face name of a field into what the file calls it.
    ///
    /// # Errors
    /// [`ModelError::Malformed`] naming the first field at fault.
    pub(crate) fn validate(&self, path: &Path, field_name: &dyn Fn(&'static str) -> String) -> Result<()> {
        let malformed = |field, problem| Err(ModelError::malformed(path, field_name(field), problem));
        for (field, value, most) in [
            ("hidden_size", self.hidden_size, MAX_HIDDEN_SIZE),
            ("num_attention_heads", self.num_attention_heads, MAX_HEADS),
            ("num_key_value_heads", self.num_key_value_heads, MAX_HEADS),
            ("head_dim", self.head_dim, MAX_HEAD_DIM),
            ("intermediate_size", self.intermediate_size, MAX_INTERMEDIATE_SIZE),
            ("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS),
            ("vocab_size", self.vocab_size, MAX_VOCAB_SIZE),
            ("max_position_embeddings", self.max_position_embeddings, MAX_CONTEXT_TOKENS),
        ] {
            if !(1..=most).contains(&value) {
                return malformed(field, format!("must be from 1 to {most}, is {value}"));
            }
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            let heads = self.num_attention_heads;
            let problem =
                format!("must divide num_attention_heads, {heads}; is {}", self.num_key_value_heads);
            return malformed("num_key_value_heads", problem);
        }
        if !self.head_dim.is_multiple_of(2) {
            let problem = format!("must be even, for rotary positions turn pairs; is {}", self.head_dim);
            return malformed("head_dim", problem);
        }
        if !(self.rms_norm_eps > 0.0 && self.rms_norm_eps < 1.0) {
            let problem = format!("must be above 0 and below 1, is {:e}", self.rms_norm_eps);
            return malformed("rms_norm_eps", problem);
        }
        if self.sliding_windows.len() != self.num_hidden_layers {
            let problem = format!(
                "must name a window for each of the {} layers, names {}",
                self.num_hidden_layers,
                self.sliding_windows.len()
            );
            return malformed("sliding_window", problem);
        }
        if self.sliding_windows.contains(&Some(0)) {
            return malformed("sliding_window", "must be positive, is 0".to_owned());
        }
        if self.group_size == Some(0) {
            return malformed("group_size", "must be positive, is 0".to_owned());
        }
        self.validate_rope(path, field_name)
    }

    fn validate_rope(&self, path: &Path, field_name: &dyn Fn(&'static str) -> String) -> Result<()> {
        let malformed = |field, problem| Err(ModelError::malformed(path, field_name(field), problem));
        if !(self.rope.theta > 1.0 && self.rope.theta <= MAX_THETA) {
            let problem =
                format!("must be greater than 1, and at most {MAX_THETA:e}; is {:e}", self.rope.theta);
            return malformed("rope_theta", problem);
        }
        let (factors, original): (&[(&'static str, f64)], _) = match &self.rope.scaling {
            RopeScaling::Default => (&[], None),
            RopeScaling::Linear { factor } => (&[("factor", *factor)], None),
            RopeScaling::Dynamic { factor, original_max_position_embeddings } => {
                (&[("factor", *factor)], Some(*original_max_position_embeddings))
            }
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                if high_freq_factor <= low_freq_factor {
                    let problem = format!(
                        "must be greater than low_freq_factor, {low_freq_factor}; is {high_freq_factor}"
                    );
                    return malformed("high_freq_factor", problem);
                }
                (
                    &[
                        ("factor", *factor),
                        ("low_freq_factor", *low_freq_factor),
                        ("high_freq_factor", *high_freq_factor),
                    ],
                    Some(*original_max_position_embeddings),
                )
            }
            RopeScaling::Yarn {
                factor,
                attention_factor,
                beta_fast,
                beta_slow,
                truncate: _,
                original_max_position_embeddings,
            } => (
                &[
                    ("factor", *factor),
                    ("attention_factor", *attention_factor),
                    ("beta_fast", *beta_fast),
                    ("beta_slow", *beta_slow),
                ],
                Some(*original_max_position_embeddings),
            ),
            RopeScaling::Divisors(divisors) => {
                if divisors.len() != self.head_dim / 2 {
                    let problem = format!(
                        "must hold head_dim / 2 = {} divisors, holds {}",
                        self.head_dim / 2,
                        divisors.len()
                    );
                    return malformed("rope_freqs.weight", problem);
                }
                if let Some(at) = divisors.iter().position(|divisor| !(divisor.is_finite() && *divisor > 0.0))
                {
                    let problem = format!("element {at} must be positive, is {}", divisors[at]);
                    return malformed("rope_freqs.weight", problem);
                }
                (&[], None)
            }
        };
        for &(field, value) in factors {
            if !ROPE_FACTORS.contains(&value) {
                let (least, most) = (ROPE_FACTORS.start(), ROPE_FACTORS.end());
                return malformed(field, format!("must be from {least:e} to {most:e}, is {value:e}"));
            }
        }
        if original.is_some_and(|tokens| !(1..=MAX_CONTEXT_TOKENS).contains(&tokens)) {
            let problem = format!("must be from 1 to {MAX_CONTEXT_TOKENS}");
            return malformed("original_max_position_embeddings", problem);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Architecture, QuantizationType, RopeConfig};

    fn small() -> ModelConfig {
        ModelConfig {
            architecture: Architecture::Llama,
            hidden_size: 64,
            intermediate_size: 160,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 16,
            vocab_size: 320,
            max_position_embeddings: 256,
            rms_norm_eps: 1e-5,
            rope: RopeConfig { theta: 1e4, scaling: RopeScaling::Default },
            tie_word_embeddings: false,
            qkv_bias: false,
            attention_out_bias: false,
            mlp_bias: false,
            qk_norm: false,
            sliding_windows: vec![None; 2],
            bos_token_id: Some(1),
            eos_token_ids: vec![2],
            quantization: QuantizationType::None,
            group_size: None,
        }
    }

    fn field_at_fault(change: impl FnOnce(&mut ModelConfig)) -> String {
        let mut config = small();
        change(&mut config);
        match config.validate(Path::new("f"), &|field| format!("x.{field}")) {
            Err(ModelError::Malformed { field, .. }) => field,
            other => panic!("expected a malformed field, got {other:?}"),
        }
    }

    #[test]
    fn a_sound_config_passes_and_each_fault_is_named() {
        small().validate(Path::new("f"), &str::to_owned).unwrap();
        assert_eq!(field_at_fault(|c| c.num_attention_heads = 0), "x.num_attention_heads");
        assert_eq!(field_at_fault(|c| c.num_key_value_heads = 3), "x.num_key_value_heads");
        assert_eq!(field_at_fault(|c| c.head_dim = 15), "x.head_dim");
        assert_eq!(field_at_fault(|c| c.vocab_size = 1 << 60), "x.vocab_size");
        assert_eq!(field_at_fault(|c| c.num_hidden_layers = 0), "x.num_hidden_layers");
        assert_eq!(field_at_fault(|c| c.rms_norm_eps = 0.0), "x.rms_norm_eps");
        assert_eq!(field_at_fault(|c| c.rope.theta = f64::NAN), "x.rope_theta");
        assert_eq!(field_at_fault(|c| c.rope.scaling = RopeScaling::Linear { factor: -4.0 }), "x.factor");
        assert_eq!(field_at_fault(|c| c.sliding_windows = vec![Some(16)]), "x.sliding_window");
        let divisors = RopeScaling::Divisors(vec![1.0; 7]);
        assert_eq!(field_at_fault(|c| c.rope.scaling = divisors), "x.rope_freqs.weight");
    }
}

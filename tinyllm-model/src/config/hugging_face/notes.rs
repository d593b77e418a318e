//! Notes on values of a config.json that are valid and probably a mistake.

use serde_json::Value;

use crate::config::{ModelConfig, RopeScaling};

impl ModelConfig {
    /// Drops end tokens that the vocabulary does not have: no answer can end with them.
    pub(crate) fn drop_unknown_end_tokens(&mut self) -> Option<String> {
        let is_known = |id: &u32| (*id as usize) < self.vocab_size;
        let unknown: Vec<String> =
            self.eos_token_ids.iter().filter(|id| !is_known(id)).map(ToString::to_string).collect();
        self.eos_token_ids.retain(is_known);
        let problem = || format!("eos_token_id: {} is no token of {}", unknown.join(", "), self.vocab_size);
        (!unknown.is_empty()).then(problem)
    }

    /// Notes on RoPE scaling; transformers warns of the same.
    pub(crate) fn rope_notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let mut factor_below_1 = |factor: f64| {
            if factor < 1.0 {
                notes.push(format!("factor: is {factor}, and should be at least 1: positions are stretched"));
            }
        };
        match &self.rope.scaling {
            RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor, .. } => factor_below_1(*factor),
            RopeScaling::Llama3 { factor, original_max_position_embeddings: original, .. } => {
                factor_below_1(*factor);
                if *original >= self.max_position_embeddings {
                    notes.push(format!(
                        "original_max_position_embeddings: is {original}, and should be below \
                         max_position_embeddings, {}",
                        self.max_position_embeddings
                    ));
                }
            }
            RopeScaling::Yarn { factor, beta_fast, beta_slow, .. } => {
                factor_below_1(*factor);
                if beta_slow > beta_fast {
                    notes.push(format!(
                        "beta_slow: is {beta_slow}, and should be below beta_fast, {beta_fast}"
                    ));
                }
            }
            RopeScaling::Default | RopeScaling::Divisors(_) => (),
        }
        notes
    }
}

/// What yarn takes from elsewhere, because the file does not say it where it should.
pub(crate) fn yarn_notes(config_json: &Value, config: &ModelConfig) -> Vec<String> {
    let RopeScaling::Yarn { factor, original_max_position_embeddings: original, .. } = &config.rope.scaling
    else {
        return Vec::new();
    };
    let is_said = |name: &str| {
        let objects = ["rope_scaling", "rope_parameters"].map(|object| &config_json[object][name]);
        objects.into_iter().any(|value| value.as_f64().is_some_and(|value| value != 0.0))
    };
    let mut notes = Vec::new();
    if !is_said("factor") {
        notes.push(format!("rope_scaling.factor: missing; yarn takes {factor}"));
    }
    if !is_said("original_max_position_embeddings") {
        notes.push(format!("rope_scaling.original_max_position_embeddings: missing; yarn takes {original}"));
    }
    notes
}

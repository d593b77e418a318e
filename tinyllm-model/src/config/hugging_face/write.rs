//! [`ModelConfig`] as a config.json, for models that came without one (out of a GGUF).
//!
//! A model that has a config.json keeps it: writers edit a copy.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::{
    ModelError, Result,
    config::{Architecture, ModelConfig, RopeScaling},
};

impl ModelConfig {
    /// The config.json that transformers 4 and 5 read as this model, without quantisation and without a dtype.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] where config.json has no word for it: one rotary divisor for each frequency, or
    /// windows and biases that the family does not have. `source` is what the error names.
    pub fn to_hugging_face(&self, source: &Path) -> Result<Value> {
        let mut config = Map::new();
        let mut set = |key: &str, value: Value| config.insert(key.to_owned(), value);
        set("architectures", json!([self.architecture.class()]));
        set("model_type", json!(self.architecture.model_type()));
        set("vocab_size", json!(self.vocab_size));
        set("hidden_size", json!(self.hidden_size));
        set("intermediate_size", json!(self.intermediate_size));
        set("num_hidden_layers", json!(self.num_hidden_layers));
        set("num_attention_heads", json!(self.num_attention_heads));
        set("num_key_value_heads", json!(self.num_key_value_heads));
        set("head_dim", json!(self.head_dim));
        set("hidden_act", json!("silu"));
        set("max_position_embeddings", json!(self.max_position_embeddings));
        set("rms_norm_eps", json!(self.rms_norm_eps));
        set("rope_theta", json!(self.rope.theta));
        set("rope_scaling", rope_scaling(&self.rope.scaling, source)?);
        set("tie_word_embeddings", json!(self.tie_word_embeddings));
        set("bos_token_id", json!(self.bos_token_id));
        set(
            "eos_token_id",
            match self.eos_token_ids.as_slice() {
                [] => Value::Null,
                [one] => json!(one),
                several => json!(several),
            },
        );
        match self.architecture {
            Architecture::Llama => {
                set("attention_bias", json!(self.qkv_bias));
                set("mlp_bias", json!(self.mlp_bias));
            }
            Architecture::Mistral => {
                set("sliding_window", json!(self.sliding_windows.first().copied().flatten()));
            }
            Architecture::Qwen2 | Architecture::Qwen3 => {
                let window = self.sliding_windows.iter().copied().flatten().next();
                let layer_type = |window: &Option<usize>| {
                    if window.is_some() { "sliding_attention" } else { "full_attention" }
                };
                let layer_types: Vec<_> = self.sliding_windows.iter().map(layer_type).collect();
                set("use_sliding_window", json!(window.is_some()));
                set("sliding_window", json!(window));
                set("layer_types", json!(layer_types));
                if self.architecture == Architecture::Qwen3 {
                    set("attention_bias", json!(self.qkv_bias));
                }
            }
        }
        let config = Value::Object(config);
        // Reading it back checks that nothing was lost.
        let mut lost = Self::from_json_value(&config, source)?;
        (lost.quantization, lost.group_size) = (self.quantization, self.group_size);
        if lost != *self {
            let what = format!("this {} model's windows or biases", self.architecture.model_type());
            let remedy = "config.json can only say what transformers' model of that family does";
            return Err(ModelError::unsupported(source, "config.json", what, remedy));
        }
        Ok(config)
    }
}

impl Architecture {
    const fn class(self) -> &'static str {
        match self {
            Architecture::Llama => "LlamaForCausalLM",
            Architecture::Mistral => "MistralForCausalLM",
            Architecture::Qwen2 => "Qwen2ForCausalLM",
            Architecture::Qwen3 => "Qwen3ForCausalLM",
        }
    }
}

fn rope_scaling(scaling: &RopeScaling, source: &Path) -> Result<Value> {
    Ok(match scaling {
        RopeScaling::Default => Value::Null,
        RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original_max_position_embeddings,
        }),
        RopeScaling::Yarn {
            factor,
            attention_factor,
            beta_fast,
            beta_slow,
            truncate,
            original_max_position_embeddings,
        } => json!({
            "rope_type": "yarn",
            "factor": factor,
            "attention_factor": attention_factor,
            "beta_fast": beta_fast,
            "beta_slow": beta_slow,
            "truncate": truncate,
            "original_max_position_embeddings": original_max_position_embeddings,
        }),
        RopeScaling::Dynamic { factor, original_max_position_embeddings } => json!({
            "rope_type": "dynamic",
            "factor": factor,
            "original_max_position_embeddings": original_max_position_embeddings,
        }),
        RopeScaling::Divisors(_) => {
            return Err(ModelError::unsupported(
                source,
                "rope_freqs.weight",
                "writing one rotary divisor for each frequency to a config.json",
                "start from the model's Hugging Face directory instead of its GGUF",
            ));
        }
    })
}

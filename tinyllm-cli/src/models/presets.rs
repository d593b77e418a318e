//! Configurations of well-known models, as their config.json has them.

use std::path::Path;

use serde_json::{Value, json};
use tinyllm_model::ModelConfig;

/// Names and configurations.
pub(crate) const NAMES: [&str; 8] = [
    "llama-7b",
    "llama-13b",
    "llama-70b",
    "llama-3-8b",
    "tinyllama-1.1b",
    "smollm2-135m",
    "mistral-7b",
    "qwen2.5-7b",
];

/// The configuration of one of [`NAMES`].
pub(crate) fn config(name: &str) -> anyhow::Result<ModelConfig> {
    // type, hidden, inner, layers, heads, kv heads, vocabulary, context, RoPE theta, tied
    let json = match name {
        "llama-7b" => model("llama", [4096, 11008, 32, 32, 32, 32000, 2048], 1e4, false),
        "llama-13b" => model("llama", [5120, 13824, 40, 40, 40, 32000, 2048], 1e4, false),
        "llama-70b" => model("llama", [8192, 28672, 80, 64, 8, 32000, 4096], 1e4, false),
        "llama-3-8b" => model("llama", [4096, 14336, 32, 32, 8, 128_256, 8192], 5e5, false),
        "tinyllama-1.1b" => model("llama", [2048, 5632, 22, 32, 4, 32000, 2048], 1e4, false),
        "smollm2-135m" => model("llama", [576, 1536, 30, 9, 3, 49152, 8192], 1e5, true),
        "mistral-7b" => model("mistral", [4096, 14336, 32, 32, 8, 32768, 32768], 1e6, false),
        "qwen2.5-7b" => model("qwen2", [3584, 18944, 28, 28, 4, 152_064, 32768], 1e6, false),
        _ => anyhow::bail!("{name}: no such preset; there are {}", NAMES.join(", ")),
    };
    Ok(ModelConfig::from_json_value(&json, Path::new(name))?)
}

fn model(model_type: &str, sizes: [u64; 7], rope_theta: f64, tied: bool) -> Value {
    let [hidden, inner, layers, heads, kv_heads, vocabulary, context] = sizes;
    json!({
        "model_type": model_type, "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "vocab_size": vocabulary,
        "max_position_embeddings": context, "rope_theta": rope_theta, "tie_word_embeddings": tied,
        "rms_norm_eps": 1e-5, "hidden_act": "silu", "sliding_window": null,
    })
}

//! Metadata to [`ModelConfig`]. What the metadata does not say (biases, tied embeddings) the tensors do.

use super::{Gguf, Metadata, Value, keys::Keys, rope};
use crate::{
    ModelConfig, ModelError, Result,
    config::{Architecture, QuantizationType, RopeConfig},
};

/// The configuration of the model in a file, checked.
///
/// # Errors
/// Where a key is absent, of the wrong type or out of range, or the model is not one the engine runs.
pub(super) fn model_config(gguf: &Gguf) -> Result<ModelConfig> {
    let metadata = gguf.metadata();
    let (architecture, name) = architecture(metadata)?;
    let keys = Keys { metadata, architecture: name };
    refuse_variants(&keys)?;

    let vocab_size = vocab_size(gguf, &keys)?;
    let hidden_size = keys.required_size("embedding_length")?;
    let num_attention_heads = keys.required_size("attention.head_count")?;
    let head_dim = head_dim(&keys, hidden_size, num_attention_heads)?;
    let num_hidden_layers = keys.required_size("block_count")?;
    if num_hidden_layers > gguf.tensors().len() {
        let problem =
            format!("is {num_hidden_layers}, and the file holds only {} tensors", gguf.tensors().len());
        return Err(keys.malformed("block_count", problem));
    }
    let sliding_window = keys.size("attention.sliding_window")?.filter(|&window| window > 0);
    let (bos_token_id, eos_token_ids) = special_tokens(metadata, vocab_size)?;
    let has = |suffix: &str| gguf.tensor(&format!("blk.0.{suffix}")).is_some();
    let any_bias = |tensors: &[&str]| tensors.iter().any(|tensor| has(&format!("{tensor}.bias")));

    let config = ModelConfig {
        architecture,
        hidden_size,
        intermediate_size: keys.required_size("feed_forward_length")?,
        num_hidden_layers,
        num_attention_heads,
        num_key_value_heads: keys.size("attention.head_count_kv")?.unwrap_or(num_attention_heads),
        head_dim,
        vocab_size,
        max_position_embeddings: keys.required_size("context_length")?,
        rms_norm_eps: keys
            .float("attention.layer_norm_rms_epsilon")?
            .ok_or_else(|| metadata.missing(&keys.key("attention.layer_norm_rms_epsilon")))?,
        rope: RopeConfig {
            theta: keys.float("rope.freq_base")?.unwrap_or(10_000.0),
            scaling: rope::scaling(gguf, &keys, head_dim)?,
        },
        tie_word_embeddings: gguf.tensor("output.weight").is_none(),
        qkv_bias: architecture == Architecture::Qwen2 || any_bias(&["attn_q", "attn_k", "attn_v"]),
        attention_out_bias: any_bias(&["attn_output"]),
        mlp_bias: any_bias(&["ffn_gate", "ffn_up", "ffn_down"]),
        qk_norm: architecture == Architecture::Qwen3,
        sliding_windows: vec![sliding_window; num_hidden_layers],
        bos_token_id,
        eos_token_ids,
        quantization: QuantizationType::None,
        group_size: None,
    };
    config.validate(metadata.path(), &|field| key_of_field(&keys, field))?;
    Ok(config)
}

fn architecture(metadata: Metadata<'_>) -> Result<(Architecture, &str)> {
    const KEY: &str = "general.architecture";
    let name = metadata.string(KEY)?.ok_or_else(|| metadata.missing(KEY))?;
    let architecture = match name {
        "llama" => Architecture::Llama,
        "mistral" => Architecture::Mistral,
        "qwen2" => Architecture::Qwen2,
        "qwen3" => Architecture::Qwen3,
        other => {
            let what = format!("the architecture \"{}\"", super::cursor::shown(other));
            return Err(ModelError::unsupported(metadata.path(), KEY, what, Architecture::SUPPORTED));
        }
    };
    Ok((architecture, name))
}

/// Refuses models that share an architecture's name and are built differently.
fn refuse_variants(keys: &Keys<'_>) -> Result<()> {
    const DENSE: &str = "dense decoders are: LLaMA, Mistral, Qwen2, Qwen3";
    if keys.size("expert_count")?.is_some_and(|experts| experts > 0) {
        return Err(keys.unsupported("expert_count", "a mixture of experts", DENSE));
    }
    if keys.metadata.bool(&keys.key("attention.causal"))? == Some(false) {
        return Err(keys.unsupported("attention.causal", "attention in both directions", DENSE));
    }
    if keys.metadata.contains(&keys.key("attention.sliding_window_pattern")) {
        let supported = "one window for all layers (attention.sliding_window) is";
        return Err(keys.unsupported("attention.sliding_window_pattern", "a window by layer", supported));
    }
    Ok(())
}

fn head_dim(keys: &Keys<'_>, hidden_size: usize, num_attention_heads: usize) -> Result<usize> {
    let head_dim = match keys.size("attention.key_length")? {
        Some(key_length) => key_length,
        None if num_attention_heads > 0 && hidden_size.is_multiple_of(num_attention_heads) => {
            hidden_size / num_attention_heads
        }
        None => {
            let problem = format!(
                "is {num_attention_heads}, and must divide {} {hidden_size} where {} is not given",
                keys.key("embedding_length"),
                keys.key("attention.key_length")
            );
            return Err(keys.malformed("attention.head_count", problem));
        }
    };
    for (suffix, supported) in [
        ("attention.value_length", "values as wide as keys are"),
        ("rope.dimension_count", "rotary positions over whole heads are"),
    ] {
        if let Some(length) = keys.size(suffix)?
            && length != head_dim
        {
            return Err(keys.unsupported(
                suffix,
                format!("{length} where heads are {head_dim} wide"),
                supported,
            ));
        }
    }
    Ok(head_dim)
}

/// The rows of the embedding table, which the metadata may repeat.
fn vocab_size(gguf: &Gguf, keys: &Keys<'_>) -> Result<usize> {
    const TABLE: &str = "token_embd.weight";
    let table = gguf
        .tensor(TABLE)
        .ok_or_else(|| ModelError::malformed(gguf.path(), TABLE, "the tensor is missing"))?;
    let rows = table.shape[0];
    match keys.size("vocab_size")? {
        Some(claimed) if claimed != rows => {
            Err(keys.malformed("vocab_size", format!("is {claimed}, and {TABLE} has {rows} rows")))
        }
        _ => Ok(rows),
    }
}

/// The token that begins a sequence, and those that end one: end of sequence, of turn, of message.
fn special_tokens(metadata: Metadata<'_>, vocab_size: usize) -> Result<(Option<u32>, Vec<u32>)> {
    let token = |key: &str| match metadata.get(key) {
        // Written for "none", as i32 or u32.
        Some(Value::Integer(-1 | 0xffff_ffff)) => Ok(None),
        _ => match metadata.u32(key)? {
            Some(id) if id as usize >= vocab_size => {
                Err(metadata.malformed(key, format!("is {id}, and the vocabulary has {vocab_size} tokens")))
            }
            id => Ok(id),
        },
    };
    let mut ends = Vec::new();
    for key in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"] {
        ends.extend(token(key)?.filter(|id| !ends.contains(id)));
    }
    Ok((token("tokenizer.ggml.bos_token_id")?, ends))
}

/// What the file calls a field of [`ModelConfig`].
fn key_of_field(keys: &Keys<'_>, field: &'static str) -> String {
    keys.key(match field {
        "hidden_size" => "embedding_length",
        "intermediate_size" => "feed_forward_length",
        "num_hidden_layers" => "block_count",
        "num_attention_heads" => "attention.head_count",
        "num_key_value_heads" => "attention.head_count_kv",
        "head_dim" => "attention.key_length",
        "vocab_size" => "vocab_size",
        "max_position_embeddings" => "context_length",
        "rms_norm_eps" => "attention.layer_norm_rms_epsilon",
        "sliding_window" => "attention.sliding_window",
        "rope_theta" => "rope.freq_base",
        "factor" => "rope.scaling.factor",
        "attention_factor" => "rope.scaling.attn_factor",
        "beta_fast" => "rope.scaling.yarn_beta_fast",
        "beta_slow" => "rope.scaling.yarn_beta_slow",
        "original_max_position_embeddings" => "rope.scaling.original_context_length",
        other => return other.to_owned(),
    })
}

//! config.json as transformers 4 and 5 write it, into [`ModelConfig`], with transformers' defaults for what is absent.
//!
//! The forms of rotary scaling are in `rope`, ids that generation_config.json adds in `generation`, and the way back in
//! `write`. `quantization_config` is read by `compressed_tensors`.

mod generation;
mod notes;
mod rope;
mod write;

use std::path::Path;

pub(crate) use notes::yarn_notes;
use serde_json::Value;

use super::{
    Architecture, Fields, ModelConfig, QuantizationType, RopeConfig, compressed_tensors::QuantizationConfig,
    fields, python_json, read_bounded, validate,
};
use crate::{ModelError, Result};

/// The longest config.json that is read; real ones are below 200 KB.
pub(crate) const MAX_CONFIG_BYTES: u64 = 4 << 20;

impl ModelConfig {
    /// Reads a config.json, and the ids that end a sequence from a generation_config.json in the same directory.
    ///
    /// # Errors
    /// Where the file cannot be read, contradicts itself, or describes a model that the engine does not run.
    pub fn from_hugging_face(config_json: &Path) -> Result<Self> {
        let mut config = Self::from_json(&read_bounded(config_json, MAX_CONFIG_BYTES)?, config_json)?;
        // Problems with the ids are in the checkpoint's notes.
        let _ = config.drop_unknown_end_tokens();
        let _ = config.add_generation_config(&config_json.with_file_name("generation_config.json"));
        Ok(config)
    }

    /// Reads the contents of a config.json; `label` is what errors call it.
    ///
    /// # Errors
    /// As [`ModelConfig::from_hugging_face`].
    pub fn from_json(config_json: &[u8], label: &Path) -> Result<Self> {
        Self::from_json_value(&parse_config_bytes(config_json, label)?, label)
    }

    /// Reads a parsed config.json.
    ///
    /// # Errors
    /// As [`ModelConfig::from_hugging_face`].
    pub fn from_json_value(config_json: &Value, label: &Path) -> Result<Self> {
        let fields = Fields::top(config_json, label)?;
        let architecture = architecture(&fields)?;
        let defaults = Defaults::of(architecture);
        refuse_variants(&fields)?;

        let num_hidden_layers = fields.required_size("num_hidden_layers")?;
        // A list by layer follows, so this one cannot wait for the common checks.
        if num_hidden_layers > validate::MAX_LAYERS {
            let problem = format!("must be at most {}, is {num_hidden_layers}", validate::MAX_LAYERS);
            return Err(fields.malformed("num_hidden_layers", problem));
        }
        let hidden_size = fields.required_size("hidden_size")?;
        let num_attention_heads = fields.required_size("num_attention_heads")?;
        let num_key_value_heads = match fields.size("num_key_value_heads")? {
            Some(heads) => heads,
            None if fields.has_key("num_key_value_heads") => num_attention_heads,
            None => defaults.num_key_value_heads.unwrap_or(num_attention_heads),
        };
        let head_dim = match fields.size("head_dim")?.or(defaults.head_dim) {
            Some(head_dim) => head_dim,
            // No heads are reported as such by the common checks.
            None => hidden_size.checked_div(num_attention_heads).unwrap_or(1),
        };
        let max_position_embeddings =
            fields.size("max_position_embeddings")?.unwrap_or(defaults.max_position_embeddings);
        let attention_bias = match architecture {
            Architecture::Llama | Architecture::Qwen3 => fields.boolean("attention_bias")?.unwrap_or(false),
            Architecture::Mistral | Architecture::Qwen2 => false,
        };
        let quantization = QuantizationConfig::from_config_json(&fields)?;
        let config = ModelConfig {
            architecture,
            hidden_size,
            intermediate_size: fields.required_size("intermediate_size")?,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            vocab_size: fields.required_size("vocab_size")?,
            max_position_embeddings,
            rms_norm_eps: fields.float("rms_norm_eps")?.unwrap_or(1e-6),
            rope: RopeConfig::from_fields(&fields, max_position_embeddings)?,
            tie_word_embeddings: fields.boolean("tie_word_embeddings")?.unwrap_or(false),
            qkv_bias: attention_bias || architecture == Architecture::Qwen2,
            attention_out_bias: attention_bias,
            mlp_bias: architecture == Architecture::Llama && fields.boolean("mlp_bias")?.unwrap_or(false),
            qk_norm: architecture == Architecture::Qwen3,
            sliding_windows: sliding_windows(&fields, architecture, num_hidden_layers)?,
            bos_token_id: token_ids(&fields, "bos_token_id", defaults.bos_token_id)?.first().copied(),
            eos_token_ids: token_ids(&fields, "eos_token_id", defaults.eos_token_id)?,
            quantization: match quantization {
                Some(_) => QuantizationType::W8A16,
                None => QuantizationType::None,
            },
            group_size: quantization.and_then(|quantization| quantization.first_group_size()),
        };
        config.validate(label, &|field| field_in_file(&fields, field))?;
        Ok(config)
    }
}

/// The contents of a config.json, parsed.
pub(crate) fn parse_config_bytes(config_json: &[u8], label: &Path) -> Result<Value> {
    if config_json.len() as u64 > MAX_CONFIG_BYTES {
        let problem = format!("is longer than {MAX_CONFIG_BYTES} bytes");
        return Err(ModelError::malformed(label, "file", problem));
    }
    python_json::parse(config_json)
        .map_err(|error| ModelError::malformed(label, "JSON", format!("is not valid: {error}")))
}

/// What transformers assumes of keys that a config.json leaves out.
struct Defaults {
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    bos_token_id: Option<u32>,
    eos_token_id: Option<u32>,
}

impl Defaults {
    fn of(architecture: Architecture) -> Self {
        match architecture {
            Architecture::Llama => Defaults {
                num_key_value_heads: None,
                head_dim: None,
                max_position_embeddings: 2048,
                bos_token_id: Some(1),
                eos_token_id: Some(2),
            },
            Architecture::Mistral => Defaults {
                num_key_value_heads: Some(8),
                head_dim: None,
                max_position_embeddings: 131_072,
                bos_token_id: Some(1),
                eos_token_id: Some(2),
            },
            Architecture::Qwen2 => Defaults {
                num_key_value_heads: Some(32),
                head_dim: None,
                max_position_embeddings: 32_768,
                bos_token_id: None,
                eos_token_id: None,
            },
            Architecture::Qwen3 => Defaults { head_dim: Some(128), ..Defaults::of(Architecture::Qwen2) },
        }
    }
}

/// The family, by `model_type` or else by `architectures`; both must be ones that run, and agree.
fn architecture(fields: &Fields<'_>) -> Result<Architecture> {
    let class = fields.strings("architectures")?.and_then(|classes| classes.first().copied());
    let by_class = match class {
        None => None,
        Some("LlamaForCausalLM" | "LLaMAForCausalLM") => Some(Architecture::Llama),
        Some("MistralForCausalLM") => Some(Architecture::Mistral),
        Some("Qwen2ForCausalLM") => Some(Architecture::Qwen2),
        Some("Qwen3ForCausalLM") => Some(Architecture::Qwen3),
        Some(other) => return Err(fields.unsupported("architectures", other, Architecture::SUPPORTED)),
    };
    let by_type = match fields.string("model_type")? {
        None => None,
        Some("llama") => Some(Architecture::Llama),
        Some("mistral") => Some(Architecture::Mistral),
        Some("qwen2") => Some(Architecture::Qwen2),
        Some("qwen3") => Some(Architecture::Qwen3),
        Some(other) => return Err(fields.unsupported("model_type", other, Architecture::SUPPORTED)),
    };
    match (by_type, by_class) {
        (Some(by_type), Some(by_class)) if by_type != by_class => Err(fields.malformed(
            "architectures",
            format!("must be of model_type {}, is {}", by_type.model_type(), class.unwrap_or_default()),
        )),
        (Some(architecture), _) | (None, Some(architecture)) => Ok(architecture),
        (None, None) => Err(fields.malformed("model_type", format!("missing; {}", Architecture::SUPPORTED))),
    }
}

/// Refuses switches that would change the arithmetic.
fn refuse_variants(fields: &Fields<'_>) -> Result<()> {
    if let Some(activation) = fields.string("hidden_act")?
        && activation != "silu"
    {
        return Err(fields.unsupported("hidden_act", activation, "supported: silu"));
    }
    if let Some(part) = fields.float("partial_rotary_factor")?
        && part != 1.0
    {
        return Err(fields.unsupported("partial_rotary_factor", part.to_string(), "supported: 1.0"));
    }
    Ok(())
}

/// The window of each layer. LLaMA has none; Mistral's is for every layer; Qwen's must be switched on.
fn sliding_windows(
    fields: &Fields<'_>,
    architecture: Architecture,
    num_hidden_layers: usize,
) -> Result<Vec<Option<usize>>> {
    const DEFAULT_WINDOW_TOKENS: usize = 4096;
    let declared = || -> Result<Option<usize>> {
        let window = fields.size("sliding_window")?;
        Ok(if fields.has_key("sliding_window") { window } else { Some(DEFAULT_WINDOW_TOKENS) })
    };
    let none = vec![None; num_hidden_layers];
    match architecture {
        Architecture::Llama => Ok(none),
        Architecture::Mistral => Ok(vec![declared()?; num_hidden_layers]),
        Architecture::Qwen2 | Architecture::Qwen3 => {
            let Some(layer_types) = fields.strings("layer_types")? else {
                if !fields.boolean("use_sliding_window")?.unwrap_or(false) {
                    return Ok(none);
                }
                let (window, first) = (declared()?, fields.size("max_window_layers")?.unwrap_or(28));
                return Ok((0..num_hidden_layers).map(|layer| window.filter(|_| layer >= first)).collect());
            };
            if layer_types.len() != num_hidden_layers {
                let problem = format!(
                    "must name the type of each of the {num_hidden_layers} layers, names {}",
                    layer_types.len()
                );
                return Err(fields.malformed("layer_types", problem));
            }
            let window = match fields.boolean("use_sliding_window")? {
                Some(true) => declared()?,
                _ => None,
            };
            layer_types
                .iter()
                .map(|layer_type| match *layer_type {
                    "full_attention" => Ok(None),
                    "sliding_attention" => Ok(window),
                    other => Err(fields.unsupported(
                        "layer_types",
                        other,
                        "supported: full_attention, sliding_attention",
                    )),
                })
                .collect()
        }
    }
}

/// An id or a list of ids; null is none.
fn token_ids(fields: &Fields<'_>, key: &str, default: Option<u32>) -> Result<Vec<u32>> {
    let wrong =
        || fields.malformed(key, "must be a token id (an integer from 0 to 4294967295) or a list of them");
    let one = |value: &Value| fields::as_size(value).and_then(|id| u32::try_from(id).ok()).ok_or_else(wrong);
    match fields.get(key) {
        None if fields.has_key(key) => Ok(Vec::new()),
        None => Ok(default.into_iter().collect()),
        Some(Value::Array(ids)) => ids.iter().map(one).collect(),
        Some(id) => Ok(vec![one(id)?]),
    }
}

/// Where the file keeps a field: those of rotary positions may be inside an object.
fn field_in_file(fields: &Fields<'_>, field: &'static str) -> String {
    for object in ["rope_scaling", "rope_parameters"] {
        if fields.get(object).is_some_and(|object| object.get(field).is_some()) {
            return format!("{object}.{field}");
        }
    }
    if field == "group_size" { "quantization_config.config_groups".to_owned() } else { field.to_owned() }
}

#[cfg(test)]
mod tests;

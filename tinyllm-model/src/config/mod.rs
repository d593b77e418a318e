//! What a model is: architecture and sizes, under the names that Hugging Face's config.json uses.
//!
//! Only the types are here; `hugging_face` reads them from config.json, `checkpoint::gguf` from metadata.

pub(crate) mod compressed_tensors;
mod fields;
mod hugging_face;
pub(crate) mod python_json;
mod rope;
pub(crate) mod validate;

pub(crate) use fields::{Fields, read_bounded};
pub(crate) use hugging_face::{MAX_CONFIG_BYTES, parse_config_bytes, yarn_notes};

/// The families of models the engine runs. They differ in names and switches, not in the shape of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Architecture {
    /// LLaMA 1 to 3.3, SmolLM2, TinyLlama: `LlamaForCausalLM`.
    Llama,
    /// Mistral: `MistralForCausalLM`.
    Mistral,
    /// Qwen2 and Qwen2.5: `Qwen2ForCausalLM`.
    Qwen2,
    /// Qwen3 (dense): `Qwen3ForCausalLM`.
    Qwen3,
}

impl Architecture {
    /// The `model_type` of config.json.
    pub const fn model_type(self) -> &'static str {
        match self {
            Architecture::Llama => "llama",
            Architecture::Mistral => "mistral",
            Architecture::Qwen2 => "qwen2",
            Architecture::Qwen3 => "qwen3",
        }
    }

    /// The list that refusals print.
    pub const SUPPORTED: &'static str =
        "supported: llama (LLaMA 1 to 3.3, SmolLM2, TinyLlama), mistral, qwen2 (Qwen2, Qwen2.5), qwen3";
}

/// Rotary position embedding (RoPE).
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// The base of the frequencies.
    pub theta: f64,
    /// How they are scaled for longer contexts.
    pub scaling: RopeScaling,
}

/// RoPE scaling: the `rope_type` of config.json with its own fields.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// None.
    Default,
    /// Positions divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// NTK by parts (LLaMA 3.1 and later).
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// Below this many rotations in the original context a frequency is divided.
        low_freq_factor: f64,
        /// Above this many rotations it is kept.
        high_freq_factor: f64,
        /// The context the model was trained with first.
        original_max_position_embeddings: usize,
    },
    /// YaRN.
    Yarn {
        /// The divisor.
        factor: f64,
        /// What cos and sin are multiplied with; already resolved (mscale, or 0.1 ln(factor) + 1).
        attention_factor: f64,
        /// Rotations above which a frequency is kept.
        beta_fast: f64,
        /// Rotations below which it is divided.
        beta_slow: f64,
        /// Whether the ramp's ends are rounded to whole dimensions (the default).
        truncate: bool,
        /// The context the model was trained with first.
        original_max_position_embeddings: usize,
    },
    /// Dynamic NTK: plain within the original context, refused beyond it.
    Dynamic {
        /// The factor, kept for display.
        factor: f64,
        /// The context within which it is plain RoPE.
        original_max_position_embeddings: usize,
    },
    /// One divisor for each frequency, as a GGUF's `rope_freqs.weight` gives them (LLaMA 3 there).
    Divisors(
        /// `head_dim / 2` divisors.
        Vec<f32>,
    ),
}

/// How the file stores its Linear weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuantizationType {
    /// 16- or 32-bit floating point (or a GGUF quantisation that is dequantised while loading).
    None,
    /// int8 weights with per-group scales, 16-bit activations.
    W8A16,
}

/// A model's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The family.
    pub architecture: Architecture,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of a head; even.
    pub head_dim: usize,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// The longest sequence the model was trained for, in tokens.
    pub max_position_embeddings: usize,
    /// Added under the root of every norm.
    pub rms_norm_eps: f64,
    /// RoPE.
    pub rope: RopeConfig,
    /// Whether lm_head is the embedding table.
    pub tie_word_embeddings: bool,
    /// Biases on q, k and v.
    pub qkv_bias: bool,
    /// A bias on the attention's output projection.
    pub attention_out_bias: bool,
    /// Biases on gate, up and down.
    pub mlp_bias: bool,
    /// RMS norms on each head of q and k (Qwen3).
    pub qk_norm: bool,
    /// For each layer: the sliding window, in keys that a query attends to, itself included; `None` is full attention.
    pub sliding_windows: Vec<Option<usize>>,
    /// The token that begins a sequence.
    pub bos_token_id: Option<u32>,
    /// The tokens that end one.
    pub eos_token_ids: Vec<u32>,
    /// How the file stores Linear weights.
    pub quantization: QuantizationType,
    /// Weights a scale covers along the input; `None` is per channel. Meaningless where `quantization` is `None`.
    pub group_size: Option<usize>,
}

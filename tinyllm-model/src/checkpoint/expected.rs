//! Which tensors a model of a given configuration has, with their shapes, and which others a file may hold.

use crate::ModelConfig;

/// The role of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TensorKind {
    /// The table of token embeddings, `[vocab_size, hidden_size]`.
    Embedding,
    /// The weight of a Linear, `[n, k]`.
    Linear,
    /// A bias or the weight of a norm.
    Vector,
}

/// A tensor that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExpectedTensor {
    /// The Hugging Face name.
    pub(crate) name: String,
    /// Slowest dimension first.
    pub(crate) shape: Vec<usize>,
    /// What it is.
    pub(crate) kind: TensorKind,
}

/// The token embeddings' name.
pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";
/// The output projection's name.
pub(crate) const LM_HEAD: &str = "lm_head.weight";

/// Every tensor of a model, in the order of the forward pass.
pub(crate) fn expected_tensors(config: &ModelConfig) -> Vec<ExpectedTensor> {
    let ModelConfig { hidden_size, intermediate_size, vocab_size, head_dim, .. } = *config;
    let query_width = config.num_attention_heads * head_dim;
    let key_width = config.num_key_value_heads * head_dim;
    let mut list = List(Vec::new());
    list.push(EMBEDDING.to_owned(), vec![vocab_size, hidden_size], TensorKind::Embedding);
    for layer in 0..config.num_hidden_layers {
        let layer = format!("model.layers.{layer}");
        let (attention, mlp) = (format!("{layer}.self_attn"), format!("{layer}.mlp"));
        list.vector(format!("{layer}.input_layernorm.weight"), hidden_size);
        list.linear(format!("{attention}.q_proj"), query_width, hidden_size, config.qkv_bias);
        list.linear(format!("{attention}.k_proj"), key_width, hidden_size, config.qkv_bias);
        list.linear(format!("{attention}.v_proj"), key_width, hidden_size, config.qkv_bias);
        if config.qk_norm {
            list.vector(format!("{attention}.q_norm.weight"), head_dim);
            list.vector(format!("{attention}.k_norm.weight"), head_dim);
        }
        list.linear(format!("{attention}.o_proj"), hidden_size, query_width, config.attention_out_bias);
        list.vector(format!("{layer}.post_attention_layernorm.weight"), hidden_size);
        list.linear(format!("{mlp}.gate_proj"), intermediate_size, hidden_size, config.mlp_bias);
        list.linear(format!("{mlp}.up_proj"), intermediate_size, hidden_size, config.mlp_bias);
        list.linear(format!("{mlp}.down_proj"), hidden_size, intermediate_size, config.mlp_bias);
    }
    list.vector("model.norm.weight".to_owned(), hidden_size);
    if !config.tie_word_embeddings {
        list.push(LM_HEAD.to_owned(), vec![vocab_size, hidden_size], TensorKind::Linear);
    }
    list.0
}

/// Whether a tensor that the model does not need may be in the file: rotary frequencies that the configuration gives
/// anyway. A tied `lm_head.weight` may be there too, where it is equal to the embedding; that needs its bytes.
pub(crate) fn is_harmless_extra(name: &str) -> bool {
    name == "rope_freqs.weight"
        || name.strip_suffix("rotary_emb.inv_freq").is_some_and(|module| module.ends_with('.'))
}

struct List(Vec<ExpectedTensor>);

impl List {
    fn push(&mut self, name: String, shape: Vec<usize>, kind: TensorKind) {
        self.0.push(ExpectedTensor { name, shape, kind });
    }

    fn vector(&mut self, name: String, elements: usize) {
        self.push(name, vec![elements], TensorKind::Vector);
    }

    fn linear(&mut self, module: String, n: usize, k: usize, bias: bool) {
        self.push(format!("{module}.weight"), vec![n, k], TensorKind::Linear);
        if bias {
            self.vector(format!("{module}.bias"), n);
        }
    }
}

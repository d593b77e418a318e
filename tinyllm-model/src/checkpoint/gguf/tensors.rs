//! Which of a file's tensors is which of the model's: names, shapes, and the order of rows.

use std::collections::HashMap;

use super::{Gguf, GgufTensor, cursor::shown};
use crate::{ModelConfig, ModelError, Result, config::Architecture};

/// One divisor for each rotary frequency; part of the configuration, not of the weights.
pub(super) const ROPE_FREQS: &str = "rope_freqs.weight";

/// Names in a GGUF and in Hugging Face's files, without `.weight` or `.bias`.
const OUTSIDE_LAYERS: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// The same inside layer N, after `blk.N.` and `model.layers.N.`.
const INSIDE_LAYERS: [(&str, &str); 11] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// How the rows of a tensor lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowOrder {
    /// As Hugging Face has them.
    HuggingFace,
    /// Inside each head the first and second half alternate, for rotary positions that turn neighbours.
    Interleaved { head_dim: usize },
}

impl RowOrder {
    /// Where the file has the row that Hugging Face has at `row`.
    pub(super) fn row_in_file(self, row: usize) -> usize {
        match self {
            RowOrder::HuggingFace => row,
            RowOrder::Interleaved { head_dim } => {
                let (head, in_head) = (row / head_dim, row % head_dim);
                let (half, pair) = (in_head / (head_dim / 2), in_head % (head_dim / 2));
                head * head_dim + 2 * pair + half
            }
        }
    }
}

/// A tensor of the model, found in the file.
pub(super) struct Found {
    /// Index into [`Gguf::tensors`].
    pub(super) index: usize,
    /// The Hugging Face name.
    pub(super) name: String,
    pub(super) order: RowOrder,
}

/// Finds every tensor of the model, in file order.
///
/// # Errors
/// Where one is missing or misshapen, or the file has one that the model does not.
pub(super) fn find(gguf: &Gguf, config: &ModelConfig) -> Result<Vec<Found>> {
    let malformed = |name: &str, problem: String| ModelError::malformed(gguf.path(), shown(name), problem);
    let expected = expected(config);
    let mut by_name: HashMap<&str, &Expected> =
        expected.iter().map(|tensor| (tensor.name_in_file.as_str(), tensor)).collect();
    let mut found = Vec::with_capacity(expected.len());
    for (index, tensor) in gguf.tensors().iter().enumerate() {
        let Some(wanted) = by_name.remove(tensor.name.as_str()) else {
            if is_ignored(&tensor.name) {
                continue;
            }
            return Err(malformed(&tensor.name, unexpected(tensor, config)));
        };
        if tensor.shape != wanted.shape {
            let problem =
                format!("has shape {:?}, and the metadata asks for {:?}", tensor.shape, wanted.shape);
            return Err(malformed(&tensor.name, problem));
        }
        found.push(Found { index, name: wanted.name.clone(), order: wanted.order });
    }
    match expected.iter().find(|tensor| by_name.contains_key(tensor.name_in_file.as_str())) {
        Some(missing) => {
            let problem =
                format!("the tensor is missing; the model needs it, with shape {:?}", missing.shape);
            Err(malformed(&missing.name_in_file, problem))
        }
        None => Ok(found),
    }
}

/// Tensors that hold rotary frequencies: read with the configuration, or computable from it.
fn is_ignored(name: &str) -> bool {
    let inverse_frequencies = ["attn_rot_embd", "attn_rot_embd.weight", "rotary_emb.inv_freq"];
    name == ROPE_FREQS || inverse_frequencies.iter().any(|suffix| name.ends_with(suffix))
}

fn unexpected(tensor: &GgufTensor, config: &ModelConfig) -> String {
    let layers = config.num_hidden_layers;
    let family = config.architecture.model_type();
    format!(
        "{:?} {}: a {family} model of {layers} layers has no such tensor",
        tensor.shape,
        tensor.ggml_type.name()
    )
}

/// A tensor that the configuration asks for.
struct Expected {
    name_in_file: String,
    name: String,
    shape: Vec<usize>,
    order: RowOrder,
}

fn expected(config: &ModelConfig) -> Vec<Expected> {
    let outside = OUTSIDE_LAYERS.iter().map(|&(stem, name)| (stem, stem.to_owned(), name.to_owned()));
    let inside = (0..config.num_hidden_layers).flat_map(|layer| {
        INSIDE_LAYERS.iter().map(move |&(stem, name)| {
            (stem, format!("blk.{layer}.{stem}"), format!("model.layers.{layer}.{name}"))
        })
    });
    let mut expected = Vec::new();
    for (stem, in_file, name) in outside.chain(inside) {
        let Some(parameters) = parameters(stem, config) else { continue };
        let order = row_order(stem, config);
        let mut push = |kind: &str, shape: Vec<usize>| {
            let (name_in_file, name) = (format!("{in_file}.{kind}"), format!("{name}.{kind}"));
            expected.push(Expected { name_in_file, name, shape, order });
        };
        if parameters.bias {
            push("bias", parameters.shape[..1].to_vec());
        }
        push("weight", parameters.shape);
    }
    expected
}

struct Parameters {
    shape: Vec<usize>,
    bias: bool,
}

/// What the module of this name holds; `None` where the model has no such module.
fn parameters(stem: &str, config: &ModelConfig) -> Option<Parameters> {
    let hidden = config.hidden_size;
    let (q, kv) =
        (config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim);
    let vector = |n: usize| Some(Parameters { shape: vec![n], bias: false });
    let linear = |n: usize, k: usize, bias: bool| Some(Parameters { shape: vec![n, k], bias });
    match stem {
        "token_embd" => linear(config.vocab_size, hidden, false),
        "output" if !config.tie_word_embeddings => linear(config.vocab_size, hidden, false),
        "output_norm" | "attn_norm" | "ffn_norm" => vector(hidden),
        "attn_q_norm" | "attn_k_norm" if config.qk_norm => vector(config.head_dim),
        "attn_q" => linear(q, hidden, config.qkv_bias),
        "attn_k" | "attn_v" => linear(kv, hidden, config.qkv_bias),
        "attn_output" => linear(hidden, q, config.attention_out_bias),
        "ffn_gate" | "ffn_up" => linear(config.intermediate_size, hidden, config.mlp_bias),
        "ffn_down" => linear(hidden, config.intermediate_size, config.mlp_bias),
        _ => None,
    }
}

/// Files of architecture `llama` hold q and k for rotary positions that turn neighbours; the others as they were.
fn row_order(stem: &str, config: &ModelConfig) -> RowOrder {
    match (stem, config.architecture) {
        ("attn_q" | "attn_k", Architecture::Llama | Architecture::Mistral) => {
            RowOrder::Interleaved { head_dim: config.head_dim }
        }
        _ => RowOrder::HuggingFace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One head of 6: Hugging Face's pairs (0, 3), (1, 4), (2, 5) are neighbours in the file.
    #[test]
    fn interleaved_rows_are_neighbours_in_the_file() {
        let order = RowOrder::Interleaved { head_dim: 6 };
        let in_file: Vec<usize> = (0..12).map(|row| order.row_in_file(row)).collect();
        assert_eq!(in_file, [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
    }
}

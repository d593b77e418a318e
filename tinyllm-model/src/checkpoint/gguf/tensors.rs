//! Maps a file's tensors to the model's: names, shapes, and the order of rows.

use std::collections::HashMap;

use super::{Gguf, GgufTensor, cursor::shown};
use crate::{
    ModelConfig, ModelError, Result,
    checkpoint::expected::{ExpectedTensor, expected_tensors, is_harmless_extra},
    config::Architecture,
};

/// One divisor for each rotary frequency; part of the configuration, not of the weights.
pub(super) const ROPE_FREQS: &str = "rope_freqs.weight";

/// Modules by their names in Hugging Face's files and in a GGUF, before `.weight` or `.bias`.
const OUTSIDE_LAYERS: [(&str, &str); 3] =
    [("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output")];

/// The same inside layer N, after `model.layers.N.` and `blk.N.`.
const INSIDE_LAYERS: [(&str, &str); 11] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// How the rows of a tensor lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowOrder {
    /// As Hugging Face has them.
    HuggingFace,
    /// Inside each head the first and second half alternate, for RoPE on neighbouring elements.
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
    let expected = expected_tensors(config);
    let mut wanted: HashMap<String, &ExpectedTensor> =
        expected.iter().filter_map(|tensor| Some((name_in_file(&tensor.name)?, tensor))).collect();
    let mut found = Vec::with_capacity(expected.len());
    for (index, tensor) in gguf.tensors().iter().enumerate() {
        let Some(ExpectedTensor { name, shape, .. }) = wanted.remove(&tensor.name) else {
            if is_harmless(&tensor.name) {
                continue;
            }
            return Err(malformed(&tensor.name, unexpected(tensor, config)));
        };
        if tensor.shape != *shape {
            let problem = format!("has shape {:?}, and the metadata asks for {shape:?}", tensor.shape);
            return Err(malformed(&tensor.name, problem));
        }
        found.push(Found { index, name: name.clone(), order: row_order(name, config) });
    }
    for ExpectedTensor { name, shape, .. } in &expected {
        if let Some(name) = name_in_file(name).filter(|name| wanted.contains_key(name)) {
            return Err(malformed(
                &name,
                format!("the tensor is missing; the model needs it, with shape {shape:?}"),
            ));
        }
    }
    Ok(found)
}

/// Rotary frequencies, which are read with the configuration or follow from it.
fn is_harmless(name: &str) -> bool {
    is_harmless_extra(name) || name.ends_with(".attn_rot_embd.weight") || name.ends_with(".attn_rot_embd")
}

fn unexpected(tensor: &GgufTensor, config: &ModelConfig) -> String {
    let (layers, family) = (config.num_hidden_layers, config.architecture.model_type());
    let (shape, kind) = (&tensor.shape, tensor.ggml_type.name());
    format!("a {family} model of this configuration, {layers} layers, has no such tensor ({kind} {shape:?})")
}

/// The name in the file of the tensor with this Hugging Face name.
fn name_in_file(name: &str) -> Option<String> {
    let (module, kind) = name.rsplit_once('.')?;
    let in_file = |table: &[(&str, &'static str)], module: &str| {
        table.iter().find(|(known, _)| *known == module).map(|&(_, in_file)| in_file)
    };
    Some(match module.strip_prefix("model.layers.") {
        None => format!("{}.{kind}", in_file(&OUTSIDE_LAYERS, module)?),
        Some(inside) => {
            let (layer, module) = inside.split_once('.')?;
            format!("blk.{layer}.{}.{kind}", in_file(&INSIDE_LAYERS, module)?)
        }
    })
}

/// Files of architecture `llama` hold q and k interleaved, for RoPE on neighbouring elements; others as Hugging Face
/// has them.
fn row_order(name: &str, config: &ModelConfig) -> RowOrder {
    let interleaved = matches!(config.architecture, Architecture::Llama | Architecture::Mistral)
        && (name.contains(".q_proj.") || name.contains(".k_proj."));
    if interleaved { RowOrder::Interleaved { head_dim: config.head_dim } } else { RowOrder::HuggingFace }
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

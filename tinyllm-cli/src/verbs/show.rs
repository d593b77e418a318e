//! `show`: a model's configuration, tensors and sizes.

use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use serde_json::json;

use crate::{models::Model, output};

#[derive(Args)]
pub(crate) struct Arguments {
    /// A directory, a .gguf file, or an alias
    model: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let model = Model::open(&arguments.model)?;
    let checkpoint = model.checkpoint()?;
    let config = checkpoint.config();
    let parameters: u64 =
        checkpoint.tensors().iter().map(|t| t.shape.iter().map(|d| *d as u64).product::<u64>()).sum();
    let bytes: u64 = checkpoint.tensors().iter().map(|tensor| tensor.bytes).sum();
    let vocabulary = model.tokenizer().ok().map(|tokenizer| tokenizer.vocab_size());
    if arguments.json {
        let tensors: Vec<_> = checkpoint
            .tensors()
            .iter()
            .map(|t| json!({"name": t.name, "shape": t.shape, "dtype": t.dtype, "bytes": t.bytes}))
            .collect();
        return output::print_json(&json!({
            "path": model.path(),
            "config": {
                "model_type": config.architecture.model_type(),
                "hidden_size": config.hidden_size, "intermediate_size": config.intermediate_size,
                "num_hidden_layers": config.num_hidden_layers,
                "num_attention_heads": config.num_attention_heads,
                "num_key_value_heads": config.num_key_value_heads, "head_dim": config.head_dim,
                "vocab_size": config.vocab_size, "max_position_embeddings": config.max_position_embeddings,
                "rms_norm_eps": config.rms_norm_eps, "rope_theta": config.rope.theta,
                "tie_word_embeddings": config.tie_word_embeddings,
                "quantization": format!("{:?}", config.quantization), "group_size": config.group_size,
            },
            "parameters": parameters, "bytes": bytes, "tokenizer_vocab_size": vocabulary, "tensors": tensors,
        }));
    }
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["tensor", "shape", "type", "bytes"]);
    for tensor in checkpoint.tensors() {
        table.add_row([
            tensor.name.clone(),
            format!("{:?}", tensor.shape),
            tensor.dtype.clone(),
            tensor.bytes.to_string(),
        ]);
    }
    output::print(&format!(
        "{}\n{}: {} layers, {} wide, {} heads ({} for keys and values) of {}, {} inside, vocabulary {}, context {}\n\
         {parameters} parameters, {bytes} bytes{}\n\n{table}\n",
        model.path().display(),
        config.architecture.model_type(),
        config.num_hidden_layers,
        config.hidden_size,
        config.num_attention_heads,
        config.num_key_value_heads,
        config.head_dim,
        config.intermediate_size,
        config.vocab_size,
        config.max_position_embeddings,
        vocabulary.map_or_else(String::new, |size| format!(", tokenizer of {size}")),
    ))
}

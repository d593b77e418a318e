//! `show`: a model's configuration, types and sizes of its weights, special tokens, chat template and licence.

mod about;
mod order;

use std::collections::BTreeMap;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde_json::{Map, Value, json};
use tinyllm_model::{
    ModelConfig, ModelFiles,
    checkpoint::{Checkpoint, TensorInfo},
    config::QuantizationType,
};

use self::about::About;
use crate::{
    models, options,
    output::{
        self,
        numbers::{grouped, shortest, size},
    },
};

#[derive(Args)]
pub(crate) struct Arguments {
    #[arg(help = models::MODEL, add = options::completion::model())]
    model: String,
    /// Print a line for each tensor too
    #[arg(short, long)]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let model = models::open(&arguments.model)?;
    let checkpoint = model.checkpoint();
    let mut tensors: Vec<&TensorInfo> = checkpoint.tensors().iter().collect();
    tensors.sort_by_cached_key(|tensor| order::natural(&tensor.name));
    let sums = Sums::of(&tensors);
    let about = About::of(&model);
    if arguments.json {
        return output::print_json(&object(&model, checkpoint, &tensors, &sums, &about));
    }
    let mut text = summary(&model, checkpoint.config(), &sums, &about);
    if arguments.verbose {
        text.push_str(&format!("\n{}\n", table(&tensors)));
    }
    output::print(&text)
}

/// Parameters and bytes of all tensors, and bytes by type.
struct Sums<'a> {
    parameters: u64,
    bytes: u64,
    types: BTreeMap<&'a str, (usize, u64)>,
}

impl<'a> Sums<'a> {
    fn of(tensors: &[&'a TensorInfo]) -> Self {
        let mut sums = Sums { parameters: 0, bytes: 0, types: BTreeMap::new() };
        for tensor in tensors {
            sums.parameters += tensor.shape.iter().map(|size| *size as u64).product::<u64>();
            sums.bytes += tensor.bytes;
            let (count, bytes) = sums.types.entry(&tensor.dtype).or_default();
            *count += 1;
            *bytes += tensor.bytes;
        }
        sums
    }
}

fn object(
    model: &ModelFiles,
    checkpoint: &dyn Checkpoint,
    tensors: &[&TensorInfo],
    sums: &Sums<'_>,
    about: &About,
) -> Value {
    let config = checkpoint.config();
    let tensors: Vec<_> = tensors
        .iter()
        .map(|t| json!({"name": t.name, "shape": t.shape, "dtype": t.dtype, "bytes": t.bytes}))
        .collect();
    let types: Map<String, Value> = sums
        .types
        .iter()
        .map(|(name, (count, bytes))| ((*name).to_owned(), json!({"tensors": count, "bytes": bytes})))
        .collect();
    let (quantization, group_size) = match config.quantization {
        QuantizationType::W8A16 => {
            (json!("W8A16"), config.group_size.map_or(json!("channel"), |group| json!(group)))
        }
        _ => (Value::Null, Value::Null),
    };
    json!({
        "path": model.path(),
        "config": {
            "model_type": config.architecture.model_type(),
            "hidden_size": config.hidden_size, "intermediate_size": config.intermediate_size,
            "num_hidden_layers": config.num_hidden_layers,
            "num_attention_heads": config.num_attention_heads,
            "num_key_value_heads": config.num_key_value_heads, "head_dim": config.head_dim,
            "vocab_size": config.vocab_size, "max_position_embeddings": config.max_position_embeddings,
            "rms_norm_eps": shortest(config.rms_norm_eps), "rope_theta": shortest(config.rope.theta),
            "tie_word_embeddings": config.tie_word_embeddings,
            "quantization": quantization, "group_size": group_size,
        },
        "parameters": sums.parameters, "bytes": sums.bytes, "types": types,
        "tokenizer_vocab_size": about.vocabulary, "bos_token": about.bos, "eos_tokens": about.eos,
        "special_tokens": about.special, "chat_template": about.template, "license": about.licence,
        "tensors": tensors,
    })
}

/// The summary, a line for each property.
fn summary(model: &ModelFiles, config: &ModelConfig, sums: &Sums<'_>, about: &About) -> String {
    let mut text = format!("{}\n", model.path().display());
    let mut line = |name: &str, what: String| text.push_str(&format!("{name:<16}{what}\n"));
    line(
        "architecture",
        format!(
            "{}: {} layers, {} wide, {} inside, {} heads ({} for keys and values) of {}",
            config.architecture.model_type(),
            config.num_hidden_layers,
            config.hidden_size,
            config.intermediate_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        ),
    );
    line("context", format!("{} tokens", config.max_position_embeddings));
    line("parameters", format!("{}, {:.2} bits each", grouped(sums.parameters), sums.bits_each()));
    line("size", format!("{} ({} bytes)", size(sums.bytes), grouped(sums.bytes)));
    // The type with the most bytes first.
    let mut types: Vec<_> = sums.types.iter().collect();
    types.sort_by_key(|(_, (_, bytes))| std::cmp::Reverse(*bytes));
    let mix = types.iter().map(|(name, (count, bytes))| format!("{name} {} in {count}", size(*bytes)));
    line("tensors", mix.collect::<Vec<_>>().join(", "));
    let of_tokenizer = about.vocabulary.filter(|size| *size != config.vocab_size);
    let of_tokenizer = of_tokenizer.map_or_else(String::new, |size| format!(" (the tokenizer's {size})"));
    line("vocabulary", format!("{} tokens{of_tokenizer}", config.vocab_size));
    line("begins with", about.bos.clone().unwrap_or_else(|| "nothing".into()));
    line("ends with", if about.eos.is_empty() { "nothing".into() } else { about.eos.join(" ") });
    line("special tokens", about::list(&about.special));
    line("chat template", about.template.as_deref().map_or_else(|| "none".into(), about::beginning));
    line("licence", about.licence.clone().unwrap_or_else(|| "not stated".into()));
    text
}

impl Sums<'_> {
    fn bits_each(&self) -> f64 {
        8.0 * self.bytes as f64 / self.parameters.max(1) as f64
    }
}

fn table(tensors: &[&TensorInfo]) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["tensor", "shape", "type", "bytes"]);
    for tensor in tensors {
        let shape = tensor.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ");
        table.add_row([tensor.name.clone(), shape, tensor.dtype.clone(), grouped(tensor.bytes)]);
    }
    if let Some(column) = table.column_mut(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

//! `quantize`: a model as compressed-tensors W8A16.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::json;
use tinyllm_kernels::GroupSize;
use tinyllm_mem::FileBytes;
use tinyllm_model::{
    ModelError, ModelFiles,
    checkpoint::Storage,
    engine::GroupSizeChoice,
    quantize::{self, QuantizeReport},
};

use crate::{
    models,
    options::{self, group_size},
    output::{self, numbers, progress, staging::StagingFolder},
};

#[derive(Args)]
pub(crate) struct Arguments {
    #[arg(help = models::MODEL, add = options::completion::model())]
    model: String,
    /// The directory to write; it must not exist
    out: PathBuf,
    /// Weights that share a scale: auto, 32, 64, 128, 256 or channel
    #[arg(long, default_value = "auto", value_parser = group_size)]
    group_size: GroupSizeChoice,
    /// Write a file that only this program reads, where the group size does not divide every width
    #[arg(long)]
    force: bool,
    /// Print what each tensor lost, not only what all did
    #[arg(short, long)]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The files that are copied with the weights.
const COMPANIONS: [&str; 7] = [
    "added_tokens.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "chat_template.jinja",
    "LICENSE",
];

/// Limit of one of them; tokenizer.json is the longest.
const MAX_COMPANION_BYTES: u64 = 128 << 20;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let out = &arguments.out;
    anyhow::ensure!(!out.exists(), "{}: exists already; choose another name or remove it", out.display());
    let model = models::open(&arguments.model)?;
    let checkpoint = model.checkpoint();
    let group_size = quantize::group_size(checkpoint, arguments.group_size, arguments.force)?;
    let config = match model.config_json() {
        Some(config) => config.clone(),
        None => checkpoint.config().to_hugging_face(model.path())?,
    };
    let companions = companions(&model)?;
    let source_bytes = checkpoint.tensors().iter().map(|tensor| tensor.bytes).sum();
    let out_bytes = quantize::file_bytes(checkpoint, group_size);
    let is_float = checkpoint.tensors().iter().all(|tensor| tensor.storage == Storage::Float);
    if is_float && out_bytes > source_bytes {
        output::note(&format!(
            "note: {} takes {} and will take {}: its weights have fewer bits than int8; run it as it is to save space",
            models::name(&model),
            numbers::size(source_bytes),
            numbers::size(out_bytes)
        ));
    }
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let staging = StagingFolder::begin(parent, ".tinyllm-quantize-")?;
    let directory = staging.path();
    let bar = progress::bytes(models::name(&model));
    let report = quantize::write_w8a16(checkpoint, config, directory, group_size, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })
    .map_err(|error| by_name(&error, directory, out))?;
    bar.finish_and_clear();
    for (name, bytes) in companions {
        fs::write(directory.join(name), bytes).with_context(|| out.join(name).display().to_string())?;
    }
    staging.finish(out)?;
    if arguments.json {
        let tensors: Vec<_> = report
            .tensors
            .iter()
            .map(|t| json!({"name": t.name, "max_abs_error": t.max_abs_error, "relative_rms_error": t.relative_rms_error}))
            .collect();
        return output::print_json(&json!({
            "source_bytes": report.source_bytes, "written_bytes": report.written_bytes,
            "group_size": numbers::group_size_json(report.group_size), "tensors": tensors,
        }));
    }
    output::print(&summary(&report, out, arguments.verbose))
}

/// An error that names the output directory instead of the staging folder.
fn by_name(error: &ModelError, staging: &Path, out: &Path) -> anyhow::Error {
    let (staging, out) = (staging.display().to_string(), out.display().to_string());
    anyhow!(error.to_string().replace(&staging, &out))
}

/// Sizes and quantisation errors in a few lines; with `is_verbose` also a line for each tensor.
fn summary(report: &QuantizeReport, out: &Path, is_verbose: bool) -> String {
    let mut text = String::new();
    for tensor in report.tensors.iter().filter(|_| is_verbose) {
        text.push_str(&format!(
            "{:<48} relative rms error {:.5}, largest {:.3e}\n",
            tensor.name, tensor.relative_rms_error, tensor.max_abs_error
        ));
    }
    let worst = report.tensors.iter().max_by(|a, b| a.relative_rms_error.total_cmp(&b.relative_rms_error));
    if let Some(worst) = worst {
        let sum: f64 = report.tensors.iter().map(|tensor| tensor.relative_rms_error).sum();
        text.push_str(&format!(
            "{} tensors quantised, relative rms error {:.5} on average, at most {:.5} ({})\n",
            report.tensors.len(),
            sum / report.tensors.len() as f64,
            worst.relative_rms_error,
            worst.name
        ));
    }
    let groups = match report.group_size {
        GroupSize::Elements(elements) => format!("one scale for {elements} weights"),
        GroupSize::Channel => "one scale for each output".into(),
    };
    text + &format!(
        "{} read, {} written to {} ({groups})\n",
        numbers::size(report.source_bytes),
        numbers::size(report.written_bytes),
        out.display(),
    )
}

/// Tokenizer and template files by their names: copies, or made from what a GGUF holds.
fn companions(model: &ModelFiles) -> anyhow::Result<Vec<(&'static str, Vec<u8>)>> {
    let mut files = Vec::new();
    let text = model.text();
    if let Some(directory) = text.directory() {
        for name in COMPANIONS {
            let source = directory.join(name);
            if source.exists() {
                files.push((name, FileBytes::read(&source, MAX_COMPANION_BYTES)?.into_vec()));
            }
        }
        return Ok(files);
    }
    let tokenizer = models::tokenizer(text)?;
    files.push(("tokenizer.json", tokenizer.to_json()?.into_bytes()));
    // A GGUF names one end token; those that are known by their text would be forgotten with it.
    let ends = json!({"eos_token_id": tokenizer.end_token_ids()});
    files.push(("generation_config.json", serde_json::to_vec_pretty(&ends)?));
    let mut config = json!({"tokenizer_class": "PreTrainedTokenizerFast"});
    for (name, token) in text.special_tokens()?.named() {
        config[name] = json!(token);
    }
    if let Some(source) = text.template_source()? {
        config["chat_template"] = json!(source.text);
    }
    files.push(("tokenizer_config.json", serde_json::to_vec_pretty(&config)?));
    Ok(files)
}

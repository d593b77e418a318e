//! `perplexity`: how well a model predicts a text, and how close a second model is.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use tinyllm_model::{ModelFiles, perplexity, tokenizer::EncodeOptions};

use crate::{
    input, models,
    options::{self, LoadOptions},
    output::{
        self,
        progress::{self, Unit},
    },
};

const SAMPLED_ROWS: usize = 16;

#[derive(Args)]
pub(crate) struct Arguments {
    #[arg(help = models::MODEL, add = options::completion::model())]
    model: String,
    /// A text file
    #[arg(required_unless_present = "ids_file")]
    file: Option<PathBuf>,
    /// A JSON list of token ids (or an object with "ids") instead of a text
    #[arg(long, conflicts_with = "file")]
    ids_file: Option<PathBuf>,
    /// Tokens of a window; each is scored from an empty cache
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(2..))]
    window: u32,
    /// A second model: its KL divergence and top-1 agreement are measured too
    #[arg(long, add = options::completion::model())]
    against: Option<String>,
    /// Storage of the second model's weights
    #[arg(long, requires = "against", value_parser = ["w8a16", "f16", "f32"])]
    against_weights: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadOptions,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let model = models::open(&arguments.model)?;
    let (name, ids) = ids(arguments, &model)?;
    anyhow::ensure!(ids.len() >= 2, "{name}: {} tokens; perplexity needs at least two", ids.len());
    let window = arguments.window as usize;
    let tokens = window.min(ids.len()).max(1);
    let (mut engine, _) = arguments.load.load(&model, Some(tokens), SAMPLED_ROWS)?;
    let mut other = match &arguments.against {
        None => None,
        Some(name) => {
            let other = models::open(name)?;
            let load = arguments.load.with_weights(arguments.against_weights.as_deref());
            Some(load.load(&other, Some(tokens), SAMPLED_ROWS)?.0)
        }
    };
    let bar = progress::bar("perplexity".into(), Unit::Tokens);
    bar.set_length(ids.len() as u64);
    let result = perplexity::measure(&mut engine, other.as_mut(), &ids, window, &mut |done, ppl| {
        bar.set_message(format!("perplexity {ppl:.4}"));
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    if !arguments.json {
        output::print(&format!("perplexity {:.4} over {} predictions\n", result.ppl, result.predictions))?;
        if let Some(against) = result.against {
            output::print(&format!(
                "KL divergence {:.3e}, top-1 agreement {:.2} %, other's perplexity {:.4}\n",
                against.kl_divergence,
                100.0 * against.top1_agreement,
                against.other_ppl
            ))?;
        }
        return Ok(());
    }
    let mut object =
        json!({"ppl": result.ppl, "mean_nll": result.mean_nll, "predictions": result.predictions});
    if let Some(against) = result.against {
        object["kl_divergence"] = json!(against.kl_divergence);
        object["top1_agreement"] = json!(against.top1_agreement);
        object["other_ppl"] = json!(against.other_ppl);
    }
    output::print_json(&object)
}

/// The tokens to predict, and where they come from.
fn ids(arguments: &Arguments, model: &ModelFiles) -> anyhow::Result<(String, Vec<u32>)> {
    let path =
        arguments.ids_file.as_ref().or(arguments.file.as_ref()).context("a text file, or --ids-file")?;
    let name = path.display().to_string();
    if arguments.ids_file.is_none() {
        let text = input::text(path, input::MAX_TEXT_BYTES)?;
        let ids = models::tokenizer(model.text())?
            .encode(&text, EncodeOptions { parse_special: false, add_special: false })?;
        return Ok((name, ids));
    }
    let ids = match input::json(path, input::MAX_TEXT_BYTES)? {
        Ids::List(ids) | Ids::Object { ids } => ids,
    };
    Ok((name, ids))
}

/// A file of token ids.
#[derive(Deserialize)]
#[serde(untagged, expecting = "not a list of token ids, nor an object with \"ids\"")]
enum Ids {
    List(Vec<u32>),
    Object { ids: Vec<u32> },
}

//! `plan`: every byte that running a model will take, before anything is allocated.

mod draw;
mod report;

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::bail;
use clap::Args;
use tinyllm_mem::{Category, HostResource, Tracking};
use tinyllm_model::{
    ModelConfig,
    engine::{
        EngineOptions, EnginePlan,
        plan::{PlanSource, largest_batch, largest_context, with_f16_weights},
    },
};

use crate::{
    models::{self, presets},
    options::{self, LoadOptions},
    output::{self, warnings},
};

/// The largest batch that is tried.
const MAX_BATCH: usize = 4096;

#[derive(Args)]
pub(crate) struct Arguments {
    #[arg(help = models::MODEL, add = options::completion::model(), required_unless_present_any = ["config", "preset"], conflicts_with_all = ["config", "preset"])]
    model: Option<String>,
    /// A config.json without weights
    #[arg(long, conflicts_with = "preset")]
    config: Option<PathBuf>,
    /// A well-known model
    #[arg(long, value_parser = presets::NAMES)]
    preset: Option<String>,
    /// Sequences at once
    #[arg(short, long, visible_alias = "max-batch-size", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// Exit with status 1 where a budget is missed; without one, where this machine's free memory is
    #[arg(long)]
    check: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Draw the slabs to scale and the activation arena over time
    #[arg(long)]
    svg: Option<PathBuf>,
    /// The same drawing as a page
    #[arg(long)]
    html: Option<PathBuf>,
    #[command(flatten)]
    load: LoadOptions,
}

/// A plan, and the answers about budgets that are printed with it.
struct Answer {
    name: String,
    plan: EnginePlan,
    /// The same model with f16 weights; `None` where its layers have no room.
    f16_total_bytes: Option<usize>,
    budget_bytes: Option<usize>,
    category_budget_bytes: BTreeMap<Category, usize>,
    /// Of the budget: the largest context for this batch, and the largest batch for this context.
    largest_context: Option<usize>,
    /// The model's own.
    longest_context: usize,
    largest_batch: Option<usize>,
}

impl Answer {
    /// Whether all budgets are kept; `None` where there is none.
    fn fits(&self) -> Option<bool> {
        let total = self.budget_bytes.map(|budget| self.plan.total_bytes() <= budget);
        let categories = self.category_budgets().map(|(_, _, missing)| missing == 0);
        let devices = self.plan.devices().into_iter();
        let devices = devices.filter_map(|device| Some(device.device_bytes <= device.budget_bytes?));
        total.into_iter().chain(categories).chain(devices).reduce(|all, one| all && one)
    }

    /// The categories with a budget: it, and the bytes that are missing.
    fn category_budgets(&self) -> impl Iterator<Item = (Category, usize, usize)> {
        let planned = self.plan.categories();
        self.category_budget_bytes.iter().map(move |(category, budget)| {
            let bytes = planned.get(category).map_or(0, |usage| usage.bytes);
            (*category, *budget, bytes.saturating_sub(*budget))
        })
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut options = arguments.load.engine_options(None, 1)?;
    options.kv.max_batch_size = arguments.batch as usize;
    let answer = match (&arguments.model, &arguments.config, &arguments.preset) {
        (Some(name), _, _) => {
            let model = models::open(name)?;
            answer(arguments, models::name(&model), PlanSource::Checkpoint(model.checkpoint()), options)?
        }
        (None, path, preset) => {
            let (name, config) = match (path, preset) {
                (Some(path), _) => (path.display().to_string(), ModelConfig::from_hugging_face(path)?),
                (None, Some(preset)) => (preset.clone(), presets::config(preset)?),
                (None, None) => bail!("a MODEL, --config or --preset"),
            };
            answer(arguments, name, PlanSource::Config(&config), options)?
        }
    };
    if let Some(path) = &arguments.svg {
        output::write_file(path, draw::svg(&answer.name, &answer.plan).as_bytes())?;
    }
    if let Some(path) = &arguments.html {
        output::write_file(path, draw::html(&answer.name, &answer.plan).as_bytes())?;
    }
    warnings::memory(&answer.plan);
    if arguments.json {
        output::print_json(&report::json(&answer))?;
    } else {
        output::print(&report::text(&answer))?;
    }
    let free = || warnings::free_bytes().is_none_or(|free| answer.plan.total_bytes() as u64 <= free);
    let is_missed = arguments.check && !answer.fits().unwrap_or_else(free);
    Ok(if is_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn answer(
    arguments: &Arguments,
    name: String,
    source: PlanSource<'_>,
    mut options: EngineOptions,
) -> anyhow::Result<Answer> {
    let tracking = Arc::new(Tracking::new(HostResource::shared()));
    let devices = arguments.load.devices(&options, &tracking, source)?;
    let plan = |options: &EngineOptions| devices.plan(source, options);
    arguments.load.fit_context(&mut options, source, &devices)?;
    let longest_context = source.config().max_position_embeddings;
    warnings::context(source.config(), options.kv.max_seq_len);
    let budget_bytes = options.memory_budget_bytes;
    Ok(Answer {
        name,
        plan: plan(&options)?,
        // On devices without room for them there are none.
        f16_total_bytes: plan(&with_f16_weights(&options)).ok().map(|plan| plan.total_bytes()),
        budget_bytes,
        category_budget_bytes: options.category_budget_bytes.clone(),
        longest_context,
        largest_context: budget_bytes
            .and_then(|budget| largest_context(&options, budget, longest_context, &plan)),
        largest_batch: budget_bytes.and_then(|budget| largest_batch(&options, budget, MAX_BATCH, &plan)),
    })
}

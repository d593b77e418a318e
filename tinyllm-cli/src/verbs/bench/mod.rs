//! `bench`: tokens a second, and the device's bandwidth and peak of products measured in the same run.

mod chart;
mod limits;
mod rows;
mod work;
mod workload;

use std::{path::PathBuf, sync::Arc};

use anyhow::{bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::Value;
use tinyllm_mem::{HostMemory, HostResource, Tracking};
use tinyllm_model::{
    Engine,
    checkpoint::{Checkpoint, SyntheticCheckpoint},
    engine::{EngineOptions, EnginePlan, LoadProgress, plan::PlanSource},
};

use self::{
    chart::Results,
    limits::{Limits, Meter},
    rows::{Row, Segment},
    work::Work,
    workload::Workload,
};
use crate::{
    device::Device,
    models::{self, presets},
    options::{self, LoadOptions},
    output::{
        self,
        progress::{self, Unit},
        warnings,
    },
};

#[derive(Args)]
pub(crate) struct Arguments {
    #[arg(help = models::MODEL, add = options::completion::model(), required_unless_present_any = ["from", "preset"], conflicts_with_all = ["from", "preset"])]
    model: Option<String>,
    /// A well-known model's shape, with weights that nobody trained: no file is needed
    #[arg(long, value_parser = presets::NAMES)]
    preset: Option<String>,
    /// Tokens of a prompt (a list: 0 leaves the test out)
    #[arg(short = 'p', long, visible_alias = "n-prompt", value_delimiter = ',', default_value = "512")]
    prompt: Vec<usize>,
    /// Tokens to generate (a list: 0 leaves the test out)
    #[arg(short = 'n', long, visible_alias = "n-gen", value_delimiter = ',', default_value = "128")]
    generate: Vec<usize>,
    /// Tokens in the cache before (a list)
    #[arg(short = 'd', long, visible_alias = "n-depth", value_delimiter = ',', default_value = "0")]
    depth: Vec<usize>,
    /// Sequences at once (a list)
    #[arg(short = 'b', long, visible_alias = "batch-size", value_delimiter = ',', default_value = "1")]
    batch: Vec<usize>,
    /// How often each test is run
    #[arg(short = 'r', long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: u32,
    /// How to print
    #[arg(short = 'o', long, value_enum, default_value = "md")]
    output: Format,
    /// Draw a chart of the results
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Measure nothing: draw the chart of results that `-o json` or `cargo xtask bench` wrote
    #[arg(long, value_name = "FILE", requires = "svg", conflicts_with = "preset")]
    from: Option<PathBuf>,
    #[command(flatten)]
    load: LoadOptions,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Md,
    Json,
    Csv,
}

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Test {
    kind: Kind,
    depth: usize,
    batch: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Prefill(usize),
    Decode(usize),
}

impl Test {
    /// Tokens of all sequences that are timed.
    fn tokens(&self) -> usize {
        self.batch
            * match self.kind {
                Kind::Prefill(tokens) | Kind::Decode(tokens) => tokens,
            }
    }

    /// As llama-bench calls it.
    fn name(&self) -> String {
        match self.kind {
            Kind::Prefill(count) => format!("pp{count}"),
            Kind::Decode(count) => format!("tg{count}"),
        }
    }

    fn longest(&self) -> usize {
        self.depth + self.tokens() / self.batch.max(1)
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let (Some(from), Some(svg)) = (&arguments.from, &arguments.svg) {
        return output::write_file(svg, chart::svg(&Results::read(from)?).as_bytes());
    }
    let opened;
    let synthetic;
    let (name, checkpoint): (String, &dyn Checkpoint) = match (&arguments.model, &arguments.preset) {
        (Some(name), _) => {
            opened = models::open(name)?;
            (models::name(&opened), opened.checkpoint())
        }
        (None, Some(preset)) => {
            synthetic = SyntheticCheckpoint::new(preset, presets::config(preset)?);
            (preset.clone(), &synthetic)
        }
        (None, None) => bail!("a MODEL, --preset or --from"),
    };
    let tests = tests(arguments);
    ensure!(!tests.is_empty(), "nothing to measure: -p and -n are 0");
    ensure!(arguments.batch.iter().all(|batch| (1..=4096).contains(batch)), "-b: from 1 to 4096 sequences");
    let mut rows = Vec::new();
    for threads in arguments.load.thread_counts() {
        let load = arguments.load.with_threads(threads);
        let mut options = load.engine_options(None, 1)?;
        options.kv.max_batch_size = tests.iter().map(|test| test.batch).max().unwrap_or(1);
        options.kv.max_seq_len = tests.iter().map(Test::longest).max();
        rows.extend(measure(&name, checkpoint, &load, &options, &tests, arguments.repetitions)?);
    }
    let json: Vec<Value> = rows.iter().map(Row::json).collect();
    match arguments.output {
        Format::Json => output::print_json(&json)?,
        Format::Md => output::print(&rows::table(&name, &rows))?,
        Format::Csv => output::print(&rows::csv(&rows))?,
    }
    match &arguments.svg {
        Some(svg) => output::write_file(svg, chart::svg(&Results::of_rows(name, &json)?).as_bytes()),
        None => Ok(()),
    }
}

/// Every requested combination.
fn tests(arguments: &Arguments) -> Vec<Test> {
    let mut tests = Vec::new();
    for &depth in &arguments.depth {
        let prompts = arguments.prompt.iter().filter(|tokens| **tokens > 0);
        tests.extend(prompts.map(|tokens| Test { kind: Kind::Prefill(*tokens), depth, batch: 1 }));
        for &batch in &arguments.batch {
            let generated = arguments.generate.iter().filter(|tokens| **tokens > 0);
            tests.extend(generated.map(|tokens| Test { kind: Kind::Decode(*tokens), depth, batch }));
        }
    }
    tests
}

/// Runs the tests. Tests that begin with the same cache are run in turns, and the machine's limits are measured before
/// and after each segment of a run, so that a slow minute affects all of them and their limits alike.
fn measure(
    name: &str,
    checkpoint: &dyn Checkpoint,
    load: &LoadOptions,
    options: &EngineOptions,
    tests: &[Test],
    repetitions: u32,
) -> anyhow::Result<Vec<Row>> {
    let tracking = Arc::new(Tracking::new(HostResource::shared()));
    let memory: HostMemory = tracking.clone();
    let source = PlanSource::Checkpoint(checkpoint);
    let devices = load.devices(options, &tracking, source)?;
    let device = devices.names().join(",");
    let threads = match devices.only() {
        Some(Device::Processor(cpu)) => cpu.threads(),
        // One gives a GPU its work.
        Some(Device::Gpu(_)) => 1,
        None => {
            options.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
        }
    };
    let split = devices.split(source, options)?;
    let plan = EnginePlan::new(split.clone(), source, options)?;
    warnings::context(checkpoint.config(), options.kv.max_seq_len);
    warnings::memory(&plan);
    let work = Work::of(&plan, checkpoint.config());
    let step_bytes = |test: &Test| work.step_bytes(test.batch, test.depth as f64) as usize;
    let loading = progress::bytes(name.to_owned());
    let advance = |done: LoadProgress<'_>| progress::advance(&loading, done.done_bytes, done.total_bytes);
    let mut engine = Engine::load_on(split, checkpoint, options, &memory, &advance)?;
    loading.finish_and_clear();
    let meter = Meter::new(devices.only(), tests.iter().map(step_bytes).max().unwrap_or(0))?;
    let plural = if threads == 1 { "" } else { "s" };
    let bar = progress::bar(format!("{name} on {device}, {threads} thread{plural}"), Unit::Tokens);
    let mut rows = Vec::new();
    let groups = || tests.chunk_by(|a, b| (a.depth, a.batch) == (b.depth, b.batch));
    let warm_up = |test: &Test| match test.kind {
        Kind::Decode(count) => Kind::Decode(count.min(4)),
        prompt => prompt,
    };
    let all_tokens = |test: &Test| {
        let warm_up = Test { kind: warm_up(test), ..*test };
        warm_up.tokens() + repetitions as usize * test.tokens()
    };
    let of_group =
        |tests: &[Test]| tests[0].batch * tests[0].depth + tests.iter().map(all_tokens).sum::<usize>();
    bar.set_length(groups().map(of_group).sum::<usize>() as u64);
    // Never inside a timed segment: drawing takes time too.
    let advance = |tokens: usize| bar.inc(tokens as u64);
    for tests in groups() {
        let mut workload = Workload::fill(&mut engine, tests[0].depth, tests[0].batch, advance)?;
        // Once to warm up, as llama-bench does: pages, caches, clocks.
        for test in tests {
            workload.time(warm_up(test), |tokens, _| {
                advance(test.batch * tokens.len());
                Ok(())
            })?;
        }
        let mut runs: Vec<Vec<Vec<Segment>>> = vec![Vec::new(); tests.len()];
        let bytes = step_bytes(&tests[0]);
        let mut before = meter.measure(bytes)?;
        for _ in 0..repetitions {
            for (test, runs) in tests.iter().zip(&mut runs) {
                let mut run = Vec::new();
                workload.time(test.kind, |tokens, time| {
                    advance(test.batch * tokens.len());
                    let after = meter.measure(bytes)?;
                    run.push(Segment { tokens, time, limits: Limits::around(&before, &after) });
                    before = after;
                    Ok(())
                })?;
                runs.push(run);
            }
        }
        workload.free()?;
        rows.extend(
            tests.iter().zip(&runs).map(|(test, runs)| Row::new(test, (&device, threads), runs, &work)),
        );
    }
    bar.finish_and_clear();
    Ok(rows)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

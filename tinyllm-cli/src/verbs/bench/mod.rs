//! `bench`: tokens a second, beside what the machine's memory allows in the same run.

mod bandwidth;
mod chart;
mod rows;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use serde_json::Value;
use tinyllm_mem::{Category, HostMemory, HostResource};
use tinyllm_model::{
    Engine,
    engine::{EngineOptions, EnginePlan, SequenceId, SequenceInput},
};

use self::{bandwidth::Bandwidth, chart::Results, rows::Row};
use crate::{models::Model, options::LoadOptions, output};

#[derive(Args)]
pub(crate) struct Arguments {
    /// A directory, a .gguf file, a hub name or an alias
    #[arg(required_unless_present = "from")]
    model: Option<String>,
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
    #[arg(long, value_name = "FILE", requires = "svg", conflicts_with = "model")]
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

    fn longest(&self) -> usize {
        self.depth + self.tokens() / self.batch.max(1)
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let (Some(from), Some(svg)) = (&arguments.from, &arguments.svg) {
        return output::write_file(svg, chart::svg(&Results::read(from)?).as_bytes());
    }
    let model = Model::open(arguments.model.as_deref().context("a MODEL or --from")?)?;
    let tests = tests(arguments);
    ensure!(!tests.is_empty(), "nothing to measure: -p and -n are 0");
    ensure!(arguments.batch.iter().all(|batch| (1..=4096).contains(batch)), "-b: from 1 to 4096 sequences");
    let mut rows = Vec::new();
    for threads in arguments.load.thread_counts() {
        let mut options = arguments.load.with_threads(threads).engine_options(None, 1)?;
        options.kv.max_batch_size = tests.iter().map(|test| test.batch).max().unwrap_or(1);
        options.kv.max_seq_len = tests.iter().map(Test::longest).max();
        rows.extend(measure(&model, &options, &tests, arguments.repetitions)?);
    }
    let json: Vec<Value> = rows.iter().map(Row::json).collect();
    match arguments.output {
        Format::Json => output::print_json(&json)?,
        Format::Md => output::print(&rows::table(&model.name(), &rows))?,
        Format::Csv => output::print(&rows::csv(&rows))?,
    }
    match &arguments.svg {
        Some(svg) => output::write_file(svg, chart::svg(&Results::of_rows(model.name(), &json)?).as_bytes()),
        None => Ok(()),
    }
}

/// Every combination that was asked for.
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

/// Runs every test in turn, again and again, so that a slow minute of the machine touches all of them.
fn measure(
    model: &Model,
    options: &EngineOptions,
    tests: &[Test],
    repetitions: u32,
) -> anyhow::Result<Vec<Row>> {
    let reader = Engine::backend(options)?;
    let backend = Engine::backend(options)?;
    let threads = backend.threads();
    let checkpoint = model.checkpoint()?;
    let plan = EnginePlan::of_checkpoint(&backend, checkpoint, options)?;
    let weight_bytes = weight_bytes(&plan, checkpoint.config().tie_word_embeddings);
    let bandwidth = Bandwidth::new(weight_bytes)?;
    let memory: HostMemory = HostResource::shared();
    let mut engine = Engine::load_on(backend, checkpoint, options, &memory, &|_| {})?;
    let bar = crate::models::progress(format!("{} with {threads} threads", model.name()));
    bar.set_length(u64::from(repetitions) * tests.len() as u64);
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); tests.len()];
    let mut reads = Vec::new();
    for test in tests {
        // Once to warm up: pages, caches, clocks.
        time(&mut engine, &Test { kind: Kind::Decode(4.min(test.longest().max(1))), depth: 0, batch: 1 })?;
    }
    for _ in 0..repetitions {
        for (test, times) in tests.iter().zip(&mut times) {
            reads.push(bandwidth.measure(&reader));
            times.push(time(&mut engine, test)?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    reads.sort_by(f64::total_cmp);
    let read_bandwidth = reads[reads.len() / 2];
    let row = |(test, times): (&Test, &Vec<Duration>)| {
        Row::new(test, threads, times, weight_bytes, kv_token_bytes(&plan), read_bandwidth)
    };
    Ok(tests.iter().zip(&times).map(row).collect())
}

/// Bytes of weights that a token reads: all but an embedding table that is only looked up.
fn weight_bytes(plan: &EnginePlan, is_tied: bool) -> usize {
    let looked_up = plan.categories().get(&Category::Embeddings).map_or(0, |usage| usage.bytes);
    plan.weights_bytes() - if is_tied { 0 } else { looked_up }
}

/// Bytes of keys and values of a token.
fn kv_token_bytes(plan: &EnginePlan) -> usize {
    let slots = plan.slabs().into_iter().find(|slab| slab.name == "kv");
    let tokens = slots.map_or(0, |slab| slab.regions[0].shape[0] * slab.regions[0].shape[4]);
    plan.kv_bytes() / tokens.max(1)
}

/// Runs a test once.
fn time(engine: &mut Engine, test: &Test) -> anyhow::Result<Duration> {
    let vocabulary = engine.config().vocab_size as u32;
    let mut sequences: Vec<SequenceId> = Vec::new();
    // Other tokens for each sequence: nothing is shared.
    let tokens = |sequence: usize, count: usize| -> Vec<u32> {
        (0..count as u32).map(|index| (index * 37 + sequence as u32 * 101) % vocabulary).collect()
    };
    for index in 0..test.batch {
        let sequence = engine.create_sequence()?;
        sequences.push(sequence);
        prefill(engine, sequence, &tokens(index, test.depth))?;
    }
    let start = Instant::now();
    match test.kind {
        Kind::Prefill(count) => prefill(engine, sequences[0], &tokens(7, count))?,
        Kind::Decode(count) => {
            for step in 0..count as u32 {
                let token = [step * 11 % vocabulary];
                let batch: Vec<_> = sequences
                    .iter()
                    .map(|sequence| SequenceInput { sequence: *sequence, tokens: &token, wants_logits: true })
                    .collect();
                engine.forward(&batch)?;
            }
        }
    }
    let time = start.elapsed();
    sequences.into_iter().for_each(|sequence| engine.free_sequence(sequence));
    Ok(time)
}

fn prefill(engine: &mut Engine, sequence: SequenceId, tokens: &[u32]) -> anyhow::Result<()> {
    let chunks = tokens.chunks(engine.max_step_tokens());
    let last = chunks.len().saturating_sub(1);
    for (index, tokens) in chunks.enumerate() {
        engine.forward(&[SequenceInput { sequence, tokens, wants_logits: index == last }])?;
    }
    Ok(())
}

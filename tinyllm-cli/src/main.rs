//! The `tinyllm` program: arguments, messages, progress, charts. What a model does is in `tinyllm-model`.
#![forbid(unsafe_code)]

mod cache;
mod device;
mod hub;
mod input;
mod models;
mod options;
mod output;
mod verbs;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Run LLaMA models with int8 weights and 16-bit activations, in memory that is planned to the byte.
#[derive(Parser)]
#[command(name = "tinyllm", version, about, max_term_width = 110)]
struct Program {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Answer a prompt.
    Run(verbs::run::Arguments),
    /// Print a model's configuration, tensors and sizes.
    Show(verbs::show::Arguments),
    /// Print every byte that running a model will take, before anything is allocated.
    Plan(verbs::plan::Arguments),
    /// Measure tokens a second, and the share of this machine's limits that they reach.
    Bench(verbs::bench::Arguments),
    /// Turn text into tokens.
    Tokenize(verbs::tokenize::Arguments),
    /// Turn tokens into text.
    Detokenize(verbs::detokenize::Arguments),
    /// Render a conversation with a model's chat template.
    Template(verbs::template::Arguments),
    /// Print the logits of every position.
    Logits(verbs::logits::Arguments),
    /// Measure how well a model predicts a text.
    Perplexity(verbs::perplexity::Arguments),
    /// Write a model with int8 weights, as compressed-tensors.
    Quantize(verbs::quantize::Arguments),
    /// Download a model from the Hugging Face hub.
    Pull(verbs::pull::Arguments),
    /// List the models that have been pulled.
    #[command(visible_alias = "ls")]
    List(verbs::list::Arguments),
    /// Remove a model that was pulled.
    Rm(verbs::rm::Arguments),
    /// Print completions for a shell.
    Completions(verbs::completions::Arguments),
    /// Say what this machine offers.
    Doctor(verbs::doctor::Arguments),
}

fn main() -> ExitCode {
    verbs::completions::answer_shell::<Program>();
    let program = match Program::try_parse() {
        Ok(program) => program,
        Err(error) => {
            let status = if error.use_stderr() { 2 } else { 0 };
            options::misuse::explain(error);
            return ExitCode::from(status);
        }
    };
    let ran = run(program.verb);
    let is_faulty = device::close_emulated();
    match ran {
        Ok(_) if is_faulty => ExitCode::FAILURE,
        Ok(status) => status,
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            ExitCode::from(2)
        }
    }
}

/// Runs a verb; the exit status of a run without an error.
fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Run(arguments) => return verbs::run::run(&arguments),
        Verb::Show(arguments) => verbs::show::run(&arguments),
        Verb::Plan(arguments) => return verbs::plan::run(&arguments),
        Verb::Bench(arguments) => verbs::bench::run(&arguments),
        Verb::Tokenize(arguments) => verbs::tokenize::run(&arguments),
        Verb::Detokenize(arguments) => verbs::detokenize::run(&arguments),
        Verb::Template(arguments) => verbs::template::run(&arguments),
        Verb::Logits(arguments) => verbs::logits::run(&arguments),
        Verb::Perplexity(arguments) => verbs::perplexity::run(&arguments),
        Verb::Quantize(arguments) => verbs::quantize::run(&arguments),
        Verb::Pull(arguments) => verbs::pull::run(&arguments),
        Verb::List(arguments) => verbs::list::run(&arguments),
        Verb::Rm(arguments) => verbs::rm::run(&arguments),
        Verb::Completions(arguments) => verbs::completions::run(&arguments),
        Verb::Doctor(arguments) => verbs::doctor::run(&arguments),
    }?;
    Ok(ExitCode::SUCCESS)
}

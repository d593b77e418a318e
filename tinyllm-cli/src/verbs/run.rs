//! `run`: answers a prompt.

use std::{
    io::{self, IsTerminal, Read, Write},
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use serde_json::json;
use tinyllm_mem::{Host, Tracking};
use tinyllm_model::{
    Engine, Tokenizer,
    chat::{ChatTemplate, Message},
    generation::{self, Event, Generation, GenerationParameters},
    sampling::Sampling,
    tokenizer::EncodeOptions,
};

use crate::{
    models::Model,
    options::{LoadOptions, TokenIds, token_ids},
    output,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// A directory, a .gguf file, or an alias (smollm2); without it, a tiny model that is part of the program
    model: Option<String>,
    /// The prompt; without it, stdin
    prompt: Option<String>,
    /// Token ids to run as they are, instead of a prompt
    #[arg(long, value_parser = token_ids, conflicts_with = "prompt")]
    ids: Option<TokenIds>,
    /// No chat template: the prompt is the text to continue
    #[arg(long)]
    raw: bool,
    /// What the model is told before the conversation
    #[arg(long, visible_alias = "system-prompt")]
    system: Option<String>,
    /// Tokens to generate at most
    #[arg(short = 'n', long, visible_aliases = ["predict", "n-predict", "num-predict"])]
    max_tokens: Option<usize>,
    /// Text that ends the answer (may be given again)
    #[arg(long, visible_alias = "reverse-prompt")]
    stop: Vec<String>,
    /// Go on past the model's end tokens
    #[arg(long)]
    ignore_eos: bool,
    /// Print one JSON object when done
    #[arg(long)]
    json: bool,
    /// Print timings and memory on stderr
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    sampling: SamplingOptions,
    #[command(flatten)]
    load: LoadOptions,
}

#[derive(Args)]
#[command(next_help_heading = "Sampling options")]
struct SamplingOptions {
    /// 0 always takes the most likely token
    #[arg(long, visible_alias = "temperature", default_value_t = Sampling::default().temperature)]
    temp: f32,
    /// Keep this many of the most likely tokens (0: all)
    #[arg(long, default_value_t = Sampling::default().top_k)]
    top_k: usize,
    /// Keep the most likely tokens up to this share
    #[arg(long, default_value_t = Sampling::default().top_p)]
    top_p: f32,
    /// Drop tokens below this share of the most likely one
    #[arg(long, default_value_t = Sampling::default().min_p)]
    min_p: f32,
    /// Divides the logits of seen tokens (1: off)
    #[arg(long, visible_alias = "repetition-penalty", default_value_t = 1.0)]
    repeat_penalty: f32,
    /// Taken off the logits of seen tokens
    #[arg(long, default_value_t = 0.0)]
    presence_penalty: f32,
    /// Taken off the logits of seen tokens for each time
    #[arg(long, default_value_t = 0.0)]
    frequency_penalty: f32,
    /// How many of the last tokens count as seen (0: all)
    #[arg(long, default_value_t = Sampling::default().penalty_window)]
    repeat_last_n: usize,
    /// The same seed gives the same answer [default: from the clock]
    #[arg(short, long, env = "TINYLLM_SEED")]
    seed: Option<u64>,
}

impl SamplingOptions {
    fn sampling(&self) -> Sampling {
        let clock = || {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(0, |time| time.as_nanos() as u64)
        };
        Sampling {
            temperature: self.temp,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repeat_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            penalty_window: self.repeat_last_n,
            seed: self.seed.unwrap_or_else(clock),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let model = match &arguments.model {
        Some(name) => Model::open(name)?,
        None => Model::embedded()?,
    };
    let (tokenizer, prompt_ids) = prompt(arguments, &model)?;
    let (mut engine, tracking) = arguments.load.load(&model, None, 1)?;
    let parameters = GenerationParameters {
        sampling: arguments.sampling.sampling(),
        max_tokens: arguments.max_tokens,
        stop_strings: arguments.stop.clone(),
        stop_tokens: Vec::new(),
        ignore_eos: arguments.ignore_eos,
    };
    let cancelled = cancellation()?;
    let mut failure = None;
    let answer =
        generation::generate(&mut engine, tokenizer.as_ref(), &prompt_ids, &parameters, &mut |event| {
            if let (Event::Text(text), false) = (event, arguments.json)
                && let Err(error) = output::print(text)
            {
                failure = Some(error);
                return ControlFlow::Break(());
            }
            if cancelled.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
    if let Some(error) = failure {
        return Err(error);
    }
    if arguments.json {
        return output::print_json(&report(&prompt_ids, &answer, &engine, &tracking));
    }
    output::print("\n")?;
    if arguments.verbose {
        output::note(&summary(&answer, &engine, &tracking));
    }
    Ok(())
}

/// Ctrl-C stops the answer.
fn cancellation() -> anyhow::Result<Arc<AtomicBool>> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancelled);
    ctrlc::set_handler(move || {
        // A second Ctrl-C ends the program: the first may wait for a long step.
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .context("Ctrl-C")?;
    Ok(cancelled)
}

/// The prompt's tokens; a tokenizer where the model has one.
fn prompt(arguments: &Arguments, model: &Model) -> anyhow::Result<(Option<Tokenizer>, Vec<u32>)> {
    if let Some(ids) = &arguments.ids {
        // Ids need no tokenizer; with one, the answer has a text.
        return Ok((model.tokenizer().ok(), ids.0.clone()));
    }
    let tokenizer = model.tokenizer()?;
    let text = text(arguments)?;
    let template = if arguments.raw { None } else { model.template_source()? };
    let ids = match template {
        None => tokenizer.encode(&text, EncodeOptions { parse_special: false, add_special: true })?,
        Some(source) => {
            let mut messages = Vec::new();
            if let Some(system) = &arguments.system {
                messages.push(Message { role: "system".into(), content: system.clone() });
            }
            messages.push(Message { role: "user".into(), content: text });
            chat_ids(&tokenizer, &ChatTemplate::new(&source)?, &messages)?
        }
    };
    Ok((Some(tokenizer), ids))
}

/// Renders messages and encodes them. Special tokens written by the user stay text: each message's own words stand in
/// the template as a mark that no text contains, and are encoded apart.
fn chat_ids(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[Message],
) -> anyhow::Result<Vec<u32>> {
    let rendered = template.render(&serde_json::to_value(messages)?, true)?;
    let mut ids = Vec::new();
    let mut rest = rendered.as_str();
    let has_special = |text: &str| -> anyhow::Result<bool> {
        let plain = EncodeOptions { parse_special: false, add_special: false };
        let parsed = EncodeOptions { parse_special: true, add_special: false };
        Ok(tokenizer.encode(text, plain)? != tokenizer.encode(text, parsed)?)
    };
    for message in messages {
        let words = message.content.trim();
        if !words.is_empty()
            && has_special(words)?
            && let Some(at) = rest.find(words)
        {
            ids.extend(
                tokenizer.encode(&rest[..at], EncodeOptions { parse_special: true, add_special: false })?,
            );
            ids.extend(tokenizer.encode(words, EncodeOptions { parse_special: false, add_special: false })?);
            rest = &rest[at + words.len()..];
        }
    }
    ids.extend(tokenizer.encode(rest, EncodeOptions { parse_special: true, add_special: false })?);
    Ok(ids)
}

/// PROMPT, and what is piped in.
fn text(arguments: &Arguments) -> anyhow::Result<String> {
    let mut piped = String::new();
    let stdin = io::stdin();
    if arguments.prompt.is_none() {
        if stdin.is_terminal() {
            io::stderr().write_all(b"prompt (end with Ctrl-D): ")?;
        }
        stdin.lock().read_to_string(&mut piped).context("stdin")?;
    }
    let text = arguments.prompt.clone().unwrap_or(piped);
    anyhow::ensure!(!text.is_empty(), "the prompt is empty");
    Ok(text)
}

fn per_second(tokens: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { tokens as f64 / time.as_secs_f64() }
}

fn report(
    prompt_ids: &[u32],
    answer: &Generation,
    engine: &Engine,
    tracking: &Tracking<Host>,
) -> serde_json::Value {
    let timings = answer.timings;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    json!({
        "prompt_ids": prompt_ids,
        "ids": answer.ids,
        "text": answer.text,
        "finish_reason": answer.finish_reason.name(),
        "timings": {
            "load_ms": ms(engine.load_time()),
            "prefill_ms": ms(timings.prefill),
            "decode_ms": ms(timings.decode),
            "prefill_tokens_per_s": per_second(timings.prefilled_tokens, timings.prefill),
            "decode_tokens_per_s": per_second(timings.decoded_tokens, timings.decode),
        },
        "memory": output::memory_json(tracking),
    })
}

fn summary(answer: &Generation, engine: &Engine, tracking: &Tracking<Host>) -> String {
    let timings = answer.timings;
    let mut text = format!(
        "load {:.0} ms; prefill {} tokens, {:.1}/s; decode {} tokens, {:.1}/s; finish: {}\n",
        engine.load_time().as_secs_f64() * 1e3,
        timings.prefilled_tokens,
        per_second(timings.prefilled_tokens, timings.prefill),
        timings.decoded_tokens,
        per_second(timings.decoded_tokens, timings.decode),
        answer.finish_reason.name(),
    );
    let report = tracking.report();
    for (category, usage) in &report.categories {
        text.push_str(&format!("{:<18}{:>14} bytes\n", category.name(), usage.peak_bytes));
    }
    text.push_str(&format!("{:<18}{:>14} bytes", "total", report.total.peak_bytes));
    text
}

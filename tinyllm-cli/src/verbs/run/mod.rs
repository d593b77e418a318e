//! `run`: answers a prompt, or chats.

mod chat;
mod interrupt;
mod memory;
mod prompt;
mod report;
mod sampling;

use std::{io::IsTerminal, ops::ControlFlow, process::ExitCode};

use clap::Args;
use tinyllm_model::{
    ModelFiles,
    files::join,
    generation::{self, Event, FinishReason, GenerationParameters},
};

use self::{
    chat::Overflow,
    interrupt::{INTERRUPTED, Interrupt},
    prompt::Prompt,
    sampling::{SamplingOptions, TokenLimit, token_limit},
};
use crate::{
    models,
    options::{self, LoadOptions, TokenIds, token_ids},
    output,
};

/// Tokens from one line of `--verbose` on memory to the next.
const LIVE_LINE_TOKENS: usize = 128;

#[derive(Args)]
pub(crate) struct Arguments {
    #[arg(help = format!("{}; without it, a tiny model that is part of the program", models::MODEL), add = options::completion::model())]
    model: Option<String>,
    /// The prompt, in one word or several; what is piped into stdin precedes it, with an empty line between. Without
    /// PROMPT stdin is the prompt, and on a terminal a chat begins
    prompt: Vec<String>,
    /// A file with the prompt, or with what precedes PROMPT, instead of stdin (-: stdin)
    #[arg(short, long, value_hint = clap::ValueHint::FilePath)]
    file: Option<String>,
    /// Token ids to run as they are, instead of a prompt
    #[arg(long, value_parser = token_ids, conflicts_with_all = ["prompt", "file", "interactive"])]
    ids: Option<TokenIds>,
    /// Chat line by line, even where stdin is no terminal
    #[arg(short, long, visible_alias = "conversation", conflicts_with_all = ["json", "file"])]
    interactive: bool,
    /// No chat template: the prompt is the text to continue
    #[arg(long)]
    raw: bool,
    /// What a chat does when it no longer fits the context: ask, once and on a terminal only, elsewhere stop; drop its
    /// oldest turns, saying so; or stop until there is room
    #[arg(long, value_enum, default_value = "ask")]
    overflow: Overflow,
    /// What the model is told before the conversation
    #[arg(long, visible_alias = "system-prompt", conflicts_with = "raw")]
    system: Option<String>,
    /// Tokens to generate at most [default: -1, until the model ends or the context is full]
    #[arg(short = 'n', long, visible_aliases = ["predict", "n-predict", "num-predict"], allow_negative_numbers = true, value_parser = token_limit)]
    max_tokens: Option<TokenLimit>,
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
    /// Print on stderr at the end what memory was used: by category, the largest allocations, what was not freed
    #[arg(long)]
    memory_report: bool,
    /// Write memory over time for Perfetto or chrome://tracing
    #[arg(long, conflicts_with = "interactive")]
    memory_trace: Option<std::path::PathBuf>,
    #[command(flatten)]
    sampling: SamplingOptions,
    #[command(flatten)]
    load: LoadOptions,
}

impl Arguments {
    fn generation(&self) -> GenerationParameters {
        GenerationParameters::default()
            .with_sampling(self.sampling.sampling())
            .with_max_tokens(self.max_tokens.and_then(|limit| limit.0))
            .with_stop_strings(self.stop.clone())
            .with_ignore_eos(self.ignore_eos)
    }

    /// The words of PROMPT as one text.
    fn prompt(&self) -> Option<String> {
        (!self.prompt.is_empty()).then(|| self.prompt.join(" "))
    }

    /// Whether to chat rather than to answer once.
    fn is_chat(&self) -> bool {
        let is_named = !self.prompt.is_empty() || self.file.is_some() || self.ids.is_some() || self.json;
        self.interactive || (!is_named && std::io::stdin().is_terminal())
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let model = match &arguments.model {
        Some(name) => models::open(name)?,
        None => models::open_embedded()?,
    };
    if arguments.is_chat() {
        chat::run(arguments, &model)?;
        return Ok(ExitCode::SUCCESS);
    }
    // Whoever runs this in a loop must hear of Ctrl-C, and must not take half an answer for a whole one.
    let status = match answer(arguments, &model)? {
        FinishReason::Cancelled => ExitCode::from(INTERRUPTED),
        _ => ExitCode::SUCCESS,
    };
    Ok(status)
}

/// Answers one prompt.
fn answer(arguments: &Arguments, model: &ModelFiles) -> anyhow::Result<FinishReason> {
    let prompt = Prompt::read(arguments)?;
    // The tokenizer takes longer to build than a small model to load.
    let ((tokenizer, prompt_ids), (mut engine, tracking)) =
        join(|| prompt.tokens(arguments, model), || arguments.load.load_lazily(model))?;
    let interrupt = Interrupt::install()?;
    let sequence = engine.create_sequence()?;
    let (context, mut tokens) = (engine.context_size(), 0);
    let live = |phase, tokens| {
        if arguments.verbose {
            output::note(&memory::line(phase, &tracking, tokens, context));
        }
    };
    live("loaded", 0);
    let mut failure = None;
    let answer = generation::generate(
        &mut engine,
        sequence,
        tokenizer.as_ref(),
        &prompt_ids,
        &arguments.generation(),
        &mut |event| {
            if let Event::Token(_) = event {
                if tokens % LIVE_LINE_TOKENS == 0 {
                    live(if tokens == 0 { "prefilled" } else { "decoding" }, prompt_ids.len() + tokens);
                }
                tokens += 1;
            }
            if let (Event::Text(text), false) = (event, arguments.json)
                && let Err(error) = output::print(text)
            {
                failure = Some(error);
                return ControlFlow::Break(());
            }
            interrupt.flow()
        },
    )?;
    if let Some(error) = failure {
        return Err(error);
    }
    if arguments.json {
        output::print_json(&report::json(&prompt_ids, &answer, &engine, &tracking))?;
    } else {
        output::print("\n")?;
    }
    if arguments.verbose {
        live("answered", engine.sequence_tokens(sequence)?.len());
        output::note(&format!(
            "load {:.0} ms; {}",
            engine.load_time().as_secs_f64() * 1e3,
            report::speed(&answer)
        ));
        output::note(&report::memory(&tracking));
    }
    let spans = memory::Spans::new(&engine, &answer);
    let before = tracking.report();
    drop(engine);
    if arguments.memory_report {
        output::note(&memory::report(&before, &tracking.report()));
    }
    if let Some(path) = &arguments.memory_trace {
        output::write_file(path, memory::trace(&tracking, &spans)?.as_bytes())?;
    }
    // A hundred thousand strings: the system takes them back at once, one by one they take a tenth of a short answer.
    std::mem::forget(tokenizer);
    Ok(answer.finish_reason)
}

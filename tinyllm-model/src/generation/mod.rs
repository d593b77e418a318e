//! Text from a model: prefill, decode, stop, cancel. What is chosen and when to stop is [`GenerationState`]'s; how logits
//! come about is the engine's; here the two are driven, for one answer or for several at once.

mod batch;
mod state;
mod stop;

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

pub use self::{
    batch::{GenerationRequest, generate_batch},
    state::{Advance, GenerationState},
};
use crate::{Engine, Result, Tokenizer, engine::SequenceId, sampling::Sampling};

/// What a user may choose for one answer.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct GenerationParameters {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Tokens at most; `None`: until the model stops or the context is full.
    pub max_tokens: Option<usize>,
    /// Text that ends the answer; it is not part of it.
    pub stop_strings: Vec<String>,
    /// Tokens that end the answer, beside the model's own.
    pub stop_tokens: Vec<u32>,
    /// Go on past the model's own end tokens.
    pub ignore_eos: bool,
}

/// Setters, for a chain that begins with a default.
impl GenerationParameters {
    /// Sets [`Self::sampling`].
    pub fn with_sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// Sets [`Self::max_tokens`].
    pub fn with_max_tokens(mut self, max_tokens: impl Into<Option<usize>>) -> Self {
        self.max_tokens = max_tokens.into();
        self
    }

    /// Sets [`Self::stop_strings`].
    pub fn with_stop_strings(mut self, stop_strings: Vec<String>) -> Self {
        self.stop_strings = stop_strings;
        self
    }

    /// Sets [`Self::stop_tokens`].
    pub fn with_stop_tokens(mut self, stop_tokens: Vec<u32>) -> Self {
        self.stop_tokens = stop_tokens;
        self
    }

    /// Sets [`Self::ignore_eos`].
    pub fn with_ignore_eos(mut self, ignore_eos: bool) -> Self {
        self.ignore_eos = ignore_eos;
        self
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// An end token or a stop string.
    Stop,
    /// `max_tokens`, or the context is full.
    Length,
    /// The caller said so.
    Cancelled,
}

impl FinishReason {
    /// The word in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::Cancelled => "cancelled",
        }
    }
}

/// What a caller hears while an answer is made.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A chunk of the prompt is about to run.
    Prefill,
    /// A token was chosen.
    Token(u32),
    /// Text is certain: whole characters, and no beginning of a stop string.
    Text(&'a str),
}

/// How long an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// From the start to the first token's logits.
    pub prefill: Duration,
    /// From there to the last token.
    pub decode: Duration,
    /// Tokens of the prompt that ran; the rest was in the cache.
    pub prefilled_tokens: usize,
    /// Decode steps.
    pub decoded_tokens: usize,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Generation {
    /// The chosen tokens, without the one that ended the answer.
    pub ids: Vec<u32>,
    /// Their text; empty without a tokenizer.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// How long it took.
    pub timings: Timings,
}

/// Continues `prompt` in `sequence`, which keeps the tokens of both: a conversation's next turn runs only what is new.
///
/// # Errors
/// [`crate::ModelError::InvalidParameter`]; those of [`Engine::prefill`] and [`Engine::decode`]; the tokenizer's.
pub fn generate(
    engine: &mut Engine,
    sequence: SequenceId,
    tokenizer: Option<&Tokenizer>,
    prompt: &[u32],
    parameters: &GenerationParameters,
    on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Generation> {
    let room = engine.context_size().saturating_sub(prompt.len());
    let state = GenerationState::new(parameters, engine.config(), tokenizer, room)?;
    let prefilled_tokens = prompt.len() - engine.cached_prefix(sequence, prompt)?;
    let mut answer = Answer::new(state, prefilled_tokens);
    let mut go_on = || on_event(Event::Prefill).is_continue();
    if engine.prefill(sequence, prompt, &mut go_on)?.is_none() {
        answer.cancel(on_event)?;
    }
    while !answer.is_finished() {
        if let Some(token) = answer.advance(engine, 0, on_event)? {
            engine.decode(sequence, token)?;
        }
    }
    Ok(answer.finish())
}

/// An answer so far: its state, and what it has come to.
struct Answer<'t> {
    state: GenerationState<'t>,
    generation: Generation,
    start: Instant,
    /// When the first logits were there.
    decode_start: Option<Instant>,
}

impl<'t> Answer<'t> {
    /// An answer whose prompt begins to run now.
    fn new(state: GenerationState<'t>, prefilled_tokens: usize) -> Self {
        let generation = Generation {
            ids: Vec::new(),
            text: String::new(),
            finish_reason: FinishReason::Cancelled,
            timings: Timings { prefilled_tokens, ..Timings::default() },
        };
        Answer { state, generation, start: Instant::now(), decode_start: None }
    }

    fn is_finished(&self) -> bool {
        self.state.finished().is_some()
    }

    /// Takes sampled row `row` of the step that just ran; the token to decode next, unless the answer has ended.
    fn advance(
        &mut self,
        engine: &mut Engine,
        row: usize,
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Option<u32>> {
        match self.decode_start {
            Some(_) => self.generation.timings.decoded_tokens += 1,
            None => {
                self.generation.timings.prefill = self.start.elapsed();
                self.decode_start = Some(Instant::now());
            }
        }
        let advance = self.state.advance(engine.sampled_row(row)?)?;
        self.generation.ids.extend(advance.token);
        let token = advance.token.map(Event::Token);
        let text = (!advance.text.is_empty()).then_some(Event::Text(advance.text));
        let mut cancelled = false;
        for event in token.into_iter().chain(text) {
            cancelled |= on_event(event).is_break();
        }
        self.generation.text.push_str(advance.text);
        let (token, finished) = (advance.token, advance.finished);
        if let Some(reason) = finished {
            let is_whole = reason == FinishReason::Stop || !cancelled;
            self.generation.finish_reason = if is_whole { reason } else { FinishReason::Cancelled };
        } else if cancelled {
            self.cancel(on_event)?;
        }
        Ok(token.filter(|_| !self.is_finished()))
    }

    /// Ends it, with the text that was held back.
    fn cancel(&mut self, on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> Result<()> {
        let advance = self.state.cancel()?;
        self.generation.text.push_str(advance.text);
        if !advance.text.is_empty() {
            // The answer is over: there is nothing left to cancel.
            let _ = on_event(Event::Text(advance.text));
        }
        if let Some(reason) = advance.finished {
            self.generation.finish_reason = reason;
        }
        Ok(())
    }

    fn finish(mut self) -> Generation {
        self.generation.timings.decode = self.decode_start.map(|start| start.elapsed()).unwrap_or_default();
        self.generation
    }
}

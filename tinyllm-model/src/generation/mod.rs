//! Text from a model: prefill, decode, stop, cancel. What is chosen and when to stop is here; how logits come about is
//! the engine's.

mod stop;

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use tinyllm_kernels::Backend;
use tinyllm_mem::Host;

use self::stop::StopStrings;
use crate::{
    Engine, ModelError, Result, Tokenizer,
    sampling::{Sampler, Sampling},
    tokenizer::DecodeStream,
};

/// What a user may choose for one answer.
#[derive(Clone, Debug, Default, PartialEq)]
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

/// Continues `prompt`. The answer's tokens stay in the engine's cache, so that a conversation's next turn runs only
/// what is new.
///
/// # Errors
/// A prompt that is empty or longer than the context, a parameter out of range; the engine's errors.
pub fn generate<B: Backend<Space = Host>>(
    engine: &mut Engine<B>,
    tokenizer: Option<&Tokenizer>,
    prompt: &[u32],
    parameters: &GenerationParameters,
    on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Generation> {
    if let Some((name, range)) = parameters.sampling.invalid() {
        return Err(ModelError::Request(format!("sampling: {name} must be {range}")));
    }
    let vocab_size = engine.config().vocab_size;
    let mut sampler = Sampler::new(parameters.sampling.clone(), vocab_size, engine.context_size());
    prompt.iter().for_each(|token| sampler.accept(*token));
    let mut answer = Answer::new(tokenizer, parameters, engine.context_size().saturating_sub(prompt.len()));
    let start = Instant::now();
    let cached = engine.cached_tokens().iter().zip(prompt).take_while(|(a, b)| a == b).count();
    let mut timings = Timings {
        prefilled_tokens: prompt.len() - cached.min(prompt.len().saturating_sub(1)),
        ..Timings::default()
    };

    let mut go_on = || on_event(Event::Prefill).is_continue();
    let Some(logits) = engine.prefill(prompt, &mut go_on)? else {
        return answer.finish(FinishReason::Cancelled, timings, on_event);
    };
    timings.prefill = start.elapsed();
    let decode_start = Instant::now();
    let mut token = sampler.sample(logits);
    let finish_reason = loop {
        if let Some(reason) = answer.ends_with(token, engine) {
            break reason;
        }
        sampler.accept(token);
        if let Some(reason) = answer.push(token, on_event)? {
            break reason;
        }
        if answer.is_full() {
            break FinishReason::Length;
        }
        token = sampler.sample(engine.decode(token)?);
        timings.decoded_tokens += 1;
    };
    timings.decode = decode_start.elapsed();
    answer.finish(finish_reason, timings, on_event)
}

/// The answer so far.
struct Answer<'a> {
    parameters: &'a GenerationParameters,
    max_tokens: usize,
    ids: Vec<u32>,
    text: String,
    tokenizer: Option<&'a Tokenizer>,
    decoder: Option<DecodeStream<'a>>,
    stops: StopStrings<'a>,
}

impl<'a> Answer<'a> {
    fn new(tokenizer: Option<&'a Tokenizer>, parameters: &'a GenerationParameters, room: usize) -> Self {
        let max_tokens = parameters.max_tokens.unwrap_or(usize::MAX).min(room.saturating_add(1));
        Answer {
            parameters,
            max_tokens,
            ids: Vec::with_capacity(max_tokens),
            text: String::with_capacity(8 * max_tokens),
            tokenizer,
            decoder: tokenizer.map(|tokenizer| tokenizer.decode_stream(true)),
            stops: StopStrings::new(&parameters.stop_strings),
        }
    }

    fn is_full(&self) -> bool {
        self.ids.len() >= self.max_tokens
    }

    /// Whether the answer ends before `token`.
    fn ends_with<B: Backend<Space = Host>>(&self, token: u32, engine: &Engine<B>) -> Option<FinishReason> {
        let is_end = |ids: &[u32]| ids.contains(&token);
        let own = is_end(&engine.config().eos_token_ids)
            || self.tokenizer.is_some_and(|tokenizer| is_end(tokenizer.end_token_ids()));
        if own && !self.parameters.ignore_eos || self.parameters.stop_tokens.contains(&token) {
            return Some(FinishReason::Stop);
        }
        self.is_full().then_some(FinishReason::Length)
    }

    fn push(
        &mut self,
        token: u32,
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Option<FinishReason>> {
        self.ids.push(token);
        if on_event(Event::Token(token)).is_break() {
            return Ok(Some(FinishReason::Cancelled));
        }
        if let Some(tokenizer) = self.tokenizer
            && self.stops.is_watching()
            && let Some(special) = tokenizer.special_token(token)
        {
            return Ok(self.watch(on_event, |stops, text| stops.push_special(&special, text)));
        }
        let piece = match &mut self.decoder {
            Some(decoder) => decoder.push(token)?,
            None => None,
        };
        Ok(piece.and_then(|piece| self.append(&piece, on_event)))
    }

    fn append(
        &mut self,
        piece: &str,
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Option<FinishReason> {
        self.watch(on_event, |stops, text| stops.push(piece, text))
    }

    /// Tells what becomes certain when the stop strings see more.
    fn watch(
        &mut self,
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
        see: impl FnOnce(&mut StopStrings<'a>, &mut String) -> bool,
    ) -> Option<FinishReason> {
        let known = self.text.len();
        let stopped = see(&mut self.stops, &mut self.text);
        let cancelled = self.text.len() > known && on_event(Event::Text(&self.text[known..])).is_break();
        match (stopped, cancelled) {
            (true, _) => Some(FinishReason::Stop),
            (false, true) => Some(FinishReason::Cancelled),
            (false, false) => None,
        }
    }

    fn finish(
        mut self,
        finish_reason: FinishReason,
        timings: Timings,
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Generation> {
        let mut finish_reason = finish_reason;
        if !self.stops.is_stopped() {
            let rest = match &mut self.decoder {
                Some(decoder) => decoder.finish()?,
                None => None,
            };
            if let Some(reason) = rest.and_then(|rest| self.append(&rest, on_event)) {
                finish_reason = reason;
            }
            let known = self.text.len();
            self.stops.release(&mut self.text);
            if self.text.len() > known {
                // The answer is over: there is nothing left to cancel.
                let _ = on_event(Event::Text(&self.text[known..]));
            }
        }
        Ok(Generation { ids: self.ids, text: self.text, finish_reason, timings })
    }
}

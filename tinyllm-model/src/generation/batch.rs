//! Several answers at once, each in a sequence of its own: the decoding ones take a token of every step, and prompts run in
//! what a step has left. Each answer is the one that [`super::generate`] would give alone.

use std::ops::ControlFlow;

use super::{Answer, Event, Generation, GenerationParameters, GenerationState};
use crate::{
    Engine, ModelError, Result, Tokenizer,
    engine::{SequenceId, SequenceInput},
};

/// A prompt of a batch, and how it is to be answered.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GenerationRequest<'a> {
    /// The prompt's tokens.
    pub prompt: &'a [u32],
    /// What was chosen for its answer.
    pub parameters: &'a GenerationParameters,
}

impl<'a> GenerationRequest<'a> {
    /// A request to continue `prompt`.
    pub fn new(prompt: &'a [u32], parameters: &'a GenerationParameters) -> Self {
        GenerationRequest { prompt, parameters }
    }
}

/// Continues several prompts, and gives their answers in the order of the requests. As many run at once as the engine has
/// sequences for and the cache has blocks for, to the answers' longest; the others wait for their turn. Events come with
/// the request's index; one that is answered with a break ends that request alone.
///
/// # Errors
/// [`ModelError::InvalidParameter`], [`ModelError::EmptyPrompt`], [`ModelError::TokenOutOfVocabulary`],
/// [`ModelError::ContextExceeded`] for a request that can never run, before any has; [`ModelError::CacheFull`] where one
/// does not fit what is free of the cache even alone; those of [`Engine::forward`]; the tokenizer's. No sequence is left.
pub fn generate_batch(
    engine: &mut Engine,
    tokenizer: Option<&Tokenizer>,
    requests: &[GenerationRequest<'_>],
    on_event: &mut dyn FnMut(usize, Event<'_>) -> ControlFlow<()>,
) -> Result<Vec<Generation>> {
    let mut waiting = Vec::with_capacity(requests.len());
    for (index, request) in requests.iter().enumerate() {
        engine.check_tokens(request.prompt, request.prompt.len())?;
        let room = engine.context_size() - request.prompt.len();
        let state = GenerationState::new(request.parameters, engine.config(), tokenizer, room)?;
        waiting.push(Waiting { index, prompt: request.prompt, state });
    }
    waiting.reverse();
    let mut batch = Batch {
        free_blocks: engine.free_blocks(),
        waiting,
        running: Vec::new(),
        answers: requests.iter().map(|_| None).collect(),
    };
    let mut outcome = Ok(());
    while outcome.is_ok() && !batch.is_done() {
        outcome = batch.step(engine, on_event);
    }
    for Running { sequence, .. } in batch.running {
        engine.free_sequence(sequence)?;
    }
    outcome.map(|()| batch.answers.into_iter().flatten().collect())
}

/// A request that has no sequence yet.
struct Waiting<'a> {
    index: usize,
    prompt: &'a [u32],
    state: GenerationState<'a>,
}

impl Waiting<'_> {
    /// Tokens that its sequence will have at most. The answer's last token stays outside the cache.
    fn longest(&self) -> usize {
        self.prompt.len().saturating_add(self.state.tokens_left().saturating_sub(1))
    }
}

/// A request with a sequence.
struct Running<'a> {
    index: usize,
    sequence: SequenceId,
    /// What of the prompt has not run.
    prompt: &'a [u32],
    /// The token that was chosen last and has not run.
    token: Option<u32>,
    /// Blocks kept free for it, or held by it.
    blocks: usize,
    answer: Answer<'a>,
}

struct Batch<'a> {
    /// Blocks that no admitted request will need.
    free_blocks: usize,
    /// The last is the next.
    waiting: Vec<Waiting<'a>>,
    running: Vec<Running<'a>>,
    /// By request.
    answers: Vec<Option<Generation>>,
}

impl<'a> Batch<'a> {
    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// One step of everything that runs.
    fn step(
        &mut self,
        engine: &mut Engine,
        on_event: &mut dyn FnMut(usize, Event<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.admit(engine)?;
        // Decoding tokens first: there is room for one of every sequence.
        let decoding = self.running.iter().filter(|request| request.token.is_some()).count();
        let mut left = engine.max_step_tokens() - decoding;
        let mut chunks = Vec::with_capacity(self.running.len());
        for request in &mut self.running {
            let chunk = request.prompt.len().min(left);
            if chunk > 0 && on_event(request.index, Event::Prefill).is_break() {
                request.answer.cancel(&mut |event| on_event(request.index, event))?;
            }
            let chunk = if request.answer.is_finished() { 0 } else { chunk };
            left -= chunk;
            chunks.push(chunk);
        }
        let planned = self.running.iter().zip(&chunks).filter_map(|(request, chunk)| {
            let (sequence, rows) = (request.sequence, usize::from(*chunk == request.prompt.len()));
            match &request.token {
                Some(token) => Some(SequenceInput::new(sequence, std::slice::from_ref(token), 1)),
                None if *chunk > 0 => Some(SequenceInput::new(sequence, &request.prompt[..*chunk], rows)),
                None => None,
            }
        });
        let planned: Vec<_> = planned.collect();
        if !planned.is_empty() {
            engine.forward(&planned)?;
        }
        let mut row = 0;
        for (request, chunk) in self.running.iter_mut().zip(chunks) {
            request.prompt = &request.prompt[chunk..];
            let is_sampled = request.token.is_some() || (chunk > 0 && request.prompt.is_empty());
            if is_sampled {
                let mut on_event = |event: Event<'_>| on_event(request.index, event);
                request.token = request.answer.advance(engine, row, &mut on_event)?;
                row += 1;
            }
        }
        self.retire(engine)
    }

    /// Gives sequences to waiting requests, in their order, as long as there are any and their blocks are free.
    fn admit(&mut self, engine: &mut Engine) -> Result<()> {
        while let Some(next) = self.waiting.last() {
            let needed_blocks = next.longest().div_ceil(engine.block_tokens());
            let sequence = if needed_blocks > self.free_blocks {
                Err(ModelError::CacheFull { needed_blocks, free_blocks: self.free_blocks })
            } else {
                engine.create_sequence()
            };
            let sequence = match sequence {
                Ok(sequence) => sequence,
                Err(ModelError::CacheFull { .. } | ModelError::TooManySequences { .. })
                    if !self.running.is_empty() =>
                {
                    break;
                }
                Err(error) => return Err(error),
            };
            let Some(Waiting { index, prompt, state }) = self.waiting.pop() else { break };
            self.free_blocks -= needed_blocks;
            let answer = Answer::new(state, prompt.len());
            self.running.push(Running {
                index,
                sequence,
                prompt,
                token: None,
                blocks: needed_blocks,
                answer,
            });
        }
        Ok(())
    }

    /// Frees the sequences of answers that have ended.
    fn retire(&mut self, engine: &mut Engine) -> Result<()> {
        let mut index = 0;
        while let Some(request) = self.running.get(index) {
            if !request.answer.is_finished() {
                index += 1;
                continue;
            }
            let request = self.running.remove(index);
            engine.free_sequence(request.sequence)?;
            self.free_blocks += request.blocks;
            self.answers[request.index] = Some(request.answer.finish());
        }
        Ok(())
    }
}

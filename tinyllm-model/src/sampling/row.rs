//! What a token is chosen from: a row of logits, the tokens before it, and memory to choose in.

/// A row of a step whose next token is to be chosen. An engine gives it: [`crate::Engine::sampled_row`].
#[derive(Debug)]
pub struct SampledRow<'a> {
    /// The tokens of the sequence up to this row.
    pub tokens: &'a [u32],
    /// `[vocab]`; choosing changes them.
    pub logits: &'a mut [f32],
    /// Memory to choose in.
    pub scratch: SamplerScratch<'a>,
}

/// Memory for choosing one token at a time; what is left in it does not matter.
///
/// ```
/// use tinyllm_model::sampling::{SampledRow, Sampler, SamplerScratch, Sampling};
/// let mut memory = vec![0; SamplerScratch::words(4).unwrap_or_default()];
/// let scratch = SamplerScratch::new(&mut memory);
/// let row = SampledRow { tokens: &[2, 0], logits: &mut [0.5, 2.0, 1.0, -1.0], scratch };
/// assert_eq!(Sampler::new(Sampling::greedy())?.sample(row), 1);
/// # Ok::<(), tinyllm_model::ModelError>(())
/// ```
#[derive(Debug)]
pub struct SamplerScratch<'a> {
    /// `[vocab]`: how often a token is in the penalties' window.
    pub(super) counts: &'a mut [u32],
    /// `[vocab]`.
    pub(super) candidates: &'a mut [Candidate],
}

impl<'a> SamplerScratch<'a> {
    /// Words that a vocabulary needs; `None` where they are no number.
    pub fn words(vocab_size: usize) -> Option<usize> {
        vocab_size.checked_mul(1 + WORDS)
    }

    /// Scratch in `memory`, which has [`SamplerScratch::words`] words.
    pub fn new(memory: &'a mut [u32]) -> Self {
        let (counts, candidates) = memory.split_at_mut(memory.len() / (1 + WORDS));
        let (candidates, _) = candidates.as_chunks_mut();
        SamplerScratch { counts, candidates }
    }
}

/// The logit or weight of a token, as bits, and the token.
pub(super) type Candidate = [u32; WORDS];

const WORDS: usize = 2;

//! The sampling chain.

use super::{
    random::uniform,
    row::{Candidate, SampledRow},
};
use crate::{ModelError, Result};

/// How the next token is chosen. The defaults are llama.cpp's.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sampling {
    /// Divides the logits; 0 is argmax.
    pub temperature: f32,
    /// Keeps this many of the most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the most likely tokens up to this share of probability; 1 keeps all.
    pub top_p: f32,
    /// Drops tokens less likely than this share of the most likely one; 0 drops none.
    pub min_p: f32,
    /// Divides positive logits of seen tokens and multiplies negative ones; 1 is off.
    pub repetition_penalty: f32,
    /// Taken off the logits of seen tokens; 0 is off.
    pub presence_penalty: f32,
    /// Taken off the logits of seen tokens for each time they were seen; 0 is off.
    pub frequency_penalty: f32,
    /// How many of the last tokens count as seen: 0 is none, which turns the penalties off; `usize::MAX` is all.
    pub penalty_window: usize,
    /// The seed: the same seed and input give the same output.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            penalty_window: 64,
            seed: 0,
        }
    }
}

impl Sampling {
    /// Greedy decoding.
    pub fn greedy() -> Self {
        Sampling { temperature: 0.0, ..Sampling::default() }
    }

    /// The first parameter outside its range: its name and the range.
    pub fn invalid(&self) -> Option<(&'static str, &'static str)> {
        let checks = [
            ("temperature", "a number from 0", self.temperature >= 0.0 && self.temperature.is_finite()),
            ("top_p", "a number above 0, up to 1", self.top_p > 0.0 && self.top_p <= 1.0),
            ("min_p", "a number from 0 to 1", (0.0..=1.0).contains(&self.min_p)),
            (
                "repetition_penalty",
                "a number above 0",
                self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite(),
            ),
            ("presence_penalty", "a finite number", self.presence_penalty.is_finite()),
            ("frequency_penalty", "a finite number", self.frequency_penalty.is_finite()),
        ];
        checks.into_iter().find(|(_, _, holds)| !holds).map(|(name, range, _)| (name, range))
    }

    fn penalises(&self) -> bool {
        self.penalty_window > 0
            && (self.repetition_penalty != 1.0
                || self.presence_penalty != 0.0
                || self.frequency_penalty != 0.0)
    }
}

/// Setters, for a chain that begins with a default.
impl Sampling {
    /// Sets [`Self::temperature`].
    pub fn with_temperature(mut self, temperature: f32) -> Self {
        self.temperature = temperature;
        self
    }

    /// Sets [`Self::top_k`].
    pub fn with_top_k(mut self, top_k: usize) -> Self {
        self.top_k = top_k;
        self
    }

    /// Sets [`Self::top_p`].
    pub fn with_top_p(mut self, top_p: f32) -> Self {
        self.top_p = top_p;
        self
    }

    /// Sets [`Self::min_p`].
    pub fn with_min_p(mut self, min_p: f32) -> Self {
        self.min_p = min_p;
        self
    }

    /// Sets [`Self::repetition_penalty`].
    pub fn with_repetition_penalty(mut self, repetition_penalty: f32) -> Self {
        self.repetition_penalty = repetition_penalty;
        self
    }

    /// Sets [`Self::presence_penalty`].
    pub fn with_presence_penalty(mut self, presence_penalty: f32) -> Self {
        self.presence_penalty = presence_penalty;
        self
    }

    /// Sets [`Self::frequency_penalty`].
    pub fn with_frequency_penalty(mut self, frequency_penalty: f32) -> Self {
        self.frequency_penalty = frequency_penalty;
        self
    }

    /// Sets [`Self::penalty_window`].
    pub fn with_penalty_window(mut self, penalty_window: usize) -> Self {
        self.penalty_window = penalty_window;
        self
    }

    /// Sets [`Self::seed`].
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// Chooses tokens. It holds no state: a token is a function of the row's logits, the tokens before it, and the sampling
/// parameters with their seed. So a sequence may be forked, cut or run again, and draws what it would have drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampler {
    sampling: Sampling,
}

impl Sampler {
    /// A sampler with these parameters.
    ///
    /// # Errors
    /// [`ModelError::InvalidParameter`] for the first that is outside its range.
    pub fn new(sampling: Sampling) -> Result<Self> {
        match sampling.invalid() {
            Some((name, range)) => Err(ModelError::InvalidParameter { name, range }),
            None => Ok(Sampler { sampling }),
        }
    }

    /// The token that follows `row`. Its logits are scratch: penalties are applied in place. Allocates nothing.
    pub fn sample(&self, row: SampledRow<'_>) -> u32 {
        let SampledRow { tokens, logits, scratch } = row;
        self.penalise(tokens, logits, scratch.counts);
        if self.sampling.temperature == 0.0 {
            return argmax(logits);
        }
        let count = logits.len().min(scratch.candidates.len());
        let candidates = &mut scratch.candidates[..count];
        for ((candidate, logit), token) in candidates.iter_mut().zip(logits.iter()).zip(0..) {
            *candidate = [logit.to_bits(), token];
        }
        let candidates = self.keep_top_k(candidates);
        let (candidates, weights_sum) = self.keep_by_probability(candidates);
        self.draw(candidates, weights_sum, tokens.len() as u64)
    }

    /// Counts the tokens of the window, and lowers the logits of those that were seen.
    fn penalise(&self, tokens: &[u32], logits: &mut [f32], counts: &mut [u32]) {
        if !self.sampling.penalises() {
            return;
        }
        let window = &tokens[tokens.len().saturating_sub(self.sampling.penalty_window)..];
        for token in window {
            if let Some(count) = counts.get_mut(*token as usize) {
                *count = 0;
            }
        }
        for token in window {
            if let Some(count) = counts.get_mut(*token as usize) {
                *count += 1;
            }
        }
        for token in window {
            let token = *token as usize;
            if let (Some(logit), Some(count)) = (logits.get_mut(token), counts.get_mut(token))
                && *count > 0
            {
                let factor = self.sampling.repetition_penalty;
                *logit = if *logit > 0.0 { *logit / factor } else { *logit * factor };
                *logit -= self.sampling.presence_penalty + self.sampling.frequency_penalty * *count as f32;
                // Once, however often it is in the window.
                *count = 0;
            }
        }
    }

    /// The top k candidates, most likely first (ties by token id).
    fn keep_top_k<'c>(&self, candidates: &'c mut [Candidate]) -> &'c mut [Candidate] {
        let order = |a: &Candidate, b: &Candidate| value(b).total_cmp(&value(a)).then(a[1].cmp(&b[1]));
        let k = self.sampling.top_k;
        let kept = if k > 0 && k < candidates.len() {
            candidates.select_nth_unstable_by(k - 1, order);
            &mut candidates[..k]
        } else {
            candidates
        };
        kept.sort_unstable_by(order);
        kept
    }

    /// Applies top-p and min-p at temperature 1, then turns logits into weights at the temperature; those that are kept,
    /// and the sum of their weights.
    fn keep_by_probability<'c>(&self, candidates: &'c mut [Candidate]) -> (&'c [Candidate], f64) {
        let largest = candidates.first().map_or(0.0, value);
        let probability = |candidate: &Candidate| libm::exp(f64::from(value(candidate)) - f64::from(largest));
        let mut kept = candidates.len();
        if self.sampling.top_p < 1.0 {
            let total: f64 = candidates.iter().map(probability).sum();
            let mut mass = 0.0;
            for (rank, candidate) in candidates.iter().enumerate() {
                mass += probability(candidate) / total;
                if mass >= f64::from(self.sampling.top_p) {
                    kept = rank + 1;
                    break;
                }
            }
        }
        let least = f64::from(self.sampling.min_p);
        let likely =
            candidates[..kept].iter().take_while(|candidate| probability(candidate) >= least).count();
        let kept = likely.max(1).min(kept);
        let candidates = &mut candidates[..kept];
        let temperature = f64::from(self.sampling.temperature);
        let mut sum = 0.0;
        for candidate in &mut *candidates {
            let weight = libm::exp((f64::from(value(candidate)) - f64::from(largest)) / temperature) as f32;
            candidate[0] = weight.to_bits();
            sum += f64::from(weight);
        }
        (candidates, sum)
    }

    /// Draws the token at `position`: how many tokens came before it.
    fn draw(&self, candidates: &[Candidate], weights_sum: f64, position: u64) -> u32 {
        let mut left = uniform(self.sampling.seed, position) * weights_sum;
        let mut chosen = 0;
        for candidate in candidates {
            chosen = candidate[1];
            left -= f64::from(value(candidate));
            if left < 0.0 {
                break;
            }
        }
        chosen
    }
}

/// A candidate's logit or weight.
fn value(candidate: &Candidate) -> f32 {
    f32::from_bits(candidate[0])
}

/// The token of the largest logit; the first of equals.
pub(crate) fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::{super::SamplerScratch, *};

    /// The token after `tokens`; `logits` are what penalties make of them.
    fn sample(sampling: &Sampling, tokens: &[u32], logits: &mut [f32]) -> u32 {
        // Scratch may hold anything.
        let mut memory = vec![7; SamplerScratch::words(logits.len()).unwrap()];
        let scratch = SamplerScratch::new(&mut memory);
        Sampler::new(sampling.clone()).unwrap().sample(SampledRow { tokens, logits, scratch })
    }

    fn frequencies(sampling: Sampling, logits: &[f32], draws: u64) -> Vec<f64> {
        let (mut counts, mut tokens) = (vec![0.0; logits.len()], Vec::new());
        for _ in 0..draws {
            let token = sample(&sampling, &tokens, &mut logits.to_vec());
            tokens.push(token);
            counts[token as usize] += 1.0 / draws as f64;
        }
        counts
    }

    fn plain(seed: u64) -> Sampling {
        Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed, ..Sampling::default() }
    }

    #[test]
    fn temperature_zero_is_argmax_and_the_first_of_equals() {
        assert_eq!(sample(&Sampling::greedy(), &[], &mut [0.5, 2.0, 2.0, -1.0]), 1);
    }

    #[test]
    fn draws_follow_the_softmax() {
        // Probabilities 1/10, 2/10, 3/10, 4/10; 20,000 draws have a standard error below 0.0035.
        let logits: Vec<f32> = [1.0f32, 2.0, 3.0, 4.0].iter().map(|p| p.ln()).collect();
        for (token, frequency) in frequencies(plain(1), &logits, 20_000).into_iter().enumerate() {
            assert!((frequency - 0.1 * (token + 1) as f64).abs() < 0.015, "{token}: {frequency}");
        }
        let cold = frequencies(Sampling { temperature: 0.5, ..plain(2) }, &logits, 20_000);
        // At temperature 1/2 the weights are squared: 1, 4, 9, 16 of 30.
        for (token, weight) in [1.0, 4.0, 9.0, 16.0].into_iter().enumerate() {
            assert!((cold[token] - weight / 30.0).abs() < 0.015, "{token}: {}", cold[token]);
        }
    }

    #[test]
    fn filters_keep_what_they_say() {
        let logits: Vec<f32> = [1.0f32, 2.0, 3.0, 4.0].iter().map(|p| p.ln()).collect();
        let support = |sampling| {
            frequencies(sampling, &logits, 4000).iter().map(|frequency| *frequency > 0.0).collect::<Vec<_>>()
        };
        assert_eq!(support(Sampling { top_k: 2, ..plain(3) }), [false, false, true, true]);
        // 0.4 + 0.3 reaches 0.65; 0.4 alone does not.
        assert_eq!(support(Sampling { top_p: 0.65, ..plain(3) }), [false, false, true, true]);
        // 0.3 and 0.2 are at least 0.45 of 0.4; 0.1 is not.
        assert_eq!(support(Sampling { min_p: 0.45, ..plain(3) }), [false, true, true, true]);
    }

    #[test]
    fn penalties_act_on_seen_tokens_within_the_window() {
        let sampling = Sampling {
            repetition_penalty: 2.0,
            presence_penalty: 0.5,
            frequency_penalty: 0.25,
            ..Sampling::greedy()
        };
        let penalised = |penalty_window| {
            let mut logits = [4.0, -1.0, 3.0];
            sample(&Sampling { penalty_window, ..sampling.clone() }, &[2, 0, 0, 1], &mut logits);
            logits
        };
        // Token 2 left the window. Token 0: 4/2 - 0.5 - 2 * 0.25 = 1; token 1: -1 * 2 - 0.5 - 0.25 = -2.75.
        assert_eq!(penalised(3), [1.0, -2.75, 3.0]);
        // Token 2: 3/2 - 0.5 - 0.25.
        assert_eq!(penalised(usize::MAX), [1.0, -2.75, 0.75]);
        assert_eq!(penalised(0), [4.0, -1.0, 3.0]);
    }

    #[test]
    fn the_same_seed_gives_the_same_tokens() {
        let logits = [0.1, 0.2, 0.3, 0.4, 0.5];
        let run = |seed| {
            let mut tokens = Vec::new();
            for _ in 0..32 {
                tokens.push(sample(&plain(seed), &tokens, &mut logits.clone()));
            }
            tokens
        };
        assert_eq!(run(9), run(9));
        assert_ne!(run(9), run(10));
    }

    /// A conversation's second turn begins with the first: it goes on in the sequence of draws.
    #[test]
    fn a_draw_depends_on_the_position_alone() {
        let logits = [0.0; 1000];
        let at = |position: u32| {
            let tokens: Vec<u32> = (0..position).collect();
            sample(&plain(9), &tokens, &mut logits.clone())
        };
        // The generator's numbers for seed 9 at 0, 3 and 7, in thousandths.
        let expected = [0, 3, 7].map(|position| (uniform(9, position) * 1000.0) as u32);
        assert_eq!([at(0), at(3), at(7)], expected);
        assert!(expected[0] != expected[1] && expected[1] != expected[2]);
    }

    #[test]
    fn a_parameter_outside_its_range_is_named() {
        let refused = Sampler::new(Sampling { top_p: 1.5, ..plain(0) }).unwrap_err();
        assert!(matches!(refused, ModelError::InvalidParameter { name: "top_p", .. }), "{refused}");
    }

    #[test]
    fn scratch_that_is_too_small_is_no_panic() {
        let mut memory = [0; 3];
        let row = SampledRow {
            tokens: &[3, 9, 100],
            logits: &mut [0.0, 1.0, 2.0],
            scratch: SamplerScratch::new(&mut memory),
        };
        let sampling = Sampling { frequency_penalty: 1.0, ..plain(1) };
        assert_eq!(Sampler::new(sampling).unwrap().sample(row), 0, "the one candidate there is room for");
    }
}

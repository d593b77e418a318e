//! The sampling chain.

use std::collections::VecDeque;

use super::random::uniform;

/// How the next token is chosen. The defaults are llama.cpp's.
#[derive(Clone, Debug, PartialEq)]
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

/// Chooses tokens one after another, and remembers them for the penalties. Its memory is taken once, when it is made.
#[derive(Debug)]
pub struct Sampler {
    sampling: Sampling,
    /// The tokens of the window, where there will be more than it holds.
    seen: Option<VecDeque<u32>>,
    counts: Vec<u32>,
    candidates: Vec<(f32, u32)>,
    /// Of the next token: how many came before it.
    position: u64,
}

impl Sampler {
    /// A sampler for `vocab_size` logits and a sequence of `context_size` tokens at most.
    pub fn new(sampling: Sampling, vocab_size: usize, context_size: usize) -> Self {
        let kept = if sampling.temperature == 0.0 { 0 } else { vocab_size };
        let forgets = sampling.penalises() && sampling.penalty_window < context_size;
        Sampler {
            counts: if sampling.penalises() { vec![0; vocab_size] } else { Vec::new() },
            seen: forgets.then(|| VecDeque::with_capacity(sampling.penalty_window)),
            candidates: Vec::with_capacity(kept),
            sampling,
            position: 0,
        }
    }

    /// Counts a token as seen: one of the prompt, or one that was sampled.
    pub fn accept(&mut self, token: u32) {
        self.position += 1;
        if !self.sampling.penalises() {
            return;
        }
        if let Some(seen) = &mut self.seen {
            if seen.len() == self.sampling.penalty_window
                && let Some(oldest) = seen.pop_front()
                && let Some(count) = self.counts.get_mut(oldest as usize)
            {
                *count -= 1;
            }
            seen.push_back(token);
        }
        if let Some(count) = self.counts.get_mut(token as usize) {
            *count += 1;
        }
    }

    /// The next token: a function of the logits, the tokens accepted, the seed, and how many were accepted. `logits` are
    /// scratch: penalties are applied in place.
    pub fn sample(&mut self, logits: &mut [f32]) -> u32 {
        self.penalise(logits);
        if self.sampling.temperature == 0.0 {
            return argmax(logits);
        }
        self.candidates.clear();
        self.candidates.extend(logits.iter().copied().zip(0u32..));
        self.keep_top_k();
        let weights_sum = self.keep_by_probability();
        self.draw(weights_sum)
    }

    fn penalise(&self, logits: &mut [f32]) {
        for (logit, &count) in logits.iter_mut().zip(&self.counts) {
            if count > 0 {
                let factor = self.sampling.repetition_penalty;
                *logit = if *logit > 0.0 { *logit / factor } else { *logit * factor };
                *logit -= self.sampling.presence_penalty + self.sampling.frequency_penalty * count as f32;
            }
        }
    }

    /// Sorts the candidates, most likely first (ties by token id), after dropping all but the top k.
    fn keep_top_k(&mut self) {
        let order = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        let k = self.sampling.top_k;
        if k > 0 && k < self.candidates.len() {
            self.candidates.select_nth_unstable_by(k - 1, order);
            self.candidates.truncate(k);
        }
        self.candidates.sort_unstable_by(order);
    }

    /// Applies top-p and min-p at temperature 1, then turns logits into weights at the temperature; returns their sum.
    fn keep_by_probability(&mut self) -> f64 {
        let largest = self.candidates.first().map_or(0.0, |candidate| candidate.0);
        let probability = |logit: f32| libm::exp(f64::from(logit) - f64::from(largest));
        let mut kept = self.candidates.len();
        if self.sampling.top_p < 1.0 {
            let total: f64 = self.candidates.iter().map(|candidate| probability(candidate.0)).sum();
            let mut mass = 0.0;
            for (rank, candidate) in self.candidates.iter().enumerate() {
                mass += probability(candidate.0) / total;
                if mass >= f64::from(self.sampling.top_p) {
                    kept = rank + 1;
                    break;
                }
            }
        }
        let least = f64::from(self.sampling.min_p);
        self.candidates.truncate(kept);
        let likely = self.candidates.iter().take_while(|candidate| probability(candidate.0) >= least).count();
        self.candidates.truncate(likely.max(1));
        let temperature = f64::from(self.sampling.temperature);
        let mut sum = 0.0;
        for candidate in &mut self.candidates {
            let weight = libm::exp((f64::from(candidate.0) - f64::from(largest)) / temperature) as f32;
            candidate.0 = weight;
            sum += f64::from(weight);
        }
        sum
    }

    fn draw(&self, weights_sum: f64) -> u32 {
        let mut left = uniform(self.sampling.seed, self.position) * weights_sum;
        let mut chosen = 0;
        for &(weight, token) in &self.candidates {
            chosen = token;
            left -= f64::from(weight);
            if left < 0.0 {
                break;
            }
        }
        chosen
    }
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
    use super::*;

    fn frequencies(sampling: Sampling, logits: &[f32], draws: u64) -> Vec<f64> {
        let mut counts = vec![0.0; logits.len()];
        let mut sampler = Sampler::new(sampling, logits.len(), draws as usize);
        for _ in 0..draws {
            let token = sampler.sample(&mut logits.to_vec());
            sampler.accept(token);
            counts[token as usize] += 1.0 / draws as f64;
        }
        counts
    }

    fn plain(seed: u64) -> Sampling {
        Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed, ..Sampling::default() }
    }

    #[test]
    fn temperature_zero_is_argmax_and_the_first_of_equals() {
        let mut sampler = Sampler::new(Sampling::greedy(), 4, 8);
        assert_eq!(sampler.sample(&mut [0.5, 2.0, 2.0, -1.0]), 1);
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
            let mut sampler = Sampler::new(Sampling { penalty_window, ..sampling.clone() }, 3, 8);
            for token in [2, 0, 0, 1] {
                sampler.accept(token);
            }
            let mut logits = [4.0, -1.0, 3.0];
            sampler.sample(&mut logits);
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
            let mut sampler = Sampler::new(plain(seed), 5, 32);
            let mut next = || {
                let token = sampler.sample(&mut logits.clone());
                sampler.accept(token);
                token
            };
            (0..32).map(|_| next()).collect::<Vec<_>>()
        };
        assert_eq!(run(9), run(9));
        assert_ne!(run(9), run(10));
    }

    /// A conversation's second turn begins with the first: it goes on in the sequence of draws.
    #[test]
    fn a_draw_depends_on_the_position_alone() {
        let logits = [0.0; 1000];
        let at = |position| {
            let mut sampler = Sampler::new(plain(9), 1000, 32);
            (0..position).for_each(|token| sampler.accept(token));
            sampler.sample(&mut logits.clone())
        };
        // The generator's numbers for seed 9 at 0, 3 and 7, in thousandths.
        let expected = [0, 3, 7].map(|position| (uniform(9, position) * 1000.0) as u32);
        assert_eq!([at(0), at(3), at(7)], expected);
        assert!(expected[0] != expected[1] && expected[1] != expected[2]);
    }
}

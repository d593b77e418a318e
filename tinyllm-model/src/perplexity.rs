//! How well a model predicts a text, and how near two models' predictions are.

use crate::{Engine, ModelError, Result, engine::SequenceId, sampling::argmax};

/// The result of [`measure`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Perplexity {
    /// `exp(mean_nll)`.
    pub ppl: f64,
    /// Mean negative log-likelihood of a prediction, in nats.
    pub mean_nll: f64,
    /// Predictions scored.
    pub predictions: usize,
    /// Against a second model.
    pub against: Option<Divergence>,
}

/// How near two models' predictions are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Divergence {
    /// Mean of `KL(other ‖ model)` over the predictions, in nats: what is lost when this model stands for the other.
    pub kl_divergence: f64,
    /// Share of predictions in which both prefer the same token.
    pub top1_agreement: f64,
    /// The other model's perplexity.
    pub other_ppl: f64,
}

/// Scores `ids` in windows of `window` tokens, each in a sequence of its own; a window of n tokens gives n - 1
/// predictions. `progress` hears, after each prediction, the number of tokens done and the perplexity so far.
///
/// # Errors
/// [`ModelError::TooFewTokens`], [`ModelError::VocabularyMismatch`]; those of [`Engine::logits`].
pub fn measure(
    engine: &mut Engine,
    mut other: Option<&mut Engine>,
    ids: &[u32],
    window: usize,
    progress: &mut dyn FnMut(usize, f64),
) -> Result<Perplexity> {
    if window < 2 || ids.len() < 2 {
        return Err(ModelError::TooFewTokens { tokens: ids.len(), window });
    }
    let mut sums = Sums::default();
    for (index, chunk) in ids.chunks(window).enumerate().filter(|(_, chunk)| chunk.len() > 1) {
        let mut scored = |position: usize, sums: &Sums| progress(index * window + position + 2, sums.ppl());
        match other.as_deref_mut() {
            None => engine.logits(chunk, &mut |position, logits| {
                if let Some(next) = chunk.get(position + 1) {
                    sums.score(logits, *next);
                    scored(position, &sums);
                }
            })?,
            Some(other) => compare(engine, other, chunk, &mut sums, &mut scored)?,
        }
    }
    Ok(sums.result(other.is_some()))
}

/// Positions whose logits of the second model are kept while the first catches up: bounds memory.
const COMPARED_POSITIONS: usize = 16;

/// Scores one window with both models. The models run in turn over the same prefix, a few positions at a time.
fn compare(
    engine: &mut Engine,
    other: &mut Engine,
    chunk: &[u32],
    sums: &mut Sums,
    scored: &mut dyn FnMut(usize, &Sums),
) -> Result<()> {
    let vocab_size = engine.config().vocab_size;
    if other.config().vocab_size != vocab_size {
        let other_vocab_size = other.config().vocab_size;
        return Err(ModelError::VocabularyMismatch { vocab_size, other_vocab_size });
    }
    let sequences = (engine.create_sequence()?, other.create_sequence()?);
    let compared = compare_in((engine, sequences.0), (other, sequences.1), chunk, sums, scored);
    engine.free_sequence(sequences.0)?;
    other.free_sequence(sequences.1)?;
    compared
}

/// As [`compare`], in empty sequences.
fn compare_in(
    (engine, sequence): (&mut Engine, SequenceId),
    (other, other_sequence): (&mut Engine, SequenceId),
    chunk: &[u32],
    sums: &mut Sums,
    scored: &mut dyn FnMut(usize, &Sums),
) -> Result<()> {
    let vocab_size = engine.config().vocab_size;
    let mut kept = vec![0.0f32; COMPARED_POSITIONS * vocab_size];
    for (batch, tokens) in chunk.chunks(COMPARED_POSITIONS).enumerate() {
        other.score(other_sequence, tokens, &mut |position, logits| {
            let slot = position % COMPARED_POSITIONS;
            kept[slot * vocab_size..][..vocab_size].copy_from_slice(logits);
        })?;
        engine.score(sequence, tokens, &mut |position, logits| {
            let slot = position % COMPARED_POSITIONS;
            debug_assert_eq!(position / COMPARED_POSITIONS, batch);
            if let Some(next) = chunk.get(position + 1) {
                sums.score(logits, *next);
                sums.compare(logits, &kept[slot * vocab_size..][..vocab_size], *next);
                scored(position, sums);
            }
        })?;
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Sums {
    nll: f64,
    other_nll: f64,
    kl: f64,
    agreeing: usize,
    predictions: usize,
}

impl Sums {
    fn score(&mut self, logits: &[f32], next: u32) {
        self.nll += log_sum_exp(logits) - f64::from(logits[next as usize]);
        self.predictions += 1;
    }

    fn ppl(&self) -> f64 {
        (self.nll / self.predictions as f64).exp()
    }

    fn compare(&mut self, logits: &[f32], other: &[f32], next: u32) {
        let (norm, other_norm) = (log_sum_exp(logits), log_sum_exp(other));
        self.other_nll += other_norm - f64::from(other[next as usize]);
        self.kl += logits
            .iter()
            .zip(other)
            .map(|(logit, other)| {
                let log_other = f64::from(*other) - other_norm;
                log_other.exp() * (log_other - (f64::from(*logit) - norm))
            })
            .sum::<f64>();
        self.agreeing += usize::from(argmax(logits) == argmax(other));
    }

    fn result(&self, compared: bool) -> Perplexity {
        let count = self.predictions as f64;
        Perplexity {
            ppl: self.ppl(),
            mean_nll: self.nll / count,
            predictions: self.predictions,
            against: compared.then(|| Divergence {
                kl_divergence: self.kl / count,
                top1_agreement: self.agreeing as f64 / count,
                other_ppl: (self.other_nll / count).exp(),
            }),
        }
    }
}

/// `ln Σ exp(x)`, in f64.
fn log_sum_exp(logits: &[f32]) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - f64::from(largest)).exp()).sum();
    f64::from(largest) + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_follow_the_definitions() {
        // Two uniform predictions over four tokens have perplexity 4; a model against itself diverges by 0.
        let mut sums = Sums::default();
        for next in [0, 3] {
            sums.score(&[1.0; 4], next);
            sums.compare(&[1.0; 4], &[1.0; 4], next);
        }
        let result = sums.result(true);
        assert!((result.ppl - 4.0).abs() < 1e-12, "{result:?}");
        let against = result.against.unwrap();
        assert!(against.kl_divergence.abs() < 1e-12 && against.top1_agreement == 1.0, "{against:?}");
    }

    #[test]
    fn divergence_of_two_coins() {
        // KL of (3/4, 1/4) from (1/2, 1/2) is 3/4 ln(3/2) + 1/4 ln(1/2).
        let mut sums = Sums::default();
        sums.score(&[0.0, 0.0], 0);
        sums.compare(&[0.0, 0.0], &[3f32.ln(), 0.0], 0);
        let expected = 0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln();
        assert!((sums.result(true).against.unwrap().kl_divergence - expected).abs() < 1e-7);
    }
}

//! Checks of results; an error names the first wrong one.

use half::f16;

use crate::device::Outcome;

/// An element type of results.
pub(crate) trait Element: bytemuck::Pod {
    fn wide(self) -> f64;
}

impl Element for f32 {
    fn wide(self) -> f64 {
        self.into()
    }
}

impl Element for f16 {
    fn wide(self) -> f64 {
        self.to_f64()
    }
}

/// Checks that every result was written: memory is filled with NaN before.
pub(crate) fn finite<T: Element>(results: &[T]) -> Outcome {
    match results.iter().position(|result| !result.wide().is_finite()) {
        Some(index) => Err(format!("result {index} of {} is no number", results.len()).into()),
        None => Ok(()),
    }
}

/// Checks that a result differs by at most `allowed` from the host's in f64.
pub(crate) fn near(got: impl Element, expected: f64, allowed: f64, at: [usize; 2]) -> Outcome {
    let got = got.wide();
    // Written so that NaN fails.
    if (got - expected).abs() <= allowed {
        return Ok(());
    }
    Err(format!("row {}, column {}: {got}, not {expected} (± {allowed:.1e})", at[0], at[1]).into())
}

/// Some indices below `count`: the first, the last and one between.
pub(crate) fn some_of(count: usize) -> [usize; 3] {
    [0, count / 3, count - 1]
}

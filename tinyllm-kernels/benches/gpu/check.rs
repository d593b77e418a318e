//! Whether results are right: what is wrong ends as an error that says where.

use half::f16;

use crate::device::Outcome;

/// A result as a kernel writes it.
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

/// Every result is a number: what was never written is NaN.
pub(crate) fn finite<T: Element>(results: &[T]) -> Outcome {
    match results.iter().position(|result| !result.wide().is_finite()) {
        Some(index) => Err(format!("result {index} of {} is no number", results.len()).into()),
        None => Ok(()),
    }
}

/// A result is as near as `allowed` to what the host computed in f64.
pub(crate) fn near(got: impl Element, expected: f64, allowed: f64, at: [usize; 2]) -> Outcome {
    let got = got.wide();
    // Not the other way round: NaN is wrong.
    if (got - expected).abs() <= allowed {
        return Ok(());
    }
    Err(format!("row {}, column {}: {got}, not {expected} (± {allowed:.1e})", at[0], at[1]).into())
}

/// Some indices below `count`: the ends, and one between.
pub(crate) fn some_of(count: usize) -> [usize; 3] {
    [0, count / 3, count - 1]
}

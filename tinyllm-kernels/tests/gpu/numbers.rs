//! Random inputs, and tolerances of results.

use half::f16;

/// Pseudo-random numbers in [-1, 1).
pub(crate) fn uniform(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

pub(crate) fn halves(seed: u64, count: usize) -> Vec<f16> {
    uniform(seed, count).into_iter().map(f16::from_f32).collect()
}

pub(crate) fn bytes(seed: u64, count: usize) -> Vec<i8> {
    uniform(seed, count).into_iter().map(|value| (value * 127.0) as i8).collect()
}

/// W8A16 weights: `rows` of `columns` int8, with a scale for each `group` of a row.
pub(crate) struct Weights {
    pub(crate) values: Vec<i8>,
    pub(crate) scales: Vec<f16>,
    pub(crate) columns: usize,
    pub(crate) group: usize,
}

impl Weights {
    pub(crate) fn new(seed: u64, rows: usize, columns: usize, group: usize) -> Self {
        let values = bytes(seed, rows * columns);
        let groups = columns.div_ceil(group);
        let scales =
            uniform(seed + 1, rows * groups).into_iter().map(|s| f16::from_f32(s.abs() / 100.0)).collect();
        Weights { values, scales, columns, group }
    }

    /// The dot product of a row and a vector, and the sum of its products' magnitudes.
    pub(crate) fn dot_product(&self, row: usize, x: &[f16]) -> (f64, f64) {
        let groups = self.columns.div_ceil(self.group);
        let terms = x.iter().enumerate().map(|(column, x)| {
            let scale = self.scales[row * groups + column / self.group].to_f64();
            f64::from(self.values[row * self.columns + column]) * scale * x.to_f64()
        });
        terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
    }
}

/// Fails if the error of a result is above `of_size` times the sum of its products' magnitudes.
pub(crate) fn assert_near(got: f64, (expected, size): (f64, f64), of_size: f64, what: &str) {
    assert!((got - expected).abs() <= size * of_size + 1e-12, "{what}: {got}, not {expected}");
}

//! W8A16 matrices of one shape, enough that each launch reads one from device memory and not from a cache.

use half::f16;

use crate::{
    device::{Device, Outcome},
    memory::Random,
};

/// Weights are two's complement, not offset binary.
pub(crate) const FLIP: u64 = 0x8080_8080;

/// Allowed error of a dot product, relative to the sum of its products' magnitudes: a thousandth of a typical dot
/// product of random numbers, and far above f32's rounding errors over thousands of products.
pub(crate) const OF_MAGNITUDES: f64 = 1e-5;

/// `sets` of `[rows][columns]` int8 with `[rows][groups]` f16 scales.
pub(crate) struct Matrices<'device> {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) group: usize,
    pub(crate) sets: usize,
    values: Random<'device, i8>,
    scales: Random<'device, f16>,
}

impl<'device> Matrices<'device> {
    /// As many matrices as take `total_bytes` together.
    pub(crate) fn new(
        device: &'device Device,
        [rows, columns]: [usize; 2],
        group: usize,
        total_bytes: usize,
    ) -> Outcome<Self> {
        let sets = device.sets(rows * columns, total_bytes);
        let values = Random::new(device, "weights", sets * rows * columns, |value| (value * 128.0) as i8)?;
        let scales = Random::new(device, "scales", sets * rows * columns.div_ceil(group), |value| {
            f16::from_f32(value.abs() / 100.0)
        })?;
        Ok(Matrices { rows, columns, group, sets, values, scales })
    }

    fn groups(&self) -> usize {
        self.columns.div_ceil(self.group)
    }

    /// Bytes of one matrix, scales included.
    pub(crate) fn bytes(&self) -> usize {
        self.rows * (self.columns + 2 * self.groups())
    }

    /// The addresses of a matrix and of its scales.
    pub(crate) fn addresses(&self, set: usize) -> [u64; 2] {
        [
            self.values.address(set * self.rows * self.columns),
            self.scales.address(set * self.rows * self.groups()),
        ]
    }

    /// The dot product of a row and a vector, and the sum of its products' magnitudes.
    pub(crate) fn dot_product(&self, set: usize, row: usize, x: impl Fn(usize) -> f16) -> (f64, f64) {
        let row = set * self.rows + row;
        let terms = (0..self.columns).map(|column| {
            let scale = self.scales.at(row * self.groups() + column / self.group).to_f64();
            f64::from(self.values.at(row * self.columns + column)) * scale * x(column).to_f64()
        });
        terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
    }
}

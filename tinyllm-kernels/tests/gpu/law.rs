//! The numbers of the forward pass as the law has them, scalar: what kernels are compared with, bit for bit.

use crate::packing::{Int8Weights, Int16Inputs};

/// An output of a product of int8 weights and int16 activations, before bias.
pub(crate) fn int8_product(weights: &Int8Weights, inputs: &Int16Inputs, output: usize, row: usize) -> f32 {
    let cut = weights.cut;
    let w = &weights.values[output * cut.columns..][..cut.columns];
    let x = &inputs.values[row * cut.columns..][..cut.columns];
    let pieces = cut.pieces();
    let mut acc = 0f32;
    for (index, piece) in pieces.iter().enumerate() {
        let dot: i64 = piece.clone().map(|c| i64::from(w[c]) * i64::from(x[c])).sum();
        let dot = i32::try_from(dot).unwrap();
        let scale = weights.scales[output * cut.groups() + piece.start / cut.group];
        acc = (dot as f32 * inputs.scales[row * pieces.len() + index]).mul_add(scale, acc);
    }
    acc
}

/// e^x by Cody and Waite's reduction and a polynomial of degree 7, clamped to [-88, 88].
fn exp(x: f32) -> f32 {
    const ROUNDING: f32 = 12_583_039.0;
    let bounded = if -88.0 > x { -88.0 } else { x };
    let bounded = if 88.0 < bounded { 88.0 } else { bounded };
    let shifted = bounded.mul_add(std::f32::consts::LOG2_E, ROUNDING);
    let n = shifted - ROUNDING;
    let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_4, bounded));
    let coefficients = [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let y = coefficients.iter().fold(1.987_569_1e-4f32, |y, coefficient| y.mul_add(r, *coefficient));
    y.mul_add(r * r, r + 1.0) * f32::from_bits(shifted.to_bits() << 23)
}

pub(crate) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(0.0 - x))
}

/// What becomes of sums and their biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Epilogue {
    /// out = y.
    Store,
    /// out = out + y.
    Add,
    /// out = silu(out) · y.
    SiluTimes,
    /// out = silu(gate) · up, of two sums.
    Gated,
}

impl Epilogue {
    pub(crate) const ALL: [Epilogue; 4] =
        [Epilogue::Store, Epilogue::Add, Epilogue::SiluTimes, Epilogue::Gated];

    /// `enum Epilogue` of `cuda/epilogue.cuh`.
    pub(crate) fn code(self) -> u32 {
        match self {
            Epilogue::Store | Epilogue::Gated => 0,
            Epilogue::Add => 1,
            Epilogue::SiluTimes => 2,
        }
    }

    /// Whether it reads what `out` holds.
    pub(crate) fn reads_out(self) -> bool {
        matches!(self, Epilogue::Add | Epilogue::SiluTimes)
    }
}

/// The output of one sum, or of gate's and up's, each with its bias if there is one; `before` is what `out` held.
pub(crate) fn output(sums: &[f32], biases: &[Option<f32>], epilogue: Epilogue, before: f32) -> f32 {
    let y: Vec<f32> =
        sums.iter().zip(biases).map(|(sum, bias)| bias.map_or(*sum, |bias| sum + bias)).collect();
    match epilogue {
        Epilogue::Store => y[0],
        Epilogue::Add => before + y[0],
        Epilogue::SiluTimes => silu(before) * y[0],
        Epilogue::Gated => silu(y[0]) * y[1],
    }
}

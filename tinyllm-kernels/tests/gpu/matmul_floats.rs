//! `matmul_f16_*` and `matmul_f32_*`: products of float weights, one chain in the order of the columns.

use crate::{
    device::{Gpu, on_each},
    int8_matmul::words,
    law::{self, Epilogue},
    numbers::uniform,
    packing::NumberType,
};

/// Rows and outputs a block, threads.
const KERNELS: [(&str, NumberType, usize, usize); 4] = [
    ("matmul_f16_1", NumberType::F16, 1, 32),
    ("matmul_f16_8", NumberType::F16, 8, 128),
    ("matmul_f32_1", NumberType::F32, 1, 32),
    ("matmul_f32_8", NumberType::F32, 8, 128),
];

#[derive(Clone, Debug)]
struct Case {
    rows: usize,
    columns: usize,
    outputs: Vec<usize>,
    bias: Option<NumberType>,
    epilogue: Epilogue,
}

/// Weights `[outputs][columns]`, and a bias or none.
type Matrix = (Vec<f32>, Option<Vec<f32>>);

impl Case {
    fn new(rows: usize, columns: usize, outputs: Vec<usize>) -> Self {
        Case { rows, columns, outputs, bias: None, epilogue: Epilogue::Store }
    }

    /// The type of a matrix's bias, or none: up has one beside gate but in part 1, and of another type.
    fn bias_type(&self, part: usize, index: usize) -> Option<NumberType> {
        match index {
            0 => self.bias,
            _ => self.bias.filter(|_| part != 1).map(NumberType::other),
        }
    }

    /// The types of both biases, of any part.
    fn bias_types(&self) -> u32 {
        let bias = self.bias.unwrap_or(NumberType::F16);
        bias.code() | bias.other().code() << 16
    }

    fn matrices(&self, part: usize, of: NumberType) -> Vec<Matrix> {
        let count = if self.epilogue == Epilogue::Gated { 2 } else { 1 };
        let matrix = |index: usize| {
            let seed = (part * 4 + index * 2 + 31) as u64;
            let outputs = self.outputs[part];
            let weights = uniform(seed, outputs * self.columns).into_iter().map(|w| of.rounded(w)).collect();
            let bias = self.bias_type(part, index);
            (weights, bias.map(|of| uniform(seed + 1, outputs).into_iter().map(|b| of.rounded(b)).collect()))
        };
        (0..count).map(matrix).collect()
    }

    fn inputs(&self) -> Vec<f32> {
        uniform(3, self.rows * self.columns)
    }

    fn before(&self, part: usize) -> Vec<f32> {
        uniform(part as u64 + 60, self.rows * self.outputs[part])
    }

    fn expected(&self, of: NumberType) -> Vec<Vec<u32>> {
        let x = self.inputs();
        let part = |part: usize| {
            let (matrices, before) = (self.matrices(part, of), self.before(part));
            let one = |at: usize| {
                let (row, output) = (at / self.outputs[part], at % self.outputs[part]);
                let sum = |(weights, _): &Matrix| {
                    let weights = &weights[output * self.columns..][..self.columns];
                    let x = &x[row * self.columns..][..self.columns];
                    weights.iter().zip(x).fold(0f32, |acc, (w, x)| w.mul_add(*x, acc))
                };
                let sums: Vec<f32> = matrices.iter().map(sum).collect();
                let biases: Vec<Option<f32>> =
                    matrices.iter().map(|(_, bias)| bias.as_ref().map(|bias| bias[output])).collect();
                law::output(&sums, &biases, self.epilogue, before[at]).to_bits()
            };
            (0..before.len()).map(one).collect()
        };
        (0..self.outputs.len()).map(part).collect()
    }

    /// `[ceil(outputs / 32)][columns][32]`, padded with 0.
    fn packed(&self, weights: &[f32], outputs: usize) -> Vec<f32> {
        let mut packed = Vec::new();
        for tile in 0..outputs.div_ceil(32) {
            for column in 0..self.columns {
                packed.extend((tile * 32..(tile + 1) * 32).map(|output| match output < outputs {
                    true => weights[output * self.columns + column],
                    false => 0.0,
                }));
            }
        }
        packed
    }

    fn run(&self, gpu: &Gpu, (name, of, rows, block): (&str, NumberType, usize, usize)) -> Vec<Vec<u32>> {
        let gated = self.epilogue == Epilogue::Gated;
        let mut parameter = Vec::new();
        let mut outs = Vec::new();
        let mut blocks = 0;
        for (part, &outputs) in self.outputs.iter().enumerate() {
            let matrices = self.matrices(part, of);
            let weights = |index: usize| {
                let matrix = matrices.get(index);
                matrix.map_or(0, |(w, _)| gpu.upload("weights", &of.bytes(&self.packed(w, outputs))))
            };
            let bias = |index: usize| {
                let values = matrices.get(index).and_then(|(_, bias)| bias.as_ref());
                values
                    .zip(self.bias_type(part, index))
                    .map_or(0, |(values, of)| gpu.upload("bias", &of.bytes(values)))
            };
            let out = match self.epilogue.reads_out() {
                true => gpu.upload("out", &self.before(part)),
                false => gpu.room("out", self.rows * outputs * 4),
            };
            outs.push(out);
            parameter.extend([weights(0), weights(1), bias(0), bias(1), out]);
            parameter.extend([
                words(outputs as u32, blocks as u32),
                words(self.epilogue.code(), self.bias_types()),
            ]);
            blocks += outputs.div_ceil(block);
        }
        for _ in self.outputs.len()..3 {
            parameter.extend([0, 0, 0, 0, 0, words(0, u32::MAX), 0]);
        }
        parameter.extend([gpu.upload("in", &self.inputs()), gpu.upload("rows", &[self.rows as u32])]);
        parameter.push(words(self.columns as u32, gated.into()));
        let function = gpu.kernel(include_str!("../../ptx/matmul_floats.ptx"), name);
        let grid = [blocks as u32, self.rows.div_ceil(rows) as u32 + 1, 1];
        gpu.launch_parameter(function, grid, block as u32, 0, &mut parameter);
        outs.iter().zip(&self.outputs).map(|(out, outputs)| gpu.download(*out, self.rows * outputs)).collect()
    }

    fn assert(&self) {
        for kernel in KERNELS {
            let expected = self.expected(kernel.1);
            for got in on_each(|gpu| self.run(gpu, kernel)) {
                assert!(got == expected, "{}, {self:?}: {got:08x?} is not {expected:08x?}", kernel.0);
            }
        }
    }
}

#[test]
fn any_shape() {
    for (rows, columns, outputs) in
        [(1, 1, 1), (1, 129, 33), (3, 300, 31), (8, 32, 130), (9, 128, 32), (17, 47, 70)]
    {
        Case::new(rows, columns, vec![outputs]).assert();
    }
}

#[test]
fn parts_and_epilogues() {
    for bias in [Some(NumberType::F16), Some(NumberType::F32), None] {
        for epilogue in Epilogue::ALL {
            Case { bias, epilogue, ..Case::new(5, 50, vec![150, 40, 7]) }.assert();
        }
    }
}

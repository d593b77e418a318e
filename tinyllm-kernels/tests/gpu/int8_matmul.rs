//! Products of int8 weights on a device and by the law, of any shape: what the tests of both files of kernels share.

use tinyllm_emulator::Counters;

use crate::{
    device::{Gpu, on_each},
    law::{self, Epilogue},
    numbers::{bytes, uniform},
    packing::{Cut, Int8Weights, Int16Inputs, NumberType, scale_tiles, weight_tiles},
};

/// A kernel, and what the host must know of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    pub(crate) ptx: &'static str,
    pub(crate) name: &'static str,
    pub(crate) rows: usize,
    pub(crate) tiles: usize,
    pub(crate) threads: u32,
    pub(crate) shared_bytes: u32,
}

/// A launch: matrices of `outputs` with the same input.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) group: usize,
    pub(crate) outputs: Vec<usize>,
    pub(crate) scale_type: NumberType,
    pub(crate) bias: Option<NumberType>,
    pub(crate) epilogue: Epilogue,
    /// Weights of -128 and inputs of ±32767 instead of random ones.
    pub(crate) extreme: bool,
}

impl Case {
    /// A plain product of one matrix.
    pub(crate) fn new(rows: usize, columns: usize, group: usize, outputs: usize) -> Self {
        Case {
            rows,
            columns,
            group,
            outputs: vec![outputs],
            scale_type: NumberType::F16,
            bias: None,
            epilogue: Epilogue::Store,
            extreme: false,
        }
    }

    fn cut(&self) -> Cut {
        Cut { columns: self.columns, group: self.group }
    }

    fn inputs(&self) -> Int16Inputs {
        let x = uniform(7, self.rows * self.columns);
        let x: Vec<f32> = match self.extreme {
            true => x.into_iter().map(|x| 3f32.copysign(x - 0.9)).collect(),
            false => x,
        };
        Int16Inputs::rounded(&x, self.rows, self.cut())
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

    /// The matrices of a part: one, or gate and up; with a bias for each, or none.
    fn matrices(&self, part: usize) -> Vec<(Int8Weights, Option<Vec<f32>>)> {
        let (outputs, cut) = (self.outputs[part], self.cut());
        let count = if self.epilogue == Epilogue::Gated { 2 } else { 1 };
        let matrix = |index: usize| {
            let seed = (part * 8 + index * 4 + 11) as u64;
            let values = match self.extreme {
                true => vec![-128; outputs * self.columns],
                false => bytes(seed, outputs * self.columns),
            };
            let scales = uniform(seed + 1, outputs * cut.groups());
            let scales = scales.into_iter().map(|s| self.scale_type.rounded(s.abs() / 100.0)).collect();
            let bias = self.bias_type(part, index);
            let bias = bias.map(|of| uniform(seed + 2, outputs).into_iter().map(|b| of.rounded(b)).collect());
            (Int8Weights { values, scales, outputs, cut }, bias)
        };
        (0..count).map(matrix).collect()
    }

    /// What a part's `out` holds before.
    fn before(&self, part: usize) -> Vec<f32> {
        uniform(part as u64 + 90, self.rows * self.outputs[part])
    }

    fn expected(&self) -> Vec<Vec<u32>> {
        let inputs = self.inputs();
        let parts = 0..self.outputs.len();
        let of_part = |part: usize| {
            let (matrices, before) = (self.matrices(part), self.before(part));
            let of = |at: usize| {
                let (row, output) = (at / self.outputs[part], at % self.outputs[part]);
                let sums: Vec<f32> =
                    matrices.iter().map(|(w, _)| law::int8_product(w, &inputs, output, row)).collect();
                let biases: Vec<Option<f32>> =
                    matrices.iter().map(|(_, bias)| bias.as_ref().map(|bias| bias[output])).collect();
                law::output(&sums, &biases, self.epilogue, before[at]).to_bits()
            };
            (0..before.len()).map(of).collect()
        };
        parts.map(of_part).collect()
    }

    /// Launches a kernel with this case, and returns what each part's `out` holds then.
    pub(crate) fn run(&self, gpu: &Gpu, kernel: &Kernel) -> Vec<Vec<u32>> {
        let (cut, inputs) = (self.cut(), self.inputs());
        let gated = self.epilogue == Epilogue::Gated;
        let mut parameter: Vec<u64> = Vec::new();
        let mut outs = Vec::new();
        let mut blocks = 0;
        for (part, &outputs) in self.outputs.iter().enumerate() {
            let matrices = self.matrices(part);
            let weights: Vec<&Int8Weights> = matrices.iter().map(|(weights, _)| weights).collect();
            let bias = |index: usize| {
                let values = matrices.get(index).and_then(|(_, bias)| bias.as_ref());
                values
                    .zip(self.bias_type(part, index))
                    .map_or(0, |(values, of)| gpu.upload("bias", &of.bytes(values)))
            };
            // Where `out` is not read, nothing has been written to it before.
            let out = match self.epilogue.reads_out() {
                true => gpu.upload("out", &self.before(part)),
                false => gpu.room("out", self.rows * outputs * 4),
            };
            outs.push(out);
            parameter.extend([
                gpu.upload("weights", &weight_tiles(&weights)),
                gpu.upload("scales", &self.scale_type.bytes(&scale_tiles(&weights))),
                bias(0),
                bias(1),
                out,
                words(outputs as u32, blocks as u32),
                words(self.epilogue.code(), self.bias_types()),
            ]);
            blocks += outputs.div_ceil(16 / matrices.len()).div_ceil(kernel.tiles);
        }
        for _ in self.outputs.len()..3 {
            parameter.extend([0, 0, 0, 0, 0, words(0, u32::MAX), 0]);
        }
        parameter.extend([
            gpu.upload("planes", &inputs.planes(0x93)),
            gpu.upload("sx", &inputs.scale_tiles()),
            gpu.upload("rows", &[self.rows as u32]),
        ]);
        let pieces = cut.words();
        parameter.extend(pieces.chunks(2).map(|pair| words(pair[0], pair[1])));
        parameter.push(words(self.scale_type.code(), gated.into()));
        let function = gpu.kernel(kernel.ptx, kernel.name);
        // One slice of rows more than there is.
        let grid = [blocks as u32, self.rows.div_ceil(kernel.rows) as u32 + 1, 1];
        gpu.launch_parameter(function, grid, kernel.threads, kernel.shared_bytes, &mut parameter);
        outs.iter()
            .zip(&self.outputs)
            .map(|(out, outputs)| gpu.download::<u32>(*out, self.rows * outputs))
            .collect()
    }

    /// Every kernel has the law's bits on every device.
    pub(crate) fn assert(&self, kernels: &[Kernel]) {
        let expected = self.expected();
        for results in on_each(|gpu| kernels.iter().map(|kernel| self.run(gpu, kernel)).collect::<Vec<_>>()) {
            for (kernel, parts) in kernels.iter().zip(results) {
                for (part, (got, expected)) in parts.iter().zip(&expected).enumerate() {
                    let wrong: Vec<usize> = (0..got.len()).filter(|&at| got[at] != expected[at]).collect();
                    let Some(&at) = wrong.first() else { continue };
                    panic!(
                        "{}, {self:?}: {} of {} differ in part {part}, first row {} output {}: {} is not {}",
                        kernel.name,
                        wrong.len(),
                        got.len(),
                        at / self.outputs[part],
                        at % self.outputs[part],
                        f32::from_bits(got[at]),
                        f32::from_bits(expected[at]),
                    );
                }
            }
        }
    }
}

/// What the emulator counts in one launch.
pub(crate) fn counters_of(kernel: &Kernel, case: &Case) -> Counters {
    let gpu = Gpu::emulated();
    case.run(&gpu, kernel);
    let counters = gpu.emulator.as_ref().map(|emulator| emulator.counters()[kernel.name].total);
    gpu.end();
    counters.unwrap()
}

/// Two words of a parameter.
pub(crate) fn words(first: u32, second: u32) -> u64 {
    u64::from(first) | u64::from(second) << 32
}

//! Launches of `cuda/matmul_rows.cu` and `cuda/matmul_floats.cu`.

use bytemuck::{Pod, Zeroable};

use super::{
    Kernel, Parameter, Queue, number_type, parameter,
    rows::{PlaneAddresses, RowCount},
};
use crate::{
    KernelError, ScaleType, WeightFormat,
    cuda::compile::{Epilogue, MAX_PARTS},
};

const THREADS: u32 = 256;

/// Rows of a block of floats.
const FLOAT_ROWS: u32 = 8;

/// A matrix of a launch: `struct Part` of `cuda/epilogue.cuh`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(in crate::cuda) struct MatmulPart {
    pub(in crate::cuda) values: u64,
    pub(in crate::cuda) scales: u64,
    /// 0 without one.
    pub(in crate::cuda) bias: u64,
    pub(in crate::cuda) out: u64,
    pub(in crate::cuda) n: u32,
    pub(in crate::cuda) first_block: u32,
    pub(in crate::cuda) epilogue: u32,
    pub(in crate::cuda) unused: u32,
}

impl MatmulPart {
    pub(in crate::cuda) fn with_epilogue(self, epilogue: Epilogue) -> Self {
        let epilogue = match epilogue {
            Epilogue::Store => 0,
            Epilogue::Add => 1,
            Epilogue::SiluTimes => 2,
        };
        MatmulPart { epilogue, ..self }
    }
}

/// `struct Parts` of `cuda/epilogue.cuh`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(in crate::cuda) struct Parts {
    parts: [MatmulPart; MAX_PARTS],
    count: u32,
    scale_type: u32,
    bias_type: u32,
    unused: u32,
}

// SAFETY: `struct Parts`, without padding (`Pod`).
unsafe impl Parameter for Parts {}

impl Parts {
    /// Parts whose blocks cover `outputs` outputs each; returns them with the number of blocks.
    fn new(parts: &[MatmulPart], outputs: u32, scales: ScaleType, biases: ScaleType) -> (Self, u32) {
        let mut launch = Parts {
            parts: [MatmulPart::default(); MAX_PARTS],
            count: parts.len().min(MAX_PARTS) as u32,
            scale_type: number_type(scales),
            bias_type: number_type(biases),
            unused: 0,
        };
        let mut blocks = 0;
        for (place, part) in launch.parts.iter_mut().zip(parts) {
            *place = MatmulPart { first_block: blocks, ..*part };
            blocks += part.n.div_ceil(outputs);
        }
        (launch, blocks)
    }
}

/// int8 matmuls of one input; `gated` where the first two parts are gate and up in shared tiles.
pub(in crate::cuda) fn int8(
    queue: &Queue<'_>,
    parts: &[MatmulPart],
    (scales, biases): (ScaleType, ScaleType),
    input: &PlaneAddresses,
    rows: RowCount,
    gated: bool,
) -> Result<(), KernelError> {
    let (mut launch, mut blocks) = Parts::new(parts, 16, scales, biases);
    if gated {
        // Up's bias is all that its part is for.
        blocks = launch.parts[0].n.div_ceil(8);
        (launch.count, launch.parts[1].first_block) = (1, u32::MAX);
    }
    let (kernel, block_rows) = match (rows.most, gated) {
        (..=8, false) => (Kernel::MatmulRows8, 8),
        (..=16, false) => (Kernel::MatmulRows16, 16),
        (..=32, false) => (Kernel::MatmulRows32, 32),
        (_, false) => (Kernel::MatmulRows64, 64),
        (..=8, true) => (Kernel::SwiGluRows8, 8),
        (..=16, true) => (Kernel::SwiGluRows16, 16),
        (..=32, true) => (Kernel::SwiGluRows32, 32),
        (_, true) => (Kernel::SwiGluRows64, 64),
    };
    let params = [
        parameter(&launch),
        parameter(&input.cut),
        parameter(&input.values),
        parameter(&input.scales),
        parameter(&rows.address),
    ];
    // SAFETY: the parameters of the kernel; weights, input and outputs are those of one operation (`program/check.rs`), the
    // weights' cut is the input's (`WeightFormat::input_format`) but for its groups, which are the weights'.
    unsafe { queue.launch(kernel, [blocks, rows.most.div_ceil(block_rows), 1], THREADS, 0, &params) }
}

/// Matmuls with floating-point weights of one input, `[rows][k]` f32.
pub(in crate::cuda) fn floats(
    queue: &Queue<'_>,
    parts: &[MatmulPart],
    format: WeightFormat,
    biases: ScaleType,
    (input, k): (u64, u32),
    rows: RowCount,
) -> Result<(), KernelError> {
    let (launch, blocks) = Parts::new(parts, 32, ScaleType::F32, biases);
    let kernel = if format == WeightFormat::F16 { Kernel::MatmulF16 } else { Kernel::MatmulF32 };
    let params = [parameter(&launch), parameter(&k), parameter(&input), parameter(&rows.address)];
    // SAFETY: the parameters of the kernel; weights, input and outputs are those of one operation (`program/check.rs`).
    unsafe { queue.launch(kernel, [blocks, rows.most.div_ceil(FLOAT_ROWS), 1], THREADS, 0, &params) }
}

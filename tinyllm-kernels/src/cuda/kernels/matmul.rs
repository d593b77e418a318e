//! Launches of `cuda/matmul_rows.cu`, `cuda/matmul_prompt.cu` and `cuda/matmul_floats.cu`. The step's rows choose the kernel;
//! bits do not depend on the choice.

use bytemuck::{Pod, Zeroable};

use super::{
    Kernel, Parameter, Queue, number_type, parameter,
    rows::{PlaneAddresses, RowCount},
};
use crate::{
    KernelError, ScaleType, WeightFormat,
    cuda::{
        compile::{Epilogue, MAX_PARTS},
        layout::PieceSteps,
    },
};

/// Blocks of a grid at most, in x and y.
const MAX_GRID: [u32; 2] = [i32::MAX as u32, 65_535];

/// Steps of a row at most: kernels count the bytes of a block's sixteen tiles of 512 bytes a step in 32 bits.
const MAX_STEPS: u32 = (1 << 19) - 1;

/// `first_block` of a part that is not there.
const NO_BLOCK: u32 = u32::MAX;

/// A matrix of a launch, or the gate and the up of a SwiGLU: `struct Part` of `cuda/matmul.cuh` and `struct FloatPart` of
/// `cuda/matmul_floats.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(in crate::cuda) struct MatmulPart {
    pub(in crate::cuda) values: u64,
    /// The scales of int8 weights; up's values where gate and up are floats.
    pub(in crate::cuda) scales_or_up: u64,
    /// 0 without one; the gate's of a SwiGLU.
    pub(in crate::cuda) bias: u64,
    /// 0 without one.
    pub(in crate::cuda) up_bias: u64,
    pub(in crate::cuda) out: u64,
    pub(in crate::cuda) outputs: u32,
    pub(in crate::cuda) first_block: u32,
    pub(in crate::cuda) epilogue: u32,
    pub(in crate::cuda) bias_type: u16,
    pub(in crate::cuda) up_bias_type: u16,
}

const _: () = assert!(size_of::<MatmulPart>() == 56 && align_of::<MatmulPart>() == 8);

impl MatmulPart {
    pub(in crate::cuda) fn with_epilogue(self, epilogue: Epilogue) -> Self {
        let epilogue = match epilogue {
            Epilogue::Store => 0,
            Epilogue::Add => 1,
            Epilogue::SiluTimes => 2,
        };
        MatmulPart { epilogue, ..self }
    }

    /// With the types of `bias` and `up_bias`.
    pub(in crate::cuda) fn with_bias_types(self, bias: ScaleType, up_bias: ScaleType) -> Self {
        let [bias_type, up_bias_type] = [bias, up_bias].map(|numbers| number_type(numbers) as u16);
        MatmulPart { bias_type, up_bias_type, ..self }
    }
}

/// `struct Matmul` of `cuda/matmul.cuh`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct Int8Matmul {
    parts: [MatmulPart; MAX_PARTS],
    planes: u64,
    scales: u64,
    rows: u64,
    pieces: PieceSteps,
    scale_type: u32,
    is_gated: u32,
}

const _: () = assert!(size_of::<Int8Matmul>() == 232 && align_of::<Int8Matmul>() == 8);

// SAFETY: `struct Matmul`, without padding (`Pod`).
unsafe impl Parameter for Int8Matmul {}

/// `struct FloatMatmul` of `cuda/matmul_floats.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct FloatMatmul {
    parts: [MatmulPart; MAX_PARTS],
    input: u64,
    rows: u64,
    columns: u32,
    is_gated: u32,
}

const _: () = assert!(size_of::<FloatMatmul>() == 192 && align_of::<FloatMatmul>() == 8);

// SAFETY: `struct FloatMatmul`, without padding (`Pod`).
unsafe impl Parameter for FloatMatmul {}

/// A kernel, and what a block of it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    kernel: Kernel,
    /// Rows of the input.
    rows: u32,
    /// Outputs of a matrix; rows of tiles where gate and up share them.
    outputs: u32,
    threads: u32,
    shared_bytes: u32,
}

const fn form(kernel: Kernel, rows: u32, outputs: u32, threads: u32, shared_bytes: u32) -> Form {
    Form { kernel, rows, outputs, threads, shared_bytes }
}

impl Form {
    /// Of int8 weights, for so many rows.
    const fn int8(rows: u32) -> Self {
        match rows {
            0..=8 => form(Kernel::MatmulRows8, 8, 32, 512, 64 << 10),
            9..=16 => form(Kernel::MatmulRows16, 16, 32, 256, 64 << 10),
            17..=32 => form(Kernel::MatmulRows32, 32, 64, 128, 64 << 10),
            33..=64 => form(Kernel::MatmulRows64, 64, 64, 128, 96 << 10),
            _ => form(Kernel::MatmulPrompt, 128, 128, 256, 96 << 10),
        }
    }

    /// Of floating-point weights.
    const fn floats(format: WeightFormat, rows: u32) -> Self {
        match (format, rows) {
            (WeightFormat::F16, ..=1) => form(Kernel::MatmulF16Row, 1, 32, 32, 0),
            (WeightFormat::F16, _) => form(Kernel::MatmulF16Rows, 8, 128, 128, 0),
            (_, ..=1) => form(Kernel::MatmulF32Row, 1, 32, 32, 0),
            (_, _) => form(Kernel::MatmulF32Rows, 8, 128, 128, 0),
        }
    }

    /// The parts of a launch and its grid; a block has `outputs` outputs of a part.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for what a launch has no room for.
    fn grid(
        &self,
        parts: &[MatmulPart],
        outputs: u32,
        rows: u32,
    ) -> Result<([MatmulPart; MAX_PARTS], [u32; 3]), KernelError> {
        if parts.is_empty() || parts.len() > MAX_PARTS {
            return Err(invalid(format!("{} matrices in a launch", parts.len())));
        }
        let mut placed = [MatmulPart { first_block: NO_BLOCK, ..MatmulPart::default() }; MAX_PARTS];
        let mut blocks = 0u32;
        for (place, part) in placed.iter_mut().zip(parts) {
            *place = MatmulPart { first_block: blocks, ..*part };
            let end = blocks.checked_add(part.outputs.div_ceil(outputs));
            blocks = end
                .filter(|end| part.outputs > 0 && *end <= MAX_GRID[0])
                .ok_or_else(|| invalid(format!("{} outputs, {blocks} blocks before them", part.outputs)))?;
        }
        let row_blocks = rows.div_ceil(self.rows);
        if row_blocks > MAX_GRID[1] {
            return Err(invalid(format!("{rows} rows, {} a block", self.rows)));
        }
        Ok((placed, [blocks, row_blocks, 1]))
    }
}

fn invalid(problem: String) -> KernelError {
    KernelError::Invalid { what: "matmul", problem }
}

/// int8 matmuls of one input; `is_gated` where each part is a gate and an up in shared tiles.
///
/// # Errors
/// [`KernelError::Invalid`] for what kernels cannot count; the driver's.
pub(in crate::cuda) fn int8(
    queue: &Queue<'_>,
    parts: &[MatmulPart],
    scales: ScaleType,
    input: &PlaneAddresses,
    rows: RowCount,
    is_gated: bool,
) -> Result<(), KernelError> {
    let form = Form::int8(rows.most);
    let (parts, grid) =
        form.grid(parts, if is_gated { form.outputs / 2 } else { form.outputs }, rows.most)?;
    if input.cut.count == 0 || input.cut.steps > MAX_STEPS {
        return Err(invalid(format!("{} pieces of {} steps", input.cut.count, input.cut.steps)));
    }
    let launch = Int8Matmul {
        parts,
        planes: input.values,
        scales: input.scales,
        rows: rows.address,
        pieces: input.cut,
        scale_type: number_type(scales),
        is_gated: is_gated.into(),
    };
    // SAFETY: the parameter of the kernel; weights, input and outputs are those of one operation (`program/check.rs`), the
    // weights' cut is the input's (`WeightFormat::input_format`) but for its groups, which are the weights'.
    unsafe { queue.launch(form.kernel, grid, form.threads, form.shared_bytes, &[parameter(&launch)]) }
}

/// Matmuls with floating-point weights of one input, `[rows][columns]` f32; `is_gated` where each part is a gate and an up.
///
/// # Errors
/// [`KernelError::Invalid`] for what kernels cannot count; the driver's.
pub(in crate::cuda) fn floats(
    queue: &Queue<'_>,
    parts: &[MatmulPart],
    format: WeightFormat,
    (input, columns): (u64, u32),
    rows: RowCount,
    is_gated: bool,
) -> Result<(), KernelError> {
    let form = Form::floats(format, rows.most);
    let (parts, grid) = form.grid(parts, form.outputs, rows.most)?;
    let launch = FloatMatmul { parts, input, rows: rows.address, columns, is_gated: is_gated.into() };
    // SAFETY: the parameter of the kernel; weights, input and outputs are those of one operation (`program/check.rs`).
    unsafe { queue.launch(form.kernel, grid, form.threads, form.shared_bytes, &[parameter(&launch)]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(outputs: u32) -> MatmulPart {
        MatmulPart { outputs, ..MatmulPart::default() }
    }

    #[test]
    fn parts_are_placed_one_after_another() {
        // 32 outputs a block: 2, 1 and 3 blocks.
        let form = Form::int8(1);
        let (parts, grid) = form.grid(&[part(33), part(32), part(65)], form.outputs, 1).unwrap();
        assert_eq!(parts.map(|part| part.first_block), [0, 2, 3]);
        assert_eq!(grid, [6, 1, 1]);
        let (parts, grid) = form.grid(&[part(33)], form.outputs / 2, 17).unwrap();
        assert_eq!(parts.map(|part| part.first_block), [0, NO_BLOCK, NO_BLOCK]);
        assert_eq!(grid, [3, 3, 1]);
    }

    #[test]
    fn rows_choose_the_kernel() {
        let kernels = [1, 8, 9, 16, 17, 32, 33, 64, 65, 4096].map(|rows| Form::int8(rows).kernel);
        let [few, some, more, many] =
            [Kernel::MatmulRows8, Kernel::MatmulRows16, Kernel::MatmulRows32, Kernel::MatmulRows64];
        let prompt = Kernel::MatmulPrompt;
        assert_eq!(kernels, [few, few, some, some, more, more, many, many, prompt, prompt]);
    }

    #[test]
    fn what_a_launch_has_no_room_for_is_an_error() {
        let form = Form::int8(1);
        assert!(form.grid(&[], form.outputs, 1).is_err());
        assert!(form.grid(&[part(1); MAX_PARTS + 1], form.outputs, 1).is_err());
        assert!(form.grid(&[part(0)], form.outputs, 1).is_err());
        assert!(form.grid(&[part(u32::MAX)], 1, 1).is_err());
        assert!(form.grid(&[part(1)], form.outputs, 8 * 65_535).is_ok());
        assert!(form.grid(&[part(1)], form.outputs, 8 * 65_535 + 1).is_err());
    }
}

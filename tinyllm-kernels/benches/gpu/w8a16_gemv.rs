//! `w8a16_gemv_*`: decoding's matmuls, a matrix and one to eight vectors.

use half::f16;

use crate::{
    check::{finite, near, some_of},
    device::{Device, Module, Outcome},
    matrices::{FLIP, Matrices, OF_MAGNITUDES},
    memory::{Memory, Random},
    report::{Case, Report},
};

const PTX: &str = include_str!("../../ptx/w8a16_gemv.ptx");
const KERNELS: [(usize, &str); 4] =
    [(1, "w8a16_gemv_1"), (2, "w8a16_gemv_2"), (4, "w8a16_gemv_4"), (8, "w8a16_gemv_8")];
const MOST_BATCH: usize = 8;
/// Rows and columns: LLaMA-7B's and Llama 3 8B's, then SmolLM2-135M's.
const SHAPES: [[usize; 2]; 6] =
    [[4096, 4096], [11008, 4096], [4096, 11008], [14336, 4096], [576, 576], [1536, 576]];
const GROUP: usize = 64;
const TOTAL_BYTES: usize = 1 << 30;

pub(crate) fn run(device: &Device, report: &mut Report) -> Outcome {
    let module = device.load(PTX)?;
    for shape in SHAPES {
        matmuls(device, report, &module, shape, GROUP, &KERNELS)?;
    }
    matmuls(device, report, &module, SHAPES[1], 128, &KERNELS[..1])
}

fn matmuls(
    device: &Device,
    report: &mut Report,
    module: &Module<'_>,
    shape: [usize; 2],
    group: usize,
    kernels: &[(usize, &'static str)],
) -> Outcome {
    let [rows, columns] = [device.size(shape[0], 37), device.size(shape[1], 1040)];
    let matrices = Matrices::new(device, [rows, columns], group, TOTAL_BYTES)?;
    let x = Random::new(device, "x", MOST_BATCH * columns, f16::from_f32)?;
    let out = Memory::new(device, "out", MOST_BATCH * rows * 4)?;
    for &(batch, kernel) in kernels {
        let function = module.function(kernel)?;
        let apart = if group == GROUP { String::new() } else { format!(" group {group}") };
        let case = Case {
            bench: "w8a16_gemv",
            kernel,
            case: format!("{}x{} batch {batch}{apart}", shape[0], shape[1]),
            bytes: matrices.bytes() + batch * (2 * columns + 4 * rows),
            operations: 2 * batch * rows * columns,
        };
        let launch = |index: usize| {
            let [values, scales] = matrices.addresses(index % matrices.sets);
            let [rows, columns, group, batch] = [rows, columns, group, batch].map(|size| size as u64);
            let arguments = [values, scales, x.address(0), out.address(), rows, columns, group, batch, FLIP];
            device.launch(function, [matrices.rows.div_ceil(8), 1, 1], 128, &arguments)
        };
        out.fill(0xff)?;
        report.launched(device, &case, matrices.sets, launch, |last| {
            let results = out.download::<f32>(0, batch * rows)?;
            finite(&results)?;
            for vector in some_of(batch) {
                for row in some_of(rows) {
                    let (dot_product, size) = matrices
                        .dot_product(last % matrices.sets, row, |column| x.at(vector * columns + column));
                    near(results[vector * rows + row], dot_product, size * OF_MAGNITUDES, [vector, row])?;
                }
            }
            Ok(())
        });
    }
    Ok(())
}

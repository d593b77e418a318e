//! `w8a16_gemm_*`: prefill's matmuls on tensor cores.

use half::f16;

use crate::{
    check::{Element, finite, near, some_of},
    device::{Device, Module, Outcome},
    matrices::{FLIP, Matrices, OF_MAGNITUDES},
    memory::{Memory, Random},
    report::{Case, Report},
};

const PTX: &str = include_str!("../../ptx/w8a16_gemm.ptx");
const KERNELS: [Kernel; 4] = [
    Kernel { name: "w8a16_gemm_f32_128x128", tile: 128, threads: 256, half: false },
    Kernel { name: "w8a16_gemm_f16_128x128", tile: 128, threads: 256, half: true },
    Kernel { name: "w8a16_gemm_f32_64x64", tile: 64, threads: 128, half: false },
    Kernel { name: "w8a16_gemm_f16_64x64", tile: 64, threads: 128, half: true },
];
/// n and k, of LLaMA-7B.
const SHAPES: [[usize; 2]; 2] = [[4096, 4096], [11008, 4096]];
const ROWS: [usize; 5] = [16, 64, 128, 512, 2048];
const GROUP: usize = 64;
/// Fewer bytes of matrices than in other benches: large matmuls reuse what they read, and take long.
const TOTAL_BYTES: usize = 256 << 20;

struct Kernel {
    name: &'static str,
    tile: usize,
    threads: u32,
    /// Results are f16; clamped ones are counted.
    half: bool,
}

/// The data that all matmuls of a shape share.
struct Operands<'device> {
    device: &'device Device,
    module: &'device Module<'device>,
    /// n rows of k columns.
    matrices: Matrices<'device>,
    x: Random<'device, f16>,
    out: Memory<'device>,
    clamped: Memory<'device>,
}

pub(crate) fn run(device: &Device, report: &mut Report) -> Outcome {
    let module = device.load(PTX)?;
    for shape in SHAPES {
        let [n, k] = [device.size(shape[0], 130), device.size(shape[1], 192)];
        let most_rows = ROWS.map(|m| device.size(m, 130)).into_iter().max().unwrap_or(0);
        let operands = Operands {
            device,
            module: &module,
            matrices: Matrices::new(device, [n, k], GROUP, TOTAL_BYTES)?,
            x: Random::new(device, "x", most_rows * k, f16::from_f32)?,
            out: Memory::new(device, "out", most_rows * n * 4)?,
            clamped: Memory::new(device, "clamped", 4)?,
        };
        for m in ROWS {
            for kernel in &KERNELS {
                let case = format!("{}x{} m {m}", shape[0], shape[1]);
                operands.matmul(report, kernel, case, device.size(m, 130))?;
            }
        }
    }
    Ok(())
}

impl Operands<'_> {
    fn matmul(&self, report: &mut Report, kernel: &Kernel, case: String, m: usize) -> Outcome {
        let Operands { device, matrices, x, out, clamped, .. } = self;
        let (n, k) = (matrices.rows, matrices.columns);
        let function = self.module.function(kernel.name)?;
        let case = Case {
            bench: "w8a16_gemm",
            kernel: kernel.name,
            case,
            bytes: matrices.bytes() + 2 * m * k + if kernel.half { 2 } else { 4 } * m * n,
            operations: 2 * m * n * k,
        };
        let launch = |index: usize| {
            let [values, scales] = matrices.addresses(index % matrices.sets);
            let mut arguments = vec![x.address(0), values, scales, out.address()];
            if kernel.half {
                arguments.push(clamped.address());
            }
            arguments.extend([m, n, k, GROUP].map(|size| size as u64));
            arguments.push(FLIP);
            let grid = [m.div_ceil(kernel.tile), n.div_ceil(kernel.tile), 1];
            device.launch(function, grid, kernel.threads, &arguments)
        };
        out.fill(0xff)?;
        clamped.fill(0)?;
        report.launched(device, &case, matrices.sets, launch, |last| {
            if kernel.half {
                if clamped.download::<u32>(0, 1)? != [0] {
                    return Err("results were clamped".into());
                }
                // Half a unit in the last place is at most 2^-11 of the result.
                return self.check::<f16>(m, last % matrices.sets, 5e-4);
            }
            self.check::<f32>(m, last % matrices.sets, 0.0)
        });
        Ok(())
    }

    /// Checks some results; `of_result` is the relative rounding error of a result's format.
    fn check<T: Element>(&self, m: usize, set: usize, of_result: f64) -> Outcome {
        let Operands { matrices, x, out, .. } = self;
        let (n, k) = (matrices.rows, matrices.columns);
        let results = out.download::<T>(0, m * n)?;
        finite(&results)?;
        for row in some_of(m) {
            for column in some_of(n) {
                let (matmul, size) = matrices.dot_product(set, column, |at| x.at(row * k + at));
                let allowed = size * OF_MAGNITUDES + matmul.abs() * of_result;
                near(results[row * n + column], matmul, allowed, [row, column])?;
            }
        }
        Ok(())
    }
}

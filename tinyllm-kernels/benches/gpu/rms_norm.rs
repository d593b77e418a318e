//! `rms_norm_f16`: rows read from device memory.

use half::f16;

use crate::{
    check::{finite, near, some_of},
    device::{Device, Outcome},
    memory::{Memory, Random},
    report::{Case, Report},
};

const PTX: &str = include_str!("../../ptx/rms_norm.ptx");
const KERNEL: &str = "rms_norm_f16";
const ROWS: [usize; 3] = [1, 512, 4096];
const COLUMNS: usize = 4096;
const EPS: f32 = 1e-5;
const TOTAL_BYTES: usize = 1 << 30;

pub(crate) fn run(device: &Device, report: &mut Report) -> Outcome {
    let module = device.load(PTX)?;
    let function = module.function(KERNEL)?;
    let weight = Random::new(device, "weight", COLUMNS, f16::from_f32)?;
    let clamped = Memory::new(device, "clamped", 4)?;
    clamped.fill(0)?;
    for named_rows in ROWS {
        let rows = device.size(named_rows, 3);
        let elements = rows * COLUMNS;
        let sets = device.sets(elements * 6, TOTAL_BYTES);
        let x = Random::new(device, "x", sets * elements, |value| value)?;
        let out = Memory::new(device, "out", sets * elements * 2)?;
        let case = Case {
            bench: "rms_norm",
            kernel: KERNEL,
            case: format!("{named_rows}x{COLUMNS}"),
            bytes: elements * 6 + COLUMNS * 2,
            operations: 4 * elements,
        };
        let launch = |index: usize| {
            let first = index % sets * elements;
            let arguments = [
                x.address(first),
                weight.address(0),
                out.address() + 2 * first as u64,
                clamped.address(),
                COLUMNS as u64,
                u64::from(EPS.to_bits()),
            ];
            device.launch(function, [rows, 1, 1], 256, &arguments)
        };
        report.launched(device, &case, sets, launch, |last| {
            let first = last % sets * elements;
            let results = out.download::<f16>(first, elements)?;
            finite(&results)?;
            for row in some_of(rows) {
                let x = |column| f64::from(x.at(first + row * COLUMNS + column));
                let mean = (0..COLUMNS).map(|column| x(column).powi(2)).sum::<f64>() / COLUMNS as f64;
                for column in some_of(COLUMNS) {
                    let expected = x(column) / (mean + f64::from(EPS)).sqrt() * weight.at(column).to_f64();
                    let allowed = expected.abs() * 6e-4 + 1e-7;
                    near(results[row * COLUMNS + column], expected, allowed, [row, column])?;
                }
            }
            Ok(())
        });
    }
    Ok(())
}

//! Kernels as compilers write them, against results computed here.

use half::f16;
use tinyllm_emulator::Emulator;

use crate::program::Program;

const RMS_NORM: &str = include_str!("../../../../tinyllm-kernels/ptx/rms_norm.ptx");

#[test]
fn the_norm_that_ships() {
    let program = Program::new(Emulator::builder());
    let kernel = program.kernel(RMS_NORM, "rms_norm_f16");
    let (rows, columns) = (3usize, 576usize);
    let x: Vec<f32> = (0..rows * columns).map(|index| ((index * 37 % 101) as f32 - 50.0) / 7.0).collect();
    let weight: Vec<f16> = (0..columns).map(|index| f16::from_f32(1.0 + (index % 5) as f32 / 4.0)).collect();
    let (x_at, weight_at) = (program.upload(&x), program.upload(&weight));
    let out_at = program.upload(&vec![0u16; rows * columns]);
    let clamped_at = program.upload(&[0u32]);
    let mut arguments =
        [x_at.0, weight_at.0, out_at.0, clamped_at.0, columns as u64, u64::from(1e-5f32.to_bits())];
    program.launch(kernel, rows as u32, 256, &mut arguments);
    let out: Vec<u16> = program.download(out_at, rows * columns);
    for row in 0..rows {
        let x = &x[row * columns..(row + 1) * columns];
        let mean = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() / columns as f64;
        for column in 0..columns {
            let expected = f64::from(x[column]) / (mean + 1e-5).sqrt() * f64::from(weight[column].to_f32());
            let got = f64::from(f16::from_bits(out[row * columns + column]).to_f32());
            assert!(
                (got - expected).abs() <= expected.abs() * 6e-4 + 1e-7,
                "{row} {column}: {got}, not {expected}"
            );
        }
    }
    assert_eq!(program.download::<u32>(clamped_at, 1), [0]);
    assert_eq!(program.driver.findings(), []);
}

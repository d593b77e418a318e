//! `rms_norm_f16`.

use half::f16;

use crate::{
    device::{assert_same, on_each},
    numbers::{halves, uniform},
};

const PTX: &str = include_str!("../../ptx/rms_norm.ptx");

#[test]
fn rows_of_any_length() {
    for (rows, columns, block) in [(1, 1, 32), (3, 576, 256), (5, 33, 64), (2, 2048, 256)] {
        let x: Vec<f32> = uniform(1, rows * columns).into_iter().map(|x| x * 30.0).collect();
        let weight = halves(2, columns);
        let results = on_each(|gpu| {
            let kernel = gpu.kernel(PTX, "rms_norm_f16");
            let out = gpu.room("out", rows * columns * 2);
            let arguments = [
                gpu.upload("x", &x),
                gpu.upload("weight", &weight),
                out,
                gpu.upload("clamped", &[0u32]),
                columns as u64,
                u64::from(1e-5f32.to_bits()),
            ];
            gpu.launch(kernel, [rows as u32, 1, 1], block, &arguments);
            assert_eq!(gpu.download::<u32>(arguments[3], 1), [0]);
            gpu.download::<u16>(out, rows * columns)
        });
        for row in 0..rows {
            let x = &x[row * columns..][..columns];
            let mean = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / columns as f64;
            for column in 0..columns {
                let expected = f64::from(x[column]) / (mean + 1e-5).sqrt() * weight[column].to_f64();
                let got = f16::from_bits(results[0][row * columns + column]).to_f64();
                assert!(
                    (got - expected).abs() <= expected.abs() * 6e-4 + 1e-7,
                    "{row} {column}: {got}, not {expected}"
                );
            }
        }
        assert_same(&results);
    }
}

#[test]
fn what_f16_cannot_hold_is_clamped_and_counted() {
    let results = on_each(|gpu| {
        let kernel = gpu.kernel(PTX, "rms_norm_f16");
        let (x, weight) = ([1.0f32, -1.0, f32::NAN, 0.0], [f16::MAX, f16::MAX, f16::ONE, f16::ONE]);
        let out = gpu.room("out", 8);
        // A NaN in a row makes the whole row NaN: every thread divides by the block's mean.
        let clean = gpu.upload("x", &[8.0f32, -8.0, 0.0, 0.0]);
        let clamped = gpu.upload("clamped", &[0u32]);
        let weight = gpu.upload("weight", &weight);
        gpu.launch(kernel, [1, 1, 1], 32, &[clean, weight, out, clamped, 4, u64::from(1e-5f32.to_bits())]);
        let first = (gpu.download::<u16>(out, 4), gpu.download::<u32>(clamped, 1));
        let x = gpu.upload("x", &x);
        gpu.launch(kernel, [1, 1, 1], 32, &[x, weight, out, clamped, 4, u64::from(1e-5f32.to_bits())]);
        (first, gpu.download::<u16>(out, 4), gpu.download::<u32>(clamped, 1))
    });
    let largest = f16::MAX.to_bits();
    let ((bounded, count), of_nan, total) = &results[0];
    assert_eq!((bounded.as_slice(), count.as_slice()), (&[largest, largest | 0x8000, 0, 0][..], &[2][..]));
    assert!(of_nan.iter().all(|bits| *bits == largest | 0x8000), "{of_nan:x?}");
    assert_eq!(total[0], 6);
    assert_same(&results);
}

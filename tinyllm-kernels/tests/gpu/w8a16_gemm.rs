//! `w8a16_gemm_*`: matmuls on tensor cores.

use half::f16;

use crate::{
    device::on_each,
    numbers::{Weights, assert_near, halves},
};

const PTX: &str = include_str!("../../ptx/w8a16_gemm.ptx");

#[test]
fn matmuls_of_any_shape() {
    for (m, n, k, group) in [(1, 1, 64, 64), (5, 7, 64, 32), (65, 63, 192, 96), (130, 129, 256, 128)] {
        let weights = Weights::new(11, n, k, group);
        let x = halves(12, m * k);
        let results = on_each(|gpu| {
            let (values, scales) =
                (gpu.upload("weights", &weights.values), gpu.upload("scales", &weights.scales));
            let x = gpu.upload("x", &x);
            [(128, 256, "w8a16_gemm_f32_128x128"), (64, 128, "w8a16_gemm_f32_64x64")].map(
                |(tile, block, name)| {
                    let function = gpu.kernel(PTX, name);
                    let out = gpu.room("out", m * n * 4);
                    let arguments =
                        [x, values, scales, out, m as u64, n as u64, k as u64, group as u64, 0x8080_8080];
                    gpu.launch(
                        function,
                        [m.div_ceil(tile) as u32, n.div_ceil(tile) as u32, 1],
                        block,
                        &arguments,
                    );
                    gpu.download::<f32>(out, m * n)
                },
            )
        });
        for [large, small] in &results {
            assert_eq!(large, small, "the tile's size shows");
            for row in 0..m {
                for column in 0..n {
                    let expected = weights.dot_product(column, &x[row * k..][..k]);
                    let got = f64::from(large[row * n + column]);
                    assert_near(got, expected, 1e-6, &format!("{m}x{n}x{k}, {row} {column}"));
                }
            }
        }
    }
}

#[test]
fn f16_results_are_clamped_and_counted() {
    let (m, n, k) = (3, 64, 64);
    let mut weights = Weights::new(13, n, k, 64);
    weights.scales[0] = f16::from_f32(1e4);
    let x = halves(14, m * k);
    let results = on_each(|gpu| {
        let function = gpu.kernel(PTX, "w8a16_gemm_f16_64x64");
        let (out, clamped) = (gpu.room("out", m * n * 2), gpu.upload("clamped", &[0u32]));
        let arguments = [
            gpu.upload("x", &x),
            gpu.upload("weights", &weights.values),
            gpu.upload("scales", &weights.scales),
            out,
            clamped,
            m as u64,
            n as u64,
            k as u64,
            64,
            0x8080_8080,
        ];
        gpu.launch(function, [1, 1, 1], 128, &arguments);
        (gpu.download::<u16>(out, m * n), gpu.download::<u32>(clamped, 1)[0])
    });
    for (out, clamped) in &results {
        let mut beyond = 0;
        for row in 0..m {
            for column in 0..n {
                let (expected, size) = weights.dot_product(column, &x[row * k..][..k]);
                let got = f16::from_bits(out[row * n + column]).to_f64();
                if expected.abs() > 65_504.0 {
                    beyond += 1;
                    assert_eq!(got, 65_504f64.copysign(expected));
                } else {
                    assert_near(got, (expected, size.max(expected.abs() * 500.0)), 1e-6, "f16");
                }
            }
        }
        assert_eq!((*clamped, beyond > 0), (beyond, true));
    }
}

//! `w8a16_gemv_1` to `_8`.

use crate::{
    device::{assert_same, on_each},
    numbers::{Weights, assert_near, halves},
};

const PTX: &str = include_str!("../../ptx/w8a16_gemv.ptx");

#[test]
fn matmuls_of_any_shape() {
    for (rows, columns, group, batch, kernel) in [
        (9, 16, 16, 1, "w8a16_gemv_1"),
        (17, 576, 64, 1, "w8a16_gemv_1"),
        (33, 1072, 128, 2, "w8a16_gemv_2"),
        (8, 608, 32, 3, "w8a16_gemv_4"),
        (25, 528, 64, 8, "w8a16_gemv_8"),
    ] {
        let weights = Weights::new(3, rows, columns, group);
        let x = halves(5, batch * columns);
        let results = on_each(|gpu| {
            let function = gpu.kernel(PTX, kernel);
            let out = gpu.room("out", batch * rows * 4);
            let arguments = [
                gpu.upload("weights", &weights.values),
                gpu.upload("scales", &weights.scales),
                gpu.upload("x", &x),
                out,
                rows as u64,
                columns as u64,
                group as u64,
                batch as u64,
                0x8080_8080,
            ];
            gpu.launch(function, [rows.div_ceil(8) as u32, 1, 1], 128, &arguments);
            gpu.download::<u32>(out, batch * rows)
        });
        for vector in 0..batch {
            for row in 0..rows {
                let got = f64::from(f32::from_bits(results[0][vector * rows + row]));
                let expected = weights.dot_product(row, &x[vector * columns..][..columns]);
                assert_near(got, expected, 1e-6, &format!("{kernel} {rows}x{columns}, row {row}"));
            }
        }
        assert_same(&results);
    }
}

#[test]
fn a_vector_has_the_same_bits_in_every_batch() {
    let (rows, columns) = (8, 1040);
    let weights = Weights::new(7, rows, columns, 64);
    let x = halves(8, 8 * columns);
    let results = on_each(|gpu| {
        let (values, scales) =
            (gpu.upload("weights", &weights.values), gpu.upload("scales", &weights.scales));
        let x = gpu.upload("x", &x);
        [(1u64, "w8a16_gemv_1"), (2, "w8a16_gemv_2"), (4, "w8a16_gemv_4"), (8, "w8a16_gemv_8")].map(
            |(batch, name)| {
                let out = gpu.room("out", batch as usize * rows * 4);
                let function = gpu.kernel(PTX, name);
                let arguments = [values, scales, x, out, rows as u64, columns as u64, 64, batch, 0x8080_8080];
                gpu.launch(function, [1, 1, 1], 128, &arguments);
                gpu.download::<u32>(out, rows)
            },
        )
    });
    for result in &results {
        assert!(result.windows(2).all(|pair| pair[0] == pair[1]));
    }
    assert_same(&results);
}

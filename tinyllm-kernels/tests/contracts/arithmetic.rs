//! Weight and activation formats at the limits of a row: correct numbers, and no write outside of the row.

use std::sync::Arc;

use tinyllm_kernels::{Backend, Cpu, Isa, Op, Program, RowSet, WeightFormat};

use crate::harness::{Bound, Prompt, activations, builder, int8, part, region, weight};

/// The sum of each row of an embedding table: its int16 activations times weights of one.
fn sums(k: usize, group: usize) -> Program {
    let mut b = builder(4);
    let (table, ones) =
        (weight(&mut b, "t", (4, k), WeightFormat::F32), weight(&mut b, "ones", (3, k), int8(group)));
    let (a, out) = (activations(&mut b, "a", k, int8(group)), region(&mut b, "out", RowSet::Tokens, 3));
    b.push(Op::Embed { table, out: a });
    b.push(Op::Linear { parts: vec![part(a, ones, out)] });
    b.finish(out).unwrap()
}

/// With short pieces a row of int16 activations is longer than its f32: the next row, and the bytes after the last one,
/// are unchanged.
#[test]
fn a_row_in_place_has_room_for_its_scales() {
    for (k, group) in [(161, 2), (160, 2), (161, 4), (1, 2), (3, 2), (5, 4), (63, 2), (1023, 2)] {
        for threads in [1, 2] {
            let cpu = Cpu::new(Isa::best(), threads).unwrap();
            let value = |name: &str, row: usize, _| if name == "t" { row as f32 + 1.0 } else { 127.0 };
            let mut bound = Bound::new(&cpu, sums(k, group), value);
            for tokens in 1..=4u32 {
                let ids: Vec<u32> = (0..tokens).collect();
                for row in 0..tokens as usize {
                    let expected = (row + 1) as f32 * k as f32 * 127.0;
                    for sum in bound.row(&Prompt::new(&ids).step(&[0]), row) {
                        // int16 steps of 1/32767, and f32 sums of up to 512 pieces.
                        let relative = (sum - expected).abs() / expected;
                        assert!(
                            relative < 1e-4,
                            "{k} in groups of {group}, {threads} threads: {sum} for {expected}"
                        );
                    }
                }
            }
        }
    }
}

/// The scales of the shortest pieces are planned: for every row of the region, in both of its forms.
#[test]
fn pieces_of_two_inputs_are_planned_for() {
    let (k, tokens) = (8192, 4);
    let program = Arc::new(sums(k, 2));
    let compiled = Cpu::new(Isa::best(), 1).unwrap().compile(program).unwrap();
    let region = &compiled.requirements().arena.regions()[0];
    // 2 bytes a value, and 4 bytes of scale for each two values: as much as f32.
    assert_eq!(region.bytes, tokens * 4 * k);
    let program = Arc::new(sums(8191, 2));
    let compiled = Cpu::new(Isa::best(), 1).unwrap().compile(program).unwrap();
    assert_eq!(compiled.requirements().arena.regions()[0].bytes, tokens * (2 * 8192 + 4 * 4096));
}

/// Groups of 600 and 768 inputs, each with its own scale. Reference: sums of dequantised weights in f64.
#[test]
fn long_groups_keep_their_scales() {
    for (k, group) in [(1200, 600), (1536, 768), (1300, 600)] {
        let mut b = builder(20);
        let (table, w) =
            (weight(&mut b, "t", (4, k), WeightFormat::F32), weight(&mut b, "w", (5, k), int8(group)));
        let (a, out) = (activations(&mut b, "a", k, int8(group)), region(&mut b, "out", RowSet::Tokens, 5));
        b.push(Op::Embed { table, out: a });
        b.push(Op::Linear { parts: vec![part(a, w, out)] });
        // The largest weight of each group is 127 times a power of two, so that its weights are exact in int8.
        let scale = |column: usize| [0.5f32, 4.0, 0.125][column / group];
        let step = |row: usize, column: usize| match column % group {
            0 => 127.0,
            _ => ((row * 31 + column * 17) % 200) as f32 - 100.0,
        };
        let x = |token: usize, column: usize| ((token * 7 + column) % 13) as f32 - 6.0;
        let value = |name: &str, row: usize, column: usize| match name {
            "t" => x(row, column),
            _ => step(row, column) * scale(column),
        };
        let mut bound = Bound::new(&Cpu::new(Isa::best(), 1).unwrap(), b.finish(out).unwrap(), value);
        for tokens in [1, 20] {
            let outputs = bound.row(&Prompt::new(&vec![3; tokens]).step(&[0]), tokens - 1);
            for (row, y) in outputs.iter().enumerate() {
                let terms = (0..k).map(|c| f64::from(step(row, c) * scale(c)) * f64::from(x(3, c)));
                let (exact, size) =
                    terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                assert!(
                    (f64::from(*y) - exact).abs() < size * 1e-4,
                    "{k}, {group}, {tokens}: {y} for {exact}"
                );
            }
        }
    }
}

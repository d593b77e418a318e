//! Formats at the edge of what a row holds: the right numbers, and nothing beside the row.

use tinyllm_kernels::{Backend, Cpu, GroupSize, InputFormat, Isa, Op, Program, Rows, WeightFormat};

use crate::harness::{Prompt, buffer, builder, fill, int8, part, prepare, region, vector, weight};

/// A table's rows, converted in place, times ones: the sum of each.
fn sums(k: usize, group: usize) -> Program {
    let mut b = builder(4);
    let (table, ones) =
        (weight(&mut b, "t", (4, k), WeightFormat::F32), weight(&mut b, "ones", (3, k), int8(group)));
    let (a, out) = (region(&mut b, "a", Rows::Tokens, k), region(&mut b, "out", Rows::Tokens, 3));
    b.push(Op::Embed { table, out: a });
    b.push(Op::ConvertInPlace { region: a, format: int8(group).input_format(k) });
    b.push(Op::Linear { parts: vec![part(a, ones, out)] });
    b.finish(out).unwrap()
}

/// Short pieces make a row longer than its f32: the next row and what lies behind the last one stay as they are.
#[test]
fn a_row_in_place_has_room_for_its_scales() {
    for (k, group) in [(161, 2), (160, 2), (161, 4), (1, 2), (3, 2), (5, 4), (63, 2), (1023, 2)] {
        let program = sums(k, group);
        for threads in [1, 2] {
            let cpu = Cpu::new(Isa::best(), threads).unwrap();
            let value = |name: &str, row: usize, _| if name == "t" { row as f32 + 1.0 } else { 127.0 };
            let mut prepared = prepare(&cpu, &program, fill(&cpu, &program, value)).unwrap();
            for tokens in 1..=4u32 {
                let ids: Vec<u32> = (0..tokens).collect();
                cpu.run(&mut prepared, &Prompt::new(&ids).step(&[0])).unwrap();
                for row in 0..tokens as usize {
                    let expected = (row + 1) as f32 * k as f32 * 127.0;
                    for sum in cpu.logits(&mut prepared, row).unwrap() {
                        // int16 steps of 1/32767, and f32 sums of up to 512 pieces.
                        let relative = (*sum - expected).abs() / expected;
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

/// The longest row there is: a scale for each input.
#[test]
fn pieces_of_one_input_fit_their_row() {
    let k = 4096;
    let mut b = builder(2);
    let (table, v) = (weight(&mut b, "t", (4, k), WeightFormat::F32), vector(&mut b, k));
    let (a, out) = (region(&mut b, "a", Rows::Tokens, k), region(&mut b, "out", Rows::Tokens, k));
    b.push(Op::Embed { table, out: a });
    b.push(Op::RmsNorm { input: a, weight: v, eps: 0.0, out });
    b.push(Op::ConvertInPlace {
        region: a,
        format: InputFormat::Int16 { pieces: GroupSize::Elements(1).pieces(k) },
    });
    let program = b.finish(out).unwrap();
    let cpu = Cpu::new(Isa::best(), 1).unwrap();
    // Side by side, so that what is written behind the last row of `a` shows.
    let regions = cpu.requirements(&program).regions;
    let offsets = [0, regions[a.index()].bytes, regions[a.index()].bytes + regions[out.index()].bytes];
    let (kv, arena) = (buffer(program.kv().bytes(1)), buffer(offsets[2] + regions[2].bytes));
    let weights = fill(&cpu, &program, |_, _, _| 3.0);
    let mut prepared = cpu.prepare(program, weights, kv, arena, &offsets).unwrap();
    cpu.run(&mut prepared, &Prompt::new(&[0, 1]).step(&[0])).unwrap();
    for row in 0..2 {
        assert_eq!(cpu.logits(&mut prepared, row).unwrap(), vec![1.0; k]);
    }
}

/// Groups of 600 and 768 inputs, each with a scale of its own. Truth: sums of dequantised weights in f64.
#[test]
fn long_groups_keep_their_scales() {
    for (k, group) in [(1200, 600), (1536, 768), (1300, 600)] {
        let mut b = builder(20);
        let (table, w) =
            (weight(&mut b, "t", (4, k), WeightFormat::F32), weight(&mut b, "w", (5, k), int8(group)));
        let (a, out) = (region(&mut b, "a", Rows::Tokens, k), region(&mut b, "out", Rows::Tokens, 5));
        b.push(Op::Embed { table, out: a });
        b.push(Op::ConvertInPlace { region: a, format: int8(group).input_format(k) });
        b.push(Op::Linear { parts: vec![part(a, w, out)] });
        let program = b.finish(out).unwrap();
        // Each group is 127 times a power of two somewhere, so its weights are whole steps.
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
        let cpu = Cpu::new(Isa::best(), 1).unwrap();
        let mut prepared = prepare(&cpu, &program, fill(&cpu, &program, value)).unwrap();
        for tokens in [1, 20] {
            cpu.run(&mut prepared, &Prompt::new(&vec![3; tokens]).step(&[0])).unwrap();
            for (row, y) in cpu.logits(&mut prepared, tokens - 1).unwrap().iter().enumerate() {
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

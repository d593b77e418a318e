//! Programs with an input and an output region: a single matmul, and layers in two sessions.

use tinyllm_kernels::{
    Cpu, Isa, KernelError, Limits, LinearPart, Matmul, Op, Program, ProgramBuilder, RegionSpec, RowSet, Step,
    StepInput, WeightFormat,
};

use crate::harness::{Bound, activations, builder, input, int8, part, refusal, region, vector, weight};

/// `y = x · wᵀ` without tokens, sequences or a cache.
fn matmul(max_rows: usize) -> Program {
    let mut b = ProgramBuilder::new(Limits::of_tokens(max_rows));
    let (x, y) = (input(&mut b, "x", 4), region(&mut b, "y", RowSet::Tokens, 3));
    let w = weight(&mut b, "w", (3, 4), WeightFormat::F32);
    b.push(Op::Linear { parts: vec![part(x, w, y)] });
    b.finish(y).unwrap()
}

#[test]
fn a_single_matmul_has_an_input_and_an_output() {
    let value = |_: &str, row: usize, column: usize| (row * 4 + column) as f32;
    let mut bound = Bound::new(&Cpu::new(Isa::best(), 2).unwrap(), matmul(2), value);
    let x = bound.program.input().unwrap();
    bound.session.write_region(x, &[1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]).unwrap();
    let step = Step::new(StepInput::Rows(2));
    assert_eq!(bound.row(&step, 0), [0.0, 4.0, 8.0]);
    assert_eq!(bound.row(&step, 1), [6.0, 22.0, 38.0]);
}

#[test]
fn partial_rows_and_too_many_rows_are_refused() {
    let mut bound = Bound::new(&Cpu::new(Isa::best(), 1).unwrap(), matmul(2), |_, _, _| 1.0);
    let (x, y) = (bound.program.input().unwrap(), bound.program.output());
    assert!(refusal(bound.session.write_region(x, &[0.0; 7])).contains("rows of 4"));
    assert!(refusal(bound.session.write_region(x, &[0.0; 12])).contains("rows of 4"));
    assert!(refusal(bound.session.write_region(y, &[0.0; 3])).contains("input"));
    let wrong = |step: &Step<'_>, bound: &mut Bound| refusal(bound.run("forward", step));
    assert!(wrong(&Step::new(StepInput::Rows(3)), &mut bound).contains("3 tokens"));
    assert!(wrong(&Step::new(StepInput::TokenIds(&[0])), &mut bound).contains("token ids"));
    let sequences = Step::new(StepInput::Rows(1)).with_sequences(&[0, 1], &[1], &[], 0);
    assert!(wrong(&sequences, &mut bound).contains("no cache"));
}

/// Rows that are written to int16 activations are rounded: each value to a multiple of the largest over 32767.
#[test]
fn a_w8a16_matmul_alone_rounds_its_input() {
    let mut b = ProgramBuilder::new(Limits::of_tokens(2));
    let format = int8(32);
    let x = RegionSpec::activations("x", RowSet::Tokens, 64).in_format(format.input_format(64));
    let (x, y) = (b.input(x), region(&mut b, "y", RowSet::Tokens, 3));
    let w = weight(&mut b, "w", (3, 64), format);
    b.push(Op::Linear { parts: vec![part(x, w, y)] });
    let ones = |_: &str, _: usize, _: usize| 127.0;
    let mut bound = Bound::new(&Cpu::new(Isa::best(), 2).unwrap(), b.finish(y).unwrap(), ones);
    // 32767 steps of 1, and one of half a step, which rounds to even: 0.
    let mut rows = vec![0.0; 128];
    (rows[0], rows[1], rows[64], rows[127]) = (32767.0, 0.5, 32767.0, -32766.0);
    bound.session.write_region(x, &rows).unwrap();
    let step = Step::new(StepInput::Rows(2));
    assert_eq!(bound.row(&step, 0), [127.0 * 32767.0; 3]);
    assert_eq!(bound.row(&step, 1), [127.0 * 32767.0 - 127.0 * 32766.0; 3]);
    rows[70] = f32::NAN;
    let refused = bound.session.write_region(x, &rows).unwrap_err();
    assert!(matches!(refused, KernelError::NonFiniteInput { row: 1, .. }), "{refused}");
}

/// Two layers of a norm and a matmul onto a residual stream, `first..last` of them; what comes in and what goes out is the
/// stream.
fn layers(first: usize, last: usize) -> Program {
    let mut b = builder(8);
    let x = input(&mut b, "x", 64);
    let (v, stream) = (vector(&mut b, 64), region(&mut b, "stream", RowSet::Tokens, 64));
    let copy = weight(&mut b, "copy", (64, 64), WeightFormat::F32);
    b.push(Op::Linear { parts: vec![part(x, copy, stream)] });
    for layer in first..last {
        let normed = activations(&mut b, "normed", 64, int8(32));
        let w = weight(&mut b, &format!("w{layer}"), (64, 64), int8(32));
        b.push(Op::RmsNorm { input: stream, weight: v, eps: 1e-5, out: normed });
        let part = LinearPart::accumulating(Matmul::new(normed, w, None), stream);
        b.push(Op::Linear { parts: vec![part] });
    }
    b.finish(stream).unwrap()
}

#[test]
fn layers_in_two_sessions_have_the_bits_of_one_session() {
    let value = |name: &str, row: usize, column: usize| match name {
        "copy" => f32::from(row == column),
        _ => ((row * 7 + column * 3 + name.len() + usize::from(name.as_bytes()[1])) % 11) as f32 / 11.0 - 0.5,
    };
    let rows: Vec<f32> = (0..8 * 64).map(|index| (index % 37) as f32 / 9.0 - 2.0).collect();
    let (query_starts, kv_lengths) = ([0, 8], [8]);
    let step = Step::new(StepInput::Rows(8)).with_sequences(&query_starts, &kv_lengths, &[0], 1);
    let run = |program: Program, threads: usize, rows: &[f32]| {
        let mut bound = Bound::new(&Cpu::new(Isa::best(), threads).unwrap(), program, value);
        bound.session.write_region(bound.program.input().unwrap(), rows).unwrap();
        let mut outputs = bound.run("forward", &step).unwrap();
        (0..8).flat_map(|row| outputs.row(row).unwrap().to_vec()).collect::<Vec<f32>>()
    };
    let whole = run(layers(0, 3), 1, &rows);
    for split in 1..3 {
        let half = run(layers(0, split), 2, &rows);
        let both = run(layers(split, 3), 1, &half);
        assert!(whole.iter().zip(&both).all(|(a, b)| a.to_bits() == b.to_bits()), "split at {split}");
    }
}

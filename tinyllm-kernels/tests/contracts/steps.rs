//! Steps that are refused, and outputs that are not available.

use tinyllm_kernels::{Cpu, Isa, KernelError, Op, Program, RowSet, Step, StepInput, WeightFormat};

use crate::harness::{Bound, Prompt, builder, part, refusal, region, weight};

/// `out = 2 * table[token]`, for sampled rows.
fn program() -> Program {
    let mut b = builder(32);
    let (table, w) =
        (weight(&mut b, "t", (4, 16), WeightFormat::F32), weight(&mut b, "w", (16, 16), WeightFormat::F32));
    let (a, s) = (region(&mut b, "a", RowSet::Tokens, 16), region(&mut b, "s", RowSet::Sampled, 16));
    let out = region(&mut b, "out", RowSet::Sampled, 16);
    b.push(Op::Embed { table, out: a });
    b.push(Op::Gather { input: a, out: s });
    b.push(Op::Linear { parts: vec![part(s, w, out)] });
    b.entry("forward", 0..3);
    b.entry("prefill", 0..1);
    b.entry("head", 1..3);
    b.finish(out).unwrap()
}

fn value(name: &str, row: usize, column: usize) -> f32 {
    match name {
        "t" => row as f32,
        _ if row == column => 2.0,
        _ => 0.0,
    }
}

/// The first element of each output row.
fn firsts(bound: &mut Bound, entry: &str, step: &Step<'_>) -> Result<Vec<f32>, KernelError> {
    let mut outputs = bound.run(entry, step)?;
    for row in [outputs.rows(), 99, usize::MAX] {
        assert!(outputs.row(row).is_none());
    }
    Ok((0..outputs.rows()).map(|row| outputs.row(row).unwrap()[0]).collect())
}

#[test]
fn outputs_are_those_of_the_last_step() {
    let mut bound = Bound::new(&Cpu::new(Isa::best(), 1).unwrap(), program(), value);
    let prompt = Prompt::new(&[1, 2, 3]);
    assert_eq!(firsts(&mut bound, "forward", &prompt.step(&[2, 0])).unwrap(), [6.0, 2.0]);
    assert_eq!(firsts(&mut bound, "head", &prompt.step(&[1])).unwrap(), [4.0]);
    assert!(firsts(&mut bound, "prefill", &prompt.step(&[])).unwrap().is_empty());
    assert_eq!(firsts(&mut bound, "head", &prompt.step(&[1])).unwrap(), [4.0]);
    // The entry `head` continues the last step only, and a refused step changes nothing.
    let other = Prompt::new(&[3, 3, 3]);
    assert!(refusal(bound.run("head", &other.step(&[1]))).contains("ran last"));
    assert!(refusal(bound.run("forward", &prompt.step(&[3]))).contains("sampled_rows"));
    assert_eq!(firsts(&mut bound, "head", &prompt.step(&[0, 2])).unwrap(), [2.0, 6.0]);
    assert!(firsts(&mut bound, "prefill", &other.step(&[])).unwrap().is_empty());
    assert!(refusal(bound.run("head", &prompt.step(&[1]))).contains("ran last"));
}

/// No entry continues a failed step.
#[test]
fn a_failed_step_has_no_outputs() {
    let value = |name: &str, row: usize, _| if name == "t" && row == 3 { f32::MAX } else { 1.0 };
    let mut b = builder(32);
    let (table, w) =
        (weight(&mut b, "t", (4, 16), WeightFormat::F32), weight(&mut b, "w", (16, 16), WeightFormat::F32));
    let regions = ["a", "b", "c"].map(|name| region(&mut b, name, RowSet::Tokens, 16));
    b.push(Op::Embed { table, out: regions[0] });
    b.push(Op::Linear { parts: vec![part(regions[0], w, regions[1])] });
    b.push(Op::Linear { parts: vec![part(regions[1], w, regions[2])] });
    b.entry("forward", 0..3);
    b.entry("last", 2..3);
    let mut bound = Bound::new(&Cpu::new(Isa::best(), 1).unwrap(), b.finish(regions[2]).unwrap(), value);
    let (good, bad) = (Prompt::new(&[1]), Prompt::new(&[1, 3]));
    bound.run("forward", &good.step(&[])).unwrap();
    let entry = bound.program.entry("forward").unwrap();
    let ticket = bound.session.submit(entry, &bad.step(&[])).unwrap();
    let failed = bound.session.wait(ticket).unwrap_err();
    assert!(matches!(failed, KernelError::NonFiniteInput { row: 1, .. }), "{failed}");
    assert!(matches!(bound.session.wait(ticket), Err(KernelError::StaleTicket)));
    assert!(refusal(bound.run("last", &bad.step(&[]))).contains("ran last"));
    assert_eq!(bound.row(&good.step(&[]), 0), [256.0; 16]);
}

/// Validates a step of sequences with these KV lengths and block tables.
fn validate(
    query_starts: &[u32],
    kv_lengths: &[u32],
    block_tables: &[u32],
    stride: usize,
) -> Result<(), String> {
    let token_ids = vec![0; *query_starts.last().unwrap() as usize];
    let step = Step::new(StepInput::TokenIds(&token_ids));
    let step = step.with_sequences(query_starts, kv_lengths, block_tables, stride);
    step.validate(&program()).map_err(|error| error.to_string())
}

#[test]
fn a_block_is_written_once_in_a_step() {
    let twice = |result: Result<(), String>| assert!(result.unwrap_err().contains("written to twice"));
    // A block of two sequences, a block twice in one table, a prompt that overlaps another sequence's last block.
    twice(validate(&[0, 1, 2], &[1, 1], &[3, 3], 1));
    twice(validate(&[0, 20], &[20], &[5, 5], 2));
    twice(validate(&[0, 1, 31], &[17, 30], &[0, 1, 2, 1], 2));
    // A prefix that both only read may be shared; entries after a sequence's last block are ignored.
    assert_eq!(validate(&[0, 1, 2], &[17, 18], &[0, 1, 0, 2], 2), Ok(()));
    assert_eq!(validate(&[0, 1, 2], &[1, 1], &[0, 7, 1, 7], 2), Ok(()));
}

#[test]
fn sizes_of_a_step_do_not_overflow() {
    assert!(validate(&[0, 1, 2], &[1, 1], &[], 1 << 63).unwrap_err().contains("block_tables"));
    assert!(validate(&[0, 1], &[u32::MAX], &[0], 1).unwrap_err().contains("kv_lengths"));
    assert!(validate(&[0, 2], &[1], &[0], 1).unwrap_err().contains("kv_lengths"));
}

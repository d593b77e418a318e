//! Steps that are refused, and logits that there are none of.

use tinyllm_kernels::{Backend, Cpu, Isa, Op, Program, Rows, Step, WeightFormat};

use crate::harness::{Prompt, builder, fill, part, prepare, refusal, region, weight};

/// `out = 2 * table[token]`, for sampled rows.
fn program() -> Program {
    let mut b = builder(32);
    let (table, w) =
        (weight(&mut b, "t", (4, 16), WeightFormat::F32), weight(&mut b, "w", (16, 16), WeightFormat::F32));
    let (a, s) = (region(&mut b, "a", Rows::Tokens, 16), region(&mut b, "s", Rows::Sampled, 16));
    let out = region(&mut b, "out", Rows::Sampled, 16);
    b.push(Op::Embed { table, out: a });
    b.begin_head();
    b.push(Op::Gather { input: a, out: s });
    b.push(Op::Linear { parts: vec![part(s, w, out)] });
    b.finish(out).unwrap()
}

fn value(name: &str, row: usize, column: usize) -> f32 {
    match name {
        "t" => row as f32,
        _ => {
            if row == column {
                2.0
            } else {
                0.0
            }
        }
    }
}

#[test]
fn logits_are_those_of_the_last_run_or_none() {
    let (cpu, program) = (Cpu::new(Isa::best(), 1).unwrap(), program());
    let mut prepared = prepare(&cpu, &program, fill(&cpu, &program, value)).unwrap();
    assert!(cpu.logits(&mut prepared, 0).is_none());
    let prompt = Prompt::new(&[1, 2, 3]);
    cpu.run(&mut prepared, &prompt.step(&[2, 0])).unwrap();
    let first = |prepared: &mut _, row| cpu.logits(prepared, row).map(|logits| logits[0]);
    assert_eq!(
        [0, 1, 2, 99, usize::MAX].map(|row| first(&mut prepared, row)),
        [Some(6.0), Some(2.0), None, None, None]
    );
    cpu.run_head(&mut prepared, &prompt.step(&[1])).unwrap();
    assert_eq!([0, 1].map(|row| first(&mut prepared, row)), [Some(4.0), None]);
    cpu.run(&mut prepared, &prompt.step(&[])).unwrap();
    assert_eq!(first(&mut prepared, 0), None);
    cpu.run_head(&mut prepared, &prompt.step(&[1])).unwrap();
    // A refused step changes nothing, and the head goes on with the one before it only.
    let other = Prompt::new(&[3, 3, 3]);
    assert!(refusal(cpu.run_head(&mut prepared, &other.step(&[1]))).contains("ran last"));
    assert!(refusal(cpu.run(&mut prepared, &prompt.step(&[3]))).contains("sampled_rows"));
    assert_eq!(first(&mut prepared, 0), Some(4.0));
}

/// Steps of sequences that decode a token each, or more, whose tables name blocks.
fn validate(
    query_starts: &[u32],
    kv_lengths: &[u32],
    block_tables: &[u32],
    stride: usize,
) -> Result<(), String> {
    let token_ids = vec![0; *query_starts.last().unwrap() as usize];
    let step = Step {
        token_ids: &token_ids,
        query_starts,
        kv_lengths,
        block_tables,
        block_table_stride: stride,
        sampled_rows: &[],
    };
    step.validate(&program(), 4, 8).map_err(|error| error.to_string())
}

#[test]
fn no_block_is_written_to_twice_in_a_step() {
    let twice = |result: Result<(), String>| assert!(result.unwrap_err().contains("written to twice"));
    // Two sequences in one block, one sequence at two places, a prompt over another's last block.
    twice(validate(&[0, 1, 2], &[1, 1], &[3, 3], 1));
    twice(validate(&[0, 20], &[20], &[5, 5], 2));
    twice(validate(&[0, 1, 31], &[17, 30], &[0, 1, 2, 1], 2));
    // A prefix that both read is shared; what lies behind a table's last block is not looked at.
    assert_eq!(validate(&[0, 1, 2], &[17, 18], &[0, 1, 0, 2], 2), Ok(()));
    assert_eq!(validate(&[0, 1, 2], &[1, 1], &[0, 7, 1, 7], 2), Ok(()));
}

#[test]
fn sizes_of_a_step_do_not_wrap() {
    assert!(validate(&[0, 1, 2], &[1, 1], &[], 1 << 63).unwrap_err().contains("block_tables"));
    assert!(validate(&[0, 1], &[u32::MAX], &[0], 1).unwrap_err().contains("kv_lengths"));
    assert!(validate(&[0, 2], &[1], &[0], 1).unwrap_err().contains("kv_lengths"));
}

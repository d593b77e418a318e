//! The null backend makes the same checks as the others.

use std::{sync::Arc, time::Instant};

use tinyllm_kernels::{
    Backend, KernelError, Null, Op, Program, RowSet, Session, Source, Step, StepInput, WeightFormat,
};
use tinyllm_mem::HostResource;

use crate::harness::{BLOCK, builder, kv, part, region, weight};

const VOCAB: usize = 100;
const SEQUENCES: usize = 4;
const BLOCKS_PER_SEQUENCE: usize = 2;

fn program() -> Program {
    let mut b = builder(32);
    let table = weight(&mut b, "t", (VOCAB, 16), WeightFormat::F32);
    let [a, k, v, turned] = ["a", "k", "v", "table"].map(|name| region(&mut b, name, RowSet::Tokens, 16));
    let attended = region(&mut b, "attended", RowSet::Sampled, 16);
    let logits = region(&mut b, "logits", RowSet::Sampled, VOCAB);
    for out in [a, k, v] {
        b.push(Op::Embed { table, out });
    }
    b.push(Op::RotaryTable { inverse_frequencies: vec![1.0; 8].into(), scale: 1.0, out: turned });
    b.push(Op::RopeAndCacheWrite { q: a, k, v, table: turned, qk_norm: None, eps: 0.0, layer: 0 });
    b.push(Op::Attention { q: a, layer: 0, scale: 1.0, window: None, out: attended });
    b.push(Op::Linear { parts: vec![part(attended, table, logits)] });
    b.finish(logits).unwrap()
}

/// A random number below `limit`.
fn random(state: &mut u64, limit: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % limit
}

/// Submits a random step as a scheduler would: some sequences, a chunk or a token each, some rows sampled; every eighth
/// step is invalid. Returns whether it was accepted, and whether it is valid.
fn random_step(session: &mut dyn Session, program: &Program, state: &mut u64) -> (bool, bool) {
    let sequences = 1 + random(state, SEQUENCES);
    let (mut ids, mut starts, mut lengths) = (Vec::new(), vec![0u32], Vec::new());
    for _ in 0..sequences {
        let tokens = 1 + random(state, 8);
        ids.extend((0..tokens).map(|_| random(state, VOCAB) as u32));
        starts.push(ids.len() as u32);
        lengths.push((tokens + random(state, BLOCKS_PER_SEQUENCE * BLOCK - tokens + 1)) as u32);
    }
    let mut tables: Vec<u32> = (0..(sequences * BLOCKS_PER_SEQUENCE) as u32).collect();
    let sampled: Vec<u32> = (0..random(state, 4)).map(|_| random(state, ids.len()) as u32).collect();
    let fault = random(state, 8 * 4);
    match fault {
        0 => ids[0] = VOCAB as u32,
        1 => lengths[0] = 0,
        2 => tables[0] = 99,
        3 => starts[0] = 1,
        _ => {}
    }
    let step = Step::new(StepInput::TokenIds(&ids))
        .with_sequences(&starts, &lengths, &tables, BLOCKS_PER_SEQUENCE)
        .with_sampled_rows(&sampled);
    let result = session.submit(program.entry("forward").unwrap(), &step);
    let accepted = match result {
        Ok(ticket) => {
            let outputs = session.wait(ticket).unwrap();
            assert_eq!(outputs.rows(), sampled.len());
            true
        }
        Err(KernelError::Invalid { .. }) => false,
        Err(other) => panic!("{other}"),
    };
    (accepted, fault >= 4)
}

#[test]
fn ten_thousand_random_steps_are_checked() {
    let program = Arc::new(program());
    let mut session =
        Null::new(HostResource::shared()).compile(Arc::clone(&program)).unwrap().bind().unwrap();
    assert_eq!(program.kv().unwrap().block_tokens(), kv().block_tokens());
    for (id, spec) in program.weight_ids() {
        let wrong = session.upload(id.into(), Source::float(&(&[0.0; 16][..], 16)));
        assert!(matches!(wrong, Err(KernelError::Source { .. })));
        session.upload(id.into(), Source::float(&(&vec![0.0; spec.n * spec.k][..], spec.k))).unwrap();
    }
    let (mut state, start, mut refused) = (1, Instant::now(), 0);
    for step in 0..10_000 {
        let (accepted, expected) = random_step(session.as_mut(), &program, &mut state);
        assert_eq!(accepted, expected, "step {step}");
        refused += usize::from(!accepted);
    }
    assert!((900..1600).contains(&refused), "{refused} refused");
    println!("10,000 steps of the null backend: {:?}", start.elapsed());
}

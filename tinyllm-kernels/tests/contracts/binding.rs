//! A session owns its program, memory and threads, and refuses ids and tickets of another one.

use std::sync::Arc;

use tinyllm_kernels::{
    Backend, Cpu, FloatRows, Isa, Keep, KernelError, Null, Op, Program, RowSet, Source, WeightFormat,
};
use tinyllm_mem::{Category, HostResource, Tracking};

use crate::harness::{Bound, Prompt, builder, int8, part, refusal, region, weight};

fn program(n: usize) -> Program {
    let mut b = builder(4);
    let (table, w) =
        (weight(&mut b, "t", (4, 64), WeightFormat::F32), weight(&mut b, "w", (n, 64), WeightFormat::F32));
    let (a, out) = (region(&mut b, "a", RowSet::Tokens, 64), region(&mut b, "out", RowSet::Tokens, n));
    b.push(Op::Embed { table, out: a });
    b.push(Op::Linear { parts: vec![part(a, w, out)] });
    b.finish(out).unwrap()
}

fn cpu(threads: usize) -> Cpu {
    Cpu::new(Isa::best(), threads).unwrap()
}

#[test]
fn ids_and_tickets_of_another_session_are_refused() {
    let (cpu, other) = (cpu(1), program(4096));
    let mut a = Bound::new(&cpu, program(16), |_, _, _| 1.0);
    let (id, spec) = other.weight_ids().last().unwrap();
    let values = vec![1.0; spec.n * spec.k];
    let upload = a.session.upload(id.into(), Source::float(&(&values[..], spec.k)));
    assert!(refusal(upload).contains("another program"));
    let prompt = Prompt::new(&[0]);
    let entry = other.entry("forward").unwrap();
    assert!(refusal(a.session.submit(entry, &prompt.step(&[0]))).contains("another program"));

    let mut b = Bound::new(&cpu, program(16), |_, _, _| 2.0);
    let entry = |bound: &Bound| bound.program.entry("forward").unwrap();
    let (of_a, of_b) = (entry(&a), entry(&b));
    let first = a.session.submit(of_a, &prompt.step(&[])).unwrap();
    let ticket = b.session.submit(of_b, &prompt.step(&[])).unwrap();
    assert!(matches!(a.session.wait(ticket), Err(KernelError::StaleTicket)));
    let second = a.session.submit(of_a, &prompt.step(&[])).unwrap();
    assert!(matches!(a.session.wait(first), Err(KernelError::StaleTicket)));
    // Outputs can be read repeatedly.
    for _ in 0..2 {
        assert_eq!(a.session.wait(second).unwrap().row(0).unwrap(), [64.0; 16]);
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for threads in 1..5 {
        let mut bound = Bound::new(&cpu(threads), program(64), |_, _, _| 1.0);
        assert_eq!(bound.row(&Prompt::new(&[0]).step(&[]), 0), [64.0; 64]);
    }
}

#[test]
fn nothing_runs_before_every_weight_is_uploaded() {
    let program = Arc::new(program(16));
    let mut session = cpu(1).compile(Arc::clone(&program)).unwrap().bind().unwrap();
    let prompt = Prompt::new(&[0]);
    let entry = program.entry("forward").unwrap();
    for (id, spec) in program.weight_ids() {
        let missing = session.submit(entry, &prompt.step(&[])).unwrap_err();
        assert!(matches!(missing, KernelError::NotUploaded { name } if name == spec.name));
        let values = vec![1.0; spec.n * spec.k];
        session.upload(id.into(), Source::float(&(&values[..], spec.k))).unwrap();
    }
    assert!(session.submit(entry, &prompt.step(&[])).is_ok());
}

/// `bind` allocates what was planned, to the byte and by category; nothing is allocated before, and nothing stays
/// allocated after the session.
#[test]
fn binding_allocates_what_was_planned() {
    let tracking = Arc::new(Tracking::new(HostResource::shared()));
    let live = || tracking.report().total.live_bytes;
    for threads in [1, 3] {
        let backends: [Box<dyn Backend>; 2] =
            [Box::new(cpu(threads).with_memory(tracking.clone())), Box::new(Null::new(tracking.clone()))];
        for backend in backends {
            let compiled = backend.compile(Arc::new(program(100))).unwrap();
            let planned = compiled.requirements().clone();
            assert_eq!(live(), 0);
            let session = compiled.bind().unwrap();
            let weights = planned.weights_bytes().unwrap();
            assert_eq!(live(), weights + planned.kv_bytes + planned.arena.total_bytes());
            let report = tracking.report();
            let kv = report.categories.get(&Category::Kv).map_or(0, |usage| usage.live_bytes);
            assert_eq!(kv, planned.kv_bytes);
            drop(session);
            assert_eq!(live(), 0);
        }
    }
}

/// Borrowed f32 rows, which a session cannot keep.
struct Borrowed(Vec<f32>);

impl FloatRows for Borrowed {
    fn shape(&self) -> (usize, usize) {
        (4, 64)
    }

    fn read(&self, rows: std::ops::Range<usize>, out: &mut [f32]) -> Result<(), KernelError> {
        out.copy_from_slice(&self.0[rows.start * 64..rows.end * 64]);
        Ok(())
    }
}

#[test]
fn only_mapped_int8_rows_and_shared_floats_are_kept() {
    let mut b = builder(4);
    let (table, a) = (weight(&mut b, "t", (4, 64), int8(32)), region(&mut b, "a", RowSet::Tokens, 64));
    b.push(Op::Embed { table, out: a });
    let program = Arc::new(b.finish(a).unwrap());
    let mut session = cpu(1).compile(Arc::clone(&program)).unwrap().bind().unwrap();
    let rows = Borrowed(vec![1.0; 256]);
    let forever = session.upload(table.into(), Source::float(&rows).keep(Keep::Forever)).unwrap_err();
    assert!(forever.to_string().contains("mapped"), "{forever}");
    // Copied at once: `warm_up` has nothing left to do.
    session.upload(table.into(), Source::float(&rows).keep(Keep::UntilWarm)).unwrap();
    drop(rows);
    assert_eq!(session.warm_up(0).unwrap(), 0);
    let ticket = session.submit(program.entry("forward").unwrap(), &Prompt::new(&[0]).step(&[])).unwrap();
    let first = session.wait(ticket).unwrap().row(0).unwrap()[0];
    assert!((first - 1.0).abs() < 1e-3);
}

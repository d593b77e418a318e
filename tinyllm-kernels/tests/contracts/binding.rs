//! What does not belong together is not bound together.

use tinyllm_kernels::{Backend, Cpu, Isa, KernelError, Op, Program, Rows, WeightFormat, WeightSource};
use tinyllm_mem::{Buffer, Category, HostResource, Plan, Request};

use crate::harness::{Prompt, buffer, builder, fill, part, prepare, refusal, region, weight};

fn program(n: usize) -> Program {
    let mut b = builder(4);
    let (table, w) =
        (weight(&mut b, "t", (4, 64), WeightFormat::F32), weight(&mut b, "w", (n, 64), WeightFormat::F32));
    let (a, out) = (region(&mut b, "a", Rows::Tokens, 64), region(&mut b, "out", Rows::Tokens, n));
    b.push(Op::Embed { table, out: a });
    b.push(Op::Linear { parts: vec![part(a, w, out)] });
    b.finish(out).unwrap()
}

fn cpu(threads: usize) -> Cpu {
    Cpu::new(Isa::best(), threads).unwrap()
}

#[test]
fn weights_are_this_programs() {
    let (cpu, a, b) = (cpu(1), program(16), program(4096));
    assert!(refusal(prepare(&cpu, &b, fill(&cpu, &a, |_, _, _| 1.0))).contains("another program"));
    let mut weights = fill(&cpu, &a, |_, _, _| 1.0);
    let (id, spec) = b.weight_ids().last().unwrap();
    let values = vec![1.0; spec.n * spec.k];
    assert!(
        refusal(cpu.upload(&mut weights, id, WeightSource::Float(&(&values[..], spec.k))))
            .contains("another program")
    );
}

#[test]
fn weights_are_for_this_many_threads() {
    let (two, three, program) = (cpu(2), cpu(3), program(64));
    assert!(
        refusal(prepare(&three, &program, fill(&two, &program, |_, _, _| 1.0))).contains("number of threads")
    );
}

#[test]
fn a_program_runs_with_the_threads_it_was_prepared_for() {
    for (threads, others) in [(4, 2), (1, 2)] {
        let (cpu, other, program) = (cpu(threads), cpu(others), program(64));
        let mut prepared = prepare(&cpu, &program, fill(&cpu, &program, |_, _, _| 1.0)).unwrap();
        let prompt = Prompt::new(&[0]);
        assert!(refusal(other.run(&mut prepared, &prompt.step(&[0]))).contains("threads"));
        cpu.run(&mut prepared, &prompt.step(&[0])).unwrap();
        assert!(refusal(other.run_head(&mut prepared, &prompt.step(&[0]))).contains("threads"));
        assert_eq!(cpu.logits(&mut prepared, 0).unwrap(), [64.0; 64]);
    }
}

#[test]
fn regions_that_live_together_lie_apart() {
    let (cpu, program) = (cpu(1), program(64));
    let regions = cpu.requirements(&program).regions;
    let plan = Plan::pack(regions.clone()).unwrap();
    let with = |change: &dyn Fn(&mut Vec<usize>)| {
        let mut offsets = plan.offsets().to_vec();
        change(&mut offsets);
        let weights = fill(&cpu, &program, |_, _, _| 1.0);
        let (kv, arena) = (buffer(program.kv().bytes(1)), buffer(plan.total_bytes() + 4096));
        cpu.prepare(program.clone(), weights, kv, arena, &offsets)
    };
    assert!(with(&|_| ()).is_ok());
    for problem in [
        refusal(with(&|offsets| offsets[1] = offsets[0])),
        // The workspace lives throughout; a region's last bytes are enough.
        refusal(with(&|offsets| offsets[0] = offsets[2] + regions[2].bytes - 64)),
    ] {
        assert!(problem.contains("share bytes"), "{problem}");
    }
    for problem in [
        refusal(with(&|offsets| offsets[1] += 4)),
        refusal(with(&|offsets| offsets[1] = 1 << 40)),
        refusal(with(&|offsets| offsets[1] = usize::MAX - 63)),
        refusal(with(&|offsets| offsets.truncate(2))),
    ] {
        assert!(problem.contains("arena"), "{problem}");
    }
}

#[test]
fn slabs_are_aligned() {
    let (cpu, program) = (cpu(1), program(64));
    // Rust's allocator aligns to 16 here and there: one of several buffers of 72 bytes more is not aligned to 64.
    let bytes: usize = cpu.requirements(&program).weights.iter().map(|part| part.bytes).sum();
    let resource = HostResource::shared();
    let allocate = || -> Buffer<u8> {
        Buffer::allocate(&resource, Request::new(Category::Weights, "weights", bytes, 1)).unwrap()
    };
    let buffers: Vec<Buffer<u8>> = (0..16).map(|_| allocate()).collect();
    for slab in buffers {
        let is_aligned = (slab.address() as usize).is_multiple_of(64);
        match cpu.weights(&program, slab) {
            Ok(_) => assert!(is_aligned),
            Err(KernelError::Invalid { what, .. }) => assert!(!is_aligned && what == "weights slab"),
            Err(other) => panic!("{other}"),
        }
    }
}

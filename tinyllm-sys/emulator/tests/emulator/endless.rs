//! Kernels that never end are stopped, and nothing else is.

use tinyllm_emulator::{
    Check, Emulator,
    report::{Finding, Kind},
};
use tinyllm_sys::{DriverApi, DriverCode};

use crate::{corpus::kernel, program::Program};

/// Runs a kernel over 32 words of 0. Gives the launch's code where it fails, the words where it does not, and what was found.
fn run(
    program: &Program,
    body: &str,
    blocks: u32,
    threads: u32,
) -> (Result<Vec<u32>, DriverCode>, Vec<Finding>) {
    let function = program.kernel(&kernel(body), "k");
    let a = program.upload(&[0u32; 32]);
    program.launch(function, blocks, threads, &mut [a.0, a.0, 0]);
    let code = program.driver.context_synchronize().map_err(|error| error.driver_code().unwrap());
    (code.map(|()| program.download(a, 32)), program.driver.findings())
}

/// What is found in a kernel that never ends.
fn endless(body: &str, blocks: u32, threads: u32) -> String {
    let (result, findings) = run(&Program::new(Emulator::builder()), body, blocks, threads);
    assert_eq!(result, Err(DriverCode::LaunchTimeout), "{findings:?}");
    let [finding] = findings.as_slice() else { panic!("{findings:#?}") };
    assert_eq!(finding.kind, Kind::Endless);
    finding.to_string()
}

/// A kernel that ends: what it wrote.
fn ends(body: &str, blocks: u32, threads: u32) -> Vec<u32> {
    let (result, findings) = run(&Program::new(Emulator::builder()), body, blocks, threads);
    assert_eq!(findings, [], "{body}");
    result.unwrap()
}

/// Waits until a word is not 0: the first line of a loop of three, which is line 14 of the PTX.
const SPIN: &str = "again: ld.volatile.global.u32 %r1, [%rda];\n setp.eq.u32 %p1, %r1, 0;\n @%p1 bra again;";

#[test]
fn a_word_that_nobody_writes() {
    let text = endless(SPIN, 1, 64);
    for part in [
        "kernel that never ends: kernel k on the default stream",
        "no work that runs can change it",
        "64 threads read again and again at PTX line 14 (case.cu:10)",
        "at k case.cu:10 (PTX line 14: ld.volatile.global.u32 %r1, [%rda])",
        "by block (0, 0, 0) thread (0, 0, 0)",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn loops_without_memory_and_of_any_length() {
    assert!(endless("again: bra again;", 1, 32).contains("32 threads are in a loop at PTX line 14"));
    // Of a length that no power of two is a multiple of, on every thread of the processor.
    let body = format!("again: {} bra again;", "add.u32 %r1, %t, 1; ".repeat(6));
    assert!(endless(&body, 3, 32).contains("32 threads are in a loop"));
}

#[test]
fn each_kind_of_waiting_is_named() {
    // The first warp reads, the second waits for it at a barrier.
    let body = format!("setp.ge.u32 %p2, %t, 32; @%p2 bra wait;\n{SPIN}\n wait: bar.sync 0;");
    let text = endless(&body, 1, 64);
    assert!(text.contains("32 threads read again and again at PTX line 15"), "{text}");
    assert!(text.contains("32 threads wait for others of their block at PTX line 18"), "{text}");
    // One lane reads, and 31 wait for it.
    let body = format!("setp.ne.u32 %p2, %t, 0; @%p2 bra wait;\n{SPIN}\n wait: bar.warp.sync -1;");
    let text = endless(&body, 1, 32);
    assert!(text.contains("1 thread read again and again at PTX line 15"), "{text}");
    // It is the place of the finding, for all that more wait.
    assert!(text.contains("(PTX line 15: ld.volatile.global.u32 %r1, [%rda])"), "{text}");
    assert!(text.contains("31 threads wait for others of their warp at PTX line 18"), "{text}");
}

#[test]
fn blocks_that_wait_for_each_other() {
    // Block 0 waits for what block 1 writes after it has seen what block 0 would write then.
    let body = "setp.eq.u32 %p2, %cta, 0; add.u64 %a, %rda, 4; @%p2 bra first;
        one: ld.acquire.gpu.global.u32 %r1, [%rda]; setp.eq.u32 %p1, %r1, 0; @%p1 bra one; st.release.gpu.global.u32 [%a], 1; bra done;
        first: ld.acquire.gpu.global.u32 %r1, [%a]; setp.eq.u32 %p1, %r1, 0; @%p1 bra first; st.release.gpu.global.u32 [%rda], 1;
        done:";
    let text = endless(body, 2, 1);
    assert!(text.contains("1 thread read again and again at PTX line 15"), "{text}");
    assert!(text.contains("1 thread read again and again at PTX line 16"), "{text}");
}

#[test]
fn a_lock_that_is_never_given_back() {
    let body = "again: atom.global.cas.b32 %r1, [%rda], 0, 1; setp.ne.u32 %p1, %r1, 0; @%p1 bra again;";
    assert!(endless(body, 2, 1).contains("read again and again at PTX line 14"));
    let body = "again: atom.global.exch.b32 %r1, [%rda], 1; setp.ne.u32 %p1, %r1, 0; @%p1 bra again;";
    assert!(endless(body, 2, 1).contains("read again and again at PTX line 14"));
    let body = "again: atom.shared.cas.b32 %r1, [tile], 1, 2; setp.ne.u32 %p1, %r1, 7; @%p1 bra again;";
    let body = format!("st.shared.u32 [tile], 1; {body}");
    assert!(endless(&body, 1, 1).contains("read again and again at PTX line 14"));
}

#[test]
fn loops_that_end_late_are_not_stopped() {
    // Two million turns, with nothing written before the last.
    let body = "mov.u32 %r1, 0; again: add.u32 %r1, %r1, 1; setp.lt.u32 %p1, %r1, 2000000; @%p1 bra again; st.global.u32 [%rda], %r1;";
    assert_eq!(ends(body, 1, 1)[0], 2_000_000);
    // What is counted is in shared memory, and the registers are the same at the head of each turn.
    let body = "mov.u32 %r1, 0; st.shared.u32 [tile], %r1;
        again: ld.shared.u32 %r1, [tile]; add.u32 %r1, %r1, 1; st.shared.u32 [tile], %r1; setp.lt.u32 %p1, %r1, 1000000; mov.u32 %r1, 0;
        @%p1 bra again; ld.shared.u32 %r1, [tile]; st.global.u32 [%rda], %r1;";
    assert_eq!(ends(body, 1, 1)[0], 1_000_000);
    // A block waits for others, each of which takes its time, until the last has written.
    let body = "setp.eq.u32 %p2, %cta, 0; @%p2 bra wait;
        mov.u32 %r1, 0; again: add.u32 %r1, %r1, 1; setp.lt.u32 %p1, %r1, 2000000; @%p1 bra again;
        red.release.gpu.global.add.u32 [%rda], 1; bra done;
        wait: ld.acquire.gpu.global.u32 %r1, [%rda]; setp.ne.u32 %p1, %r1, 3; @%p1 bra wait;
        done:";
    assert_eq!(ends(body, 4, 1)[0], 3);
    // Time passes, whatever else does not.
    let body =
        "again: mov.u32 %r1, %clock; setp.lt.u32 %p1, %r1, 3000000; @%p1 bra again; st.global.u32 [%rda], 1;";
    assert_eq!(ends(body, 1, 1)[0], 1);
}

#[test]
fn a_word_that_the_host_writes() {
    let program = Program::new(Emulator::builder());
    let host = program.driver.mem_alloc_host(8).unwrap().cast::<u32>();
    // SAFETY: of 8 bytes; the kernel does not run yet.
    unsafe { host.cast::<u64>().write_volatile(0) };
    let address = host.expose_provenance();
    let function = program.kernel(&kernel(&format!("st.volatile.global.u32 [%rda+4], 1;\n{SPIN}")), "k");
    let writer = std::thread::spawn(move || {
        let word = std::ptr::with_exposed_provenance_mut::<u32>(address);
        // SAFETY: as above, and freed after this thread has ended.
        while unsafe { word.add(1).read_volatile() } == 0 {
            std::thread::yield_now();
        }
        // The kernel has begun. Another emulator finds its like to be endless, again and again, before this one's ends.
        for _ in 0..4 {
            endless(SPIN, 1, 32);
        }
        // SAFETY: as above.
        unsafe { word.write_volatile(1) };
    });
    program.launch(function, 1, 32, &mut [address as u64, 0, 0]);
    program.driver.context_synchronize().unwrap();
    writer.join().unwrap();
    assert_eq!(program.driver.findings(), []);
    // SAFETY: allocated above, and used by nobody any more.
    unsafe { program.driver.mem_free_host(host.cast()) }.unwrap();
}

/// Counts for ever.
const COUNTS: &str = "mov.u64 %rd1, 0;\nagain: add.u64 %rd1, %rd1, 1;\nbra again;";

#[test]
fn a_budget_stops_what_counts_while_it_waits() {
    for blocks in [1, 3] {
        let program = Program::new(Emulator::builder().instruction_budget(1_000_000));
        let (result, findings) = run(&program, COUNTS, blocks, 32);
        assert_eq!(result, Err(DriverCode::LaunchTimeout));
        let [finding] = findings.as_slice() else { panic!("{findings:#?}") };
        let text = finding.to_string();
        assert!(
            text.contains(
                "stopped after 1000000 instructions of warps; 32 threads are in a loop at PTX line 15"
            ),
            "{text}"
        );
    }
    // Blocks that each stay within it, and together do not.
    let body = "mov.u32 %r1, 0; again: add.u32 %r1, %r1, 1; setp.lt.u32 %p1, %r1, 1000; @%p1 bra again;";
    let program = Program::new(Emulator::builder().instruction_budget(1_000_000));
    let (result, findings) = run(&program, body, 1000, 32);
    assert_eq!(result, Err(DriverCode::LaunchTimeout));
    // 256 blocks run at a time, each of about 3,000 instructions.
    assert!(findings[0].note.ends_with("; 512 of 1000 blocks have ended"), "{findings:?}");
    let program = Program::new(Emulator::builder().instruction_budget(10_000_000));
    assert!(run(&program, body, 1000, 32).0.is_ok());
}

#[test]
fn it_is_stopped_without_the_check_too_and_the_context_is_lost() {
    let program = Program::new(Emulator::builder().check(Check::none()));
    let (result, findings) = run(&program, SPIN, 1, 32);
    assert_eq!((result, findings), (Err(DriverCode::LaunchTimeout), Vec::new()));
    let error = program.load(&kernel(""), "k").err();
    assert_eq!(error.and_then(|error| error.driver_code()), Some(DriverCode::LaunchTimeout));
}

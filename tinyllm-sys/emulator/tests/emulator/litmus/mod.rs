//! Litmus tests of the memory model between blocks, as the PTX manual's chapter "Memory Consistency Model" has it. Each is a few
//! threads, one a block, over the words `x`, `y`, `z` (data) and `l`, `m` (flags), all 0 before; its verdict is derived beside it.
//!
//! A data-race is two overlapping accesses, one of them a write, that are neither related in causality order nor morally strong
//! to each other ("Conflict and Data-races"). Each test runs with its threads as blocks in both orders: what is found must not
//! depend on who ran first.

mod chains;
mod fences;
mod locks;
mod messages;
mod resets;
mod scopes;
mod strengths;

use std::fmt::Write;

use tinyllm_emulator::{Emulator, report::Kind};
use tinyllm_sys::DriverApi;

use crate::program::Program;

/// Words that threads share.
const LOCATIONS: [&str; 5] = ["x", "y", "z", "l", "m"];

/// The location that a race is on; `None` for no race.
type Verdict = Option<&'static str>;

/// A test: the threads' instructions, and what has to be found. `poll LOAD,[%l],N;` repeats a load until it gives N; `store`,
/// `load` and `add` stand for the weak or relaxed forms of their instructions.
struct Litmus {
    name: &'static str,
    threads: &'static [&'static str],
    race: Verdict,
}

const fn litmus(name: &'static str, threads: &'static [&'static str], race: Verdict) -> Litmus {
    Litmus { name, threads, race }
}

/// Instructions of one thread with `poll` spelled out.
fn expand(thread: &str, index: usize) -> String {
    let mut text = String::new();
    for (number, instruction) in thread.split(';').map(str::trim).filter(|part| !part.is_empty()).enumerate()
    {
        let Some(poll) = instruction.strip_prefix("poll ") else {
            writeln!(text, "{instruction};").unwrap();
            continue;
        };
        // The last operand is what is waited for; an atomic's own operands stay in front of it.
        let (load, value) = poll.rsplit_once(',').unwrap();
        let (opcode, operands) = load.split_once(' ').unwrap();
        writeln!(
            text,
            "again_{index}_{number}: {opcode} %s, {operands}; setp.ne.u32 %p, %s, {value}; @%p bra again_{index}_{number};"
        )
        .unwrap();
    }
    text
}

fn ptx(threads: &[&str]) -> String {
    let params: Vec<String> = LOCATIONS.iter().map(|name| format!(".param .u64 p{name}")).collect();
    let loads: String = LOCATIONS.iter().map(|name| format!("ld.param.u64 %{name}, [p{name}];\n")).collect();
    let mut text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k({}) {{\n.reg .pred %p, %q; .reg .b32 %s, %v, %w, %cta; \
         .reg .b64 %x, %y, %z, %l, %m;\n{loads}mov.u32 %cta, %ctaid.x;\n",
        params.join(", ")
    );
    for index in 0..threads.len() {
        writeln!(text, "setp.eq.u32 %p, %cta, {index}; @%p bra thread_{index};").unwrap();
    }
    for (index, thread) in threads.iter().enumerate() {
        writeln!(text, "thread_{index}:\n{} bra done;", expand(thread, index)).unwrap();
    }
    text + "done: ret;\n}\n"
}

/// The locations that races are found on, one for each finding.
fn races(threads: &[&str]) -> Vec<String> {
    let program = Program::new(Emulator::builder());
    let kernel = program.kernel(&ptx(threads), "k");
    let memory: Vec<_> = LOCATIONS.iter().map(|_| program.upload(&[0u32; 2])).collect();
    for (name, memory) in LOCATIONS.iter().zip(&memory) {
        program.driver.name_memory(*memory, 8, name);
    }
    let mut arguments: Vec<u64> = memory.iter().map(|memory| memory.0).collect();
    program.launch(kernel, threads.len() as u32, 1, &mut arguments);
    program.driver.context_synchronize().unwrap();
    let findings = program.driver.findings();
    let races = findings.into_iter().map(|finding| {
        assert_eq!(finding.kind, Kind::GlobalRace, "{finding}");
        finding.place.unwrap().name
    });
    races.collect()
}

/// Runs a test in both orders; what is wrong with it, if anything is.
fn judge(name: &str, threads: &[&str], race: Verdict) -> Option<String> {
    let mut backwards = threads.to_vec();
    backwards.reverse();
    let mut wrong = String::new();
    for (threads, order) in [(threads, "forwards"), (&backwards, "backwards")] {
        let mut found = races(threads);
        found.dedup();
        let expected: Vec<&str> = race.into_iter().collect();
        if found != expected {
            writeln!(wrong, "{name}, {order}: races on {found:?}, expected {expected:?}").unwrap();
        }
    }
    (!wrong.is_empty()).then_some(wrong)
}

fn check(tests: &[Litmus]) {
    let wrong: Vec<String> =
        tests.iter().filter_map(|test| judge(test.name, test.threads, test.race)).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), tests.len(), wrong.concat());
}

//! Every form of branch, call, barrier and fence of the table: two warps run each, and leave words that only the right way
//! through leaves.

use tinyllm_emulator::{Emulator, report::Kind};
use tinyllm_sys::DriverApi;

use super::{
    harness::{HEADER, POLICY},
    names,
};
use crate::program::{Program, on_each};

const THREADS: usize = 64;

/// Runs two warps, and gives what each thread left of `%d`, on each device.
fn run(body: &str) -> Vec<Vec<u32>> {
    let text = format!(
        "{HEADER}.func other {{ ret.uni; }}\n\
         .visible .entry k(.param .u64 pout) {{\n\
         .reg .b64 %out, %address, %policy; .reg .b32 %t, %d, %r<8>; .reg .pred %p<4>, %first; .shared .b32 tile[64];\n\
         ld.param.u64 %out, [pout]; mov.u32 %t, %tid.x; mad.wide.u32 %out, %t, 4, %out; mov.u32 %d, 0;\n\
         setp.lt.u32 %first, %t, 32; mov.u32 %r7, tile; mad.lo.u32 %r7, %t, 4, %r7; mov.u64 %address, %out; mov.u64 %policy, {POLICY};\n\
         {body}\ndone: st.global.u32 [%out], %d; last: ret;\n}}"
    );
    on_each(Emulator::builder(), |program| {
        let kernel = program.kernel(&text, "k");
        let out = program.upload(&[7u32; THREADS]);
        program.launch(kernel, 1, THREADS as u32, &mut [out.0]);
        program.download(out, THREADS)
    })
}

/// What threads leave by a form, and what they have to.
fn case(name: &str) -> (String, Vec<u32>) {
    let each = |value: fn(u32) -> u32| (0..THREADS as u32).map(value).collect::<Vec<_>>();
    let words: Vec<&str> = name.split('.').collect();
    let has = |word: &str| words.contains(&word);
    match words[0] {
        "bra" => (format!("{name} over; mov.u32 %d, 1; over: add.u32 %d, %d, 2;"), each(|_| 2)),
        // The second of three places.
        "brx" => {
            let places = "one: mov.u32 %d, 1; bra done; two: mov.u32 %d, 2; bra done; three: mov.u32 %d, 3;";
            (format!("places: .branchtargets one, two, three; {name} 1, places; {places}"), each(|_| 2))
        }
        "call" => (format!("{name} other; mov.u32 %d, 1;"), each(|_| 1)),
        // Odd threads end before they store.
        "ret" | "exit" if !has("uni") => {
            let body = format!("and.b32 %r1, %t, 1; setp.eq.u32 %p1, %r1, 1; mov.u32 %d, 1; @%p1 {name};");
            (body, each(|thread| if thread % 2 == 1 { 7 } else { 1 }))
        }
        "ret" => (format!("{name};"), each(|_| 7)),
        "nanosleep" => (format!("{name} 20; mov.u32 %d, 1;"), each(|_| 1)),
        "pmevent" => (format!("{name} 1; mov.u32 %d, 1;"), each(|_| 1)),
        "membar" | "fence" => (format!("{name}; mov.u32 %d, 1;"), each(|_| 1)),
        "prefetch" | "prefetchu" => (format!("{name} [%address]; mov.u32 %d, 1;"), each(|_| 1)),
        "discard" | "applypriority" => (format!("{name} [%address], 128; mov.u32 %d, 1;"), each(|_| 1)),
        "createpolicy" => {
            let operands = match words[1] {
                "fractional" => "",
                "range" => ", [%address], 128, 256",
                _ => ", %policy",
            };
            (
                format!(
                    "{name} %policy{operands}; st.global.L2::cache_hint.u32 [%out], %t, %policy; mov.u32 %d, 1;"
                ),
                each(|_| 1),
            )
        }
        // Each lane reads what its neighbour in the warp stored.
        "bar" if has("warp") => {
            let body = format!(
                "st.shared.u32 [%r7], %t; {name} -1; xor.b32 %r1, %t, 1; mov.u32 %r2, tile; mad.lo.u32 %r1, %r1, 4, %r2; ld.shared.u32 %d, [%r1];"
            );
            (body, each(|thread| thread ^ 1))
        }
        "bar" | "barrier" if has("red") => {
            let (d, after) = if has("popc") { ("%d", "") } else { ("%p2", "selp.u32 %d, 1, 0, %p2;") };
            let body = format!("setp.lt.u32 %p1, %t, 5; {name} {d}, 1, 64, %p1; {after}");
            let left = if has("popc") {
                each(|_| 5)
            } else if has("or") {
                each(|_| 1)
            } else {
                each(|_| 0)
            };
            (body, left)
        }
        // The first warp stores and comes, the second waits and reads.
        "bar" | "barrier" if has("arrive") => {
            let body = format!(
                "@%first st.shared.u32 [%r7], %t; @!%first bra wait; {name} 1, 64; bra done;\n\
                 wait: bar.sync 1, 64; ld.shared.u32 %d, [%r7+-128];"
            );
            (body, each(|thread| thread.saturating_sub(32)))
        }
        "bar" | "barrier" => {
            let body = format!(
                "st.shared.u32 [%r7], %t; {name} 1, 64; xor.b32 %r1, %t, 32; mov.u32 %r2, tile; mad.lo.u32 %r1, %r1, 4, %r2; ld.shared.u32 %d, [%r1];"
            );
            (body, each(|thread| thread ^ 32))
        }
        _ => panic!("no truth for {name}"),
    }
}

fn check(name: &str) {
    let (body, expected) = case(name);
    for left in run(&body) {
        assert_eq!(left, expected, "{name}");
    }
}

#[test]
fn every_form_of_control_goes_the_right_way() {
    for name in names("Control").iter().filter(|name| !matches!(name.as_str(), "trap" | "brkpt")) {
        check(name);
    }
}

#[test]
fn hints_and_fences_change_nothing() {
    let without_result =
        ["prefetch", "prefetchu", "discard", "applypriority", "createpolicy", "membar", "fence"];
    for name in
        names("Memory").iter().filter(|name| without_result.contains(&name.split('.').next().unwrap()))
    {
        check(name);
    }
}

/// A breakpoint too, where no debugger waits for it.
#[test]
fn a_trap_ends_the_context() {
    for instruction in ["trap", "brkpt"] {
        let program = Program::new(Emulator::builder());
        assert_eq!(after(&program, instruction), "CUDA_ERROR_LAUNCH_FAILED", "{instruction}");
        let [finding] = &program.driver.findings()[..] else { panic!("{instruction}") };
        assert_eq!(
            (finding.kind, finding.site.as_ref().unwrap().instruction.as_str()),
            (Kind::Trap, instruction)
        );
    }
}

/// The error of the first call after a kernel of one instruction.
fn after(program: &Program<dyn DriverApi>, instruction: &str) -> String {
    let kernel = program.kernel(&format!("{HEADER}.visible .entry k() {{ {instruction}; }}"), "k");
    let memory = program.upload(&[0u32]);
    program.launch(kernel, 1, 1, &mut []);
    program.try_download::<u32>(memory, 1).unwrap_err().name.to_string()
}

/// Copies to shared memory, waited for in each way.
#[test]
fn every_asynchronous_copy_lands() {
    let is_copy = |name: &&String| name.starts_with("cp.async.c") && name.contains("global");
    for name in names("Memory").iter().filter(is_copy) {
        let policy = if name.contains("cache_hint") { ", %policy" } else { "" };
        let sizes: &[u32] = if name.contains(".cg.") { &[16] } else { &[4, 8, 16] };
        for bytes in sizes {
            for wait in ["cp.async.wait_all;", "cp.async.commit_group; cp.async.wait_group 0;"] {
                // Thread 0 copies what it stored, and reads its last word.
                let body = format!(
                    "setp.ne.u32 %p1, %t, 0; @%p1 bra last; mov.u32 %r1, 40; mov.u32 %r2, 50; st.global.v4.u32 [%out], {{%r1, %r2, %r1, %r2}};\n\
                     .shared .align 16 .b8 landed[16]; mov.u32 %r3, landed; {name} [%r3], [%out], {bytes}{policy}; {wait}\n\
                     ld.shared.u32 %d, [landed+{}];",
                    bytes - 4
                );
                for left in run(&body) {
                    assert_eq!(left[0], if *bytes == 4 { 40 } else { 50 }, "{name} {wait}");
                }
            }
        }
    }
}

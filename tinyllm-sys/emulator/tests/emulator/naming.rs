//! Findings name what people wrote: functions, variables, lines of the source, and modules where names are not enough.

use tinyllm_emulator::{Emulator, report::Finding};
use tinyllm_sys::{DriverApi, LaunchConfig, StreamHandle};

use crate::program::Program;

/// A module of these declarations.
fn module(text: &str) -> String {
    format!(".version 8.0\n.target sm_80\n.address_size 64\n{text}")
}

/// What is found when a kernel without parameters runs with so much dynamic shared memory, each as text.
fn found(text: &str, name: &str, threads: u32, shared_bytes: u32) -> Vec<String> {
    let program = Program::new(Emulator::builder());
    let kernel = program.kernel(&module(text), name);
    let config = LaunchConfig { shared_bytes, ..LaunchConfig::new([1, 1, 1], [threads, 1, 1]) };
    program.launch_on(StreamHandle::LEGACY, kernel, config, &mut []).unwrap();
    // Some of the kernels fail.
    let _ = program.driver.context_synchronize();
    program.driver.findings().iter().map(ToString::to_string).collect()
}

/// The one finding of a kernel, which has all these parts.
fn check(text: &str, name: &str, shared_bytes: u32, parts: &[&str]) {
    let texts = found(text, name, 2, shared_bytes);
    assert_eq!(texts.len(), 1, "{texts:#?}");
    for part in parts {
        assert!(texts[0].contains(part), "{part:?} is not in {}", texts[0]);
    }
}

/// Two threads write different values to one word of shared memory, at a register's address.
const RACE: &str = ".reg .b32 %t, %at; mov.u32 %t, %tid.x;";

#[test]
fn variables_of_a_block() {
    // As nvcc names them: of the kernel, and of a function.
    let kernel = format!(
        ".visible .entry _Z1kPf() {{ {RACE}
        .shared .align 4 .b8 _ZZ1kPfE4tile[8]; .shared .align 4 .b8 _ZZ6helperPfE5other[16];
        mov.u32 %at, _ZZ1kPfE4tile; st.shared.u32 [%at+4], %t; ret; }}"
    );
    check(
        &kernel,
        "_Z1kPf",
        0,
        &["race in shared memory: write of 4 bytes of shared memory at 0x4, byte 4 of tile (8 bytes)\n"],
    );
    let other = kernel.replace("mov.u32 %at, _ZZ1kPfE4tile", "mov.u32 %at, _ZZ6helperPfE5other");
    // The other one is after the 8 bytes of the first.
    check(&other, "_Z1kPf", 0, &["at 0xc, byte 4 of helper(float*)::other (16 bytes)\n"]);
    // What was asked for at launch comes after what the kernel has, at a multiple of 16: 32 and 24 bytes.
    let dynamic = format!(
        ".extern .shared .align 16 .b8 buf[]; .visible .entry k() {{ {RACE}
        .shared .align 4 .b8 tile[24]; mov.u32 %at, buf; st.shared.u32 [%at+8], %t; ret; }}"
    );
    check(&dynamic, "k", 24, &["at 0x28, byte 8 of buf (24 bytes)\n"]);
    // Between the two there is nobody's.
    let between = dynamic.replace("mov.u32 %at, buf", "mov.u32 %at, 16");
    check(&between, "k", 24, &["at 0x18, byte 24 of the block's shared memory (56 bytes)\n"]);
    // Beyond all of it: as ever.
    let beyond = dynamic.replace("mov.u32 %at, buf", "mov.u32 %at, 48");
    check(
        &beyond,
        "k",
        24,
        &["out of bounds", "0 bytes after the end of the block's shared memory (56 bytes)"],
    );
}

#[test]
fn variables_of_a_thread_and_of_a_module() {
    let local = |name: &str| {
        format!(
            ".visible .entry k() {{ .local .align 4 .b8 first[4]; .local .align 4 .b8 {name}[8]; .reg .b32 %r; .reg .b64 %at;
             mov.u64 %at, {name}; ld.local.u32 %r, [%at+2]; ret; }}"
        )
    };
    check(
        &local("stack"),
        "k",
        0,
        &["misaligned address: read of 4 bytes of local memory at 0x6, byte 2 of stack (8 bytes)\n"],
    );
    // The compiler's stack has a name that says nothing.
    check(&local("__local_depot0"), "k", 0, &["at 0x6, byte 6 of the thread's local memory (12 bytes)\n"]);
    let global = ".const .align 4 .b8 _ZN2ns4coefE[32]; .visible .entry k() { .reg .b32 %r; .reg .b64 %at;
        mov.u64 %at, _ZN2ns4coefE; ld.const.u32 %r, [%at+32]; ret; }";
    check(global, "k", 0, &["0 bytes after the end of constant variable ns::coef (32 bytes)"]);
    let global = global.replace(".const", ".global");
    check(&global, "k", 0, &["0 bytes after the end of variable ns::coef (32 bytes)"]);
}

/// `scale` calls `middle` at line 13, and that calls `inner` at line 7, which reads at line 5: as nvcc 13.0 writes it with `-lineinfo`.
const INLINED: &str = ".visible .entry _Z5scalePf() {
    .reg .b32 %r; .reg .b64 %at; mov.u64 %at, 2;
    .loc 1 13 3
    .loc 1 7 3, function_name $L__info_string0, inlined_at 1 13 3
    .loc 1 5 73, function_name $L__info_string0+13, inlined_at 1 7 3
    ld.global.u32 %r, [%at];
    ret; }
    .file 1 \"a.cu\"
    .section .debug_str
    {
$L__info_string0:
.b8 95,90,54,109,105,100,100,108,101,80,102,105,0
.b8 95,90,53,105,110,110,101,114,80,102,105,0
    }
";

#[test]
fn functions_that_the_compiler_put_in() {
    let at = "\n    at scale(float*) a.cu:5 in inner(float*, int), called at a.cu:7 in middle(float*, int), called at a.cu:13 \
              (PTX line 9: ld.global.u32 %r, [%at])\n";
    check(INLINED, "_Z5scalePf", 0, &[at]);
    // By the section's name, as in the manual's example.
    check(&INLINED.replace("$L__info_string0+13", ".debug_str+13"), "_Z5scalePf", 0, &[at]);
    // A line that is in no function, after one that was.
    let after = INLINED.replace("    ld.global", "    .loc 1 14 1\n    ld.global");
    check(&after, "_Z5scalePf", 0, &["at scale(float*) a.cu:14 (PTX line 10: ld.global.u32 %r, [%at])"]);
    // A place in the strings that is none.
    check(
        &INLINED.replace("$L__info_string0+13", "$L__info_string0+99"),
        "_Z5scalePf",
        0,
        &["a.cu:5 in ?, called at a.cu:7"],
    );
}

#[test]
fn functions_that_are_called() {
    let text = ".func _Z6helperv() { .reg .b32 %r; .reg .b64 %at;
        .loc 1 4 1
        mov.u64 %at, 2; ld.global.u32 %r, [%at]; ret; }
        .visible .entry k() {
        .loc 1 9 1
        call _Z6helperv; ret; }
        .file 1 \"a.cu\"";
    check(text, "k", 0, &["at k a.cu:4 in helper(), called at a.cu:9 (PTX line 6: ld.global.u32 %r, [%at])"]);
    // Without lines of a source.
    let text = text.replace(".loc 1 4 1", "").replace(".loc 1 9 1", "");
    check(&text, "k", 0, &["at k in helper() (PTX line 6: ld.global.u32 %r, [%at])"]);
}

#[test]
fn kernels_of_one_name_in_several_modules() {
    let race = |value: u32| {
        module(&format!(
            ".visible .entry k() {{ {RACE} .shared .align 4 .b8 tile[8]; add.u32 %t, %t, {value}; st.shared.u32 [tile], %t; ret; }}"
        ))
    };
    let program = Program::new(Emulator::builder());
    let run = |text: &str| -> Vec<Finding> {
        let kernel = program.kernel(text, "k");
        program.launch(kernel, 1, 2, &mut []);
        program.driver.context_synchronize().unwrap();
        program.driver.findings()
    };
    let at = |findings: &[Finding]| -> Vec<(String, u64)> {
        let line = |finding: &Finding| {
            finding.to_string().lines().nth(1).unwrap().split(" (").next().unwrap().to_owned()
        };
        findings.iter().map(|finding| (line(finding), finding.count)).collect()
    };
    // One text is one module, however often it is loaded, and there is no other yet.
    run(&race(1));
    assert_eq!(at(&run(&race(1))), [("    at k".to_owned(), 2)]);
    let both = [("    at k of module 1".to_owned(), 2), ("    at k of module 2".to_owned(), 1)];
    let findings = run(&race(2));
    assert_eq!(at(&findings), both);
    assert!(
        findings[1]
            .to_string()
            .contains("against write by block (0, 0, 0) thread (0, 0, 0) at k of module 2")
    );
}

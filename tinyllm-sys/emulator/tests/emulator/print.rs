//! `printf` in a kernel, on the program's standard output, in the order of blocks; and what `assert` says on its standard error.

use std::process::Command;

use tinyllm_emulator::{Emulator, report::Finding};
use tinyllm_sys::{DriverApi, DriverCode};

use crate::{corpus::check, forms::HEADER, program::Program};

/// A kernel that prints as compilers have it: a format in global memory, the values in local memory.
fn prints() {
    let text: Vec<String> = "block %d: %s, %5.2f %c%%\n\0".bytes().map(|byte| byte.to_string()).collect();
    let name: Vec<String> = "hello\0".bytes().map(|byte| byte.to_string()).collect();
    let ptx = format!(
        "{HEADER}.extern .func (.param .b32 result) vprintf (.param .b64 format, .param .b64 values);\n\
         .global .align 1 .b8 text[{}] = {{{}}};\n.global .align 1 .b8 name[6] = {{{}}};\n\
         .visible .entry k() {{\n.local .align 8 .b8 depot[32]; .reg .b64 %rd<8>; .reg .b32 %r<4>; .reg .f64 %f<3>;\n\
         mov.u64 %rd1, depot; cvta.local.u64 %rd2, %rd1; mov.u32 %r1, %ctaid.x; st.local.u32 [%rd1], %r1;\n\
         mov.u64 %rd3, name; st.local.u64 [%rd1+8], %rd3; cvt.rn.f64.u32 %f1, %r1; add.f64 %f1, %f1, 0d3FD0000000000000;\n\
         st.local.f64 [%rd1+16], %f1; mov.u32 %r2, 33; st.local.u32 [%rd1+24], %r2; mov.u64 %rd4, text;\n\
         {{ .param .b64 format; st.param.b64 [format+0], %rd4; .param .b64 values; st.param.b64 [values+0], %rd2;\n\
         .param .b32 result; call.uni (result), vprintf, (format, values); }}\nret;\n}}",
        text.len(),
        text.join(", "),
        name.join(", ")
    );
    let program = Program::new(Emulator::builder());
    let kernel = program.kernel(&ptx, "k");
    program.launch(kernel, 3, 1, &mut []);
    program.driver.context_synchronize().unwrap();
    assert_eq!(program.driver.findings(), []);
}

#[test]
#[ignore = "its output is read by printf_prints, which runs it: cargo test -p tinyllm-emulator --test emulator printf_prints"]
fn child() {
    prints();
}

#[test]
fn printf_prints() {
    let itself = std::env::current_exe().unwrap();
    let output =
        Command::new(itself).args(["--exact", "print::child", "--ignored", "--nocapture"]).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("block 0: hello,  0.25 !%\nblock 1: hello,  1.25 !%\nblock 2: hello,  2.25 !%\n"),
        "{text}"
    );
}

/// What is found in a kernel that prints in its own way: `%rd1` is its local memory, `%rd2` the same for any space, `%rd3` a format.
fn findings_of(format: &str, body: &str) -> (Option<u32>, Vec<Finding>) {
    let text: Vec<String> = format.bytes().chain([0]).map(|byte| byte.to_string()).collect();
    let ptx = format!(
        "{HEADER}.extern .func (.param .b32 result) vprintf (.param .b64 format, .param .b64 values);\n\
         .global .align 1 .b8 text[{}] = {{{}}};\n\
         .visible .entry k(.param .u64 out) {{\n.local .align 8 .b8 depot[32]; .reg .b64 %rd<8>; .reg .b32 %r<4>;\n\
         ld.param.u64 %rd4, [out]; mov.u64 %rd1, depot; cvta.local.u64 %rd2, %rd1; mov.u64 %rd3, text;\n{body}\nret;\n}}",
        text.len(),
        text.join(", "),
    );
    let program = Program::new(Emulator::builder());
    let kernel = program.kernel(&ptx, "k");
    let out = program.upload(&[0u32]);
    program.launch(kernel, 1, 1, &mut [out.0]);
    let result = program.try_download::<u32>(out, 1).ok().map(|words| words[0]);
    (result, program.driver.findings())
}

/// The call of a compiler, with these two pointers.
fn call(format: &str, values: &str) -> String {
    format!(
        "{{ .param .b64 format; st.param.b64 [format+0], {format}; .param .b64 values; st.param.b64 [values+0], {values};\n\
         .param .b32 result; call.uni (result), vprintf, (format, values); ld.param.b32 %r3, [result+0]; }}\n"
    )
}

#[test]
fn what_printf_returns_is_there() {
    // CUDA C++ Programming Guide, formatted output: the number of arguments parsed.
    let body = format!(
        "mov.u32 %r1, 1; st.local.u32 [%rd1], %r1; st.local.u32 [%rd1+4], %r1; {} st.global.u32 [%rd4], %r3;",
        call("%rd3", "%rd2")
    );
    let (result, findings) = findings_of("%d%% of %x\n", &body);
    assert_eq!((result, findings), (Some(2), vec![]));
}

#[test]
fn a_text_that_ends_with_its_precision() {
    // C: no more bytes than the precision says are read.
    let body = format!(
        "mov.u32 %r1, 25185; st.local.u16 [%rd1+8], %r1; add.u64 %rd5, %rd2, 8; st.local.u64 [%rd1], %rd5; {} st.global.u32 [%rd4], %r3;",
        call("%rd3", "%rd2")
    );
    let (result, findings) = findings_of("%.2s\n", &body);
    assert_eq!((result, findings), (Some(1), vec![]));
}

#[test]
fn what_nobody_wrote_is_not_printed() {
    let print = call("%rd3", "%rd2");
    for (what, format, body, expected) in [
        (
            "a value",
            "%d %d\n",
            format!("mov.u32 %r1, 1; st.local.u32 [%rd1], %r1; {print}"),
            ["read of 4 bytes of local memory", "byte 4 of depot", "given to printf at"].as_slice(),
        ),
        (
            "a value that came from elsewhere",
            "%d\n",
            format!("ld.local.u32 %r1, [%rd1+16]; st.local.u32 [%rd1], %r1; {print}"),
            &["byte 0 of depot", "put there at", "st.local.u32 [%rd1], %r1", "given to printf at"],
        ),
        (
            "a text",
            "%s\n",
            // `a` and `b`, and what follows.
            format!(
                "mov.u32 %r1, 25185; st.local.u16 [%rd1+8], %r1; add.u64 %rd5, %rd2, 8; st.local.u64 [%rd1], %rd5; {print}"
            ),
            &["read of 1 bytes of local memory", "byte 10 of depot", "given to printf at"],
        ),
        (
            "where a text is",
            "%s\n",
            print.clone(),
            &["read of 8 bytes of local memory", "byte 0 of depot", "given to printf at"],
        ),
        (
            "where the values are",
            "%d\n",
            format!("ld.local.u64 %rd5, [%rd1+8]; {}", call("%rd3", "%rd5")),
            &[
                "read of 8 bytes of local memory",
                "put there at",
                "st.param.b64 [values+0], %rd5",
                "given to printf at",
            ],
        ),
    ] {
        let (_, findings) = findings_of(format, &body);
        check(what, &findings[..1], &[expected]);
    }
}

#[test]
fn global_text_that_nobody_wrote() {
    let ptx = format!(
        "{HEADER}.extern .func (.param .b32 result) vprintf (.param .b64 format, .param .b64 values);\n\
         .visible .entry k(.param .u64 text) {{\n.reg .b64 %rd<8>; .reg .b32 %r<4>; ld.param.u64 %rd1, [text]; mov.u64 %rd2, 0;\n\
         {}ret;\n}}",
        call("%rd1", "%rd2")
    );
    let program = Program::new(Emulator::builder());
    let kernel = program.kernel(&ptx, "k");
    let text = program.driver.mem_alloc(16).unwrap();
    program.driver.name_memory(text, 16, "text");
    // SAFETY: inside of it.
    unsafe { program.driver.memset_d8(text, b'a', 3) }.unwrap();
    program.launch(kernel, 1, 1, &mut [text.0]);
    program.driver.context_synchronize().unwrap();
    let expected = ["read of 1 bytes of global memory", "byte 3 of text (16 bytes)", "given to printf at"];
    check("a format", &program.driver.findings()[..1], &[&expected]);
}

/// The bytes of a text as PTX has them.
fn variable(name: &str, text: &str) -> String {
    let bytes: Vec<String> = text.bytes().chain([0]).map(|byte| byte.to_string()).collect();
    format!(".global .align 1 .b8 {name}[{}] = {{{}}};\n", bytes.len(), bytes.join(", "))
}

/// Threads from 30 on fail, as compilers have it.
fn asserts() {
    let texts = [("message", "gtid < N"), ("file", "simpleAssert.cu"), ("function", "void testKernel(int)")];
    let texts: String = texts.iter().map(|(name, text)| variable(name, text)).collect();
    let ptx = format!(
        "{HEADER}.extern .func __assertfail (.param .b64 m, .param .b64 f, .param .b32 l, .param .b64 n, .param .b64 s);\n\
         {texts}.visible .entry k() {{\n.reg .pred %p; .reg .b64 %rd<8>; .reg .b32 %r<4>;\n\
         mov.u32 %r1, %tid.x; setp.lt.u32 %p, %r1, 30; @%p bra $end;\n\
         mov.u64 %rd1, message; mov.u64 %rd2, file; mov.u64 %rd3, function; mov.u32 %r2, 63; mov.u64 %rd4, 1;\n\
         {{ .param .b64 m; st.param.b64 [m+0], %rd1; .param .b64 f; st.param.b64 [f+0], %rd2;\n\
         .param .b32 l; st.param.b32 [l+0], %r2; .param .b64 n; st.param.b64 [n+0], %rd3;\n\
         .param .b64 s; st.param.b64 [s+0], %rd4; call.uni __assertfail, (m, f, l, n, s); }}\n$end: ret;\n}}"
    );
    let program = Program::new(Emulator::builder());
    let kernel = program.kernel(&ptx, "k");
    program.launch(kernel, 1, 32, &mut []);
    let code = program.driver.context_synchronize().unwrap_err().driver_code();
    assert_eq!(code, Some(DriverCode::Assert));
    check("assert", &program.driver.findings(), &[&["trap: ", "assertion `gtid < N` failed"]]);
}

#[test]
#[ignore = "its output is read by assert_says_what_failed, which runs it: cargo test -p tinyllm-emulator --test emulator assert_says"]
fn asserting_child() {
    asserts();
}

#[test]
fn assert_says_what_failed() {
    let itself = std::env::current_exe().unwrap();
    let arguments = ["--exact", "print::asserting_child", "--ignored", "--nocapture"];
    let output = Command::new(itself).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    // As the CUDA programming guide shows it.
    let said = |thread| {
        format!(
            "simpleAssert.cu:63: void testKernel(int): block: [0,0,0], thread: [{thread},0,0] Assertion `gtid < N` failed.\n"
        )
    };
    assert!(text.contains(&(said(30) + &said(31))), "{text}");
}
